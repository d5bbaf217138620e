//! The way in: a look at what an import would do, then the import.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use token_store::transfer::{Arrivals, Arrived, Parcel, sealed};
use token_store::{Imported, Secret, StoreError};

use super::{ExportForm, ImportForm, show};
use crate::error::{PageError, see_other};
use crate::flash::Flash;
use crate::pages::{Frame, Section, html};
use crate::session::{Posted, SignedIn, random_token};
use crate::upload::Uploaded;
use crate::words::{Badge, Tone, count, listed};
use crate::{App, Inner};

/// How long a document waits for its *Apply*.
const LIFE: Duration = Duration::from_secs(600);
/// Sessions whose document waits; the oldest gives way. They are held in memory, secrets and all.
const WAITING: usize = 16;

/// The documents that were looked at; one for each session. Never on disk.
#[derive(Default)]
pub(crate) struct Imports(Mutex<HashMap<String, Waiting>>);

struct Waiting {
    id: String,
    parcel: Parcel,
    overwrite: bool,
    since: Instant,
}

impl Imports {
    fn leave(&self, session: &str, waiting: Waiting) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, waiting| waiting.since.elapsed() < LIFE);
        if all.len() >= WAITING {
            let oldest = all.iter().min_by_key(|(_, waiting)| waiting.since);
            let oldest = oldest.map(|(session, _)| session.clone());
            oldest.and_then(|session| all.remove(&session));
        }
        all.insert(session.to_owned(), waiting);
    }

    /// Takes the session's document, if it is the one that was looked at.
    fn take(&self, session: &str, id: &str) -> Option<(Parcel, bool)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.get(session)?;
        if found.id != id || found.since.elapsed() >= LIFE {
            return None;
        }
        let waiting = all.remove(session)?;
        Some((waiting.parcel, waiting.overwrite))
    }
}

/// What an import would do.
#[derive(Template)]
#[template(path = "preview.html")]
struct PreviewPage {
    frame: Frame,
    id: String,
    overwrite: bool,
    lines: Vec<Line>,
    /// Something would change.
    useful: bool,
}

struct Line {
    name: String,
    badge: Badge,
}

/// Reads a document and says what would be done with it; nothing is changed.
pub(crate) async fn preview(
    State(app): State<App>,
    uploaded: Uploaded,
) -> Result<Response, PageError> {
    let Uploaded { posted, file } = uploaded;
    let overwrite = posted.fields.ticked("overwrite");
    match looked_at(&app, &posted, file, overwrite).await? {
        Ok(page) => html(&page),
        Err(mistake) => {
            let export = ExportForm::empty(&app)?;
            let import = ImportForm {
                overwrite,
                mistake: Some(mistake),
            };
            show(&app, &posted.by, export, import)
        }
    }
}

async fn looked_at(
    app: &Inner,
    posted: &Posted,
    file: Vec<u8>,
    overwrite: bool,
) -> Result<Result<PreviewPage, String>, PageError> {
    let text = if file.is_empty() {
        posted.fields.raw("document").to_owned()
    } else {
        match String::from_utf8(file) {
            Ok(text) => text,
            Err(_) => return Ok(Err("The file is not UTF-8 text.".to_owned())),
        }
    };
    let passphrase = Secret::new(posted.fields.raw("passphrase"));
    let parcel = match app.sealing(move || parcel(&text, &passphrase)).await {
        Ok(parcel) => parcel,
        Err(mistake) => return Ok(Err(mistake)),
    };
    let tried = app.store().take_in(parcel.clone(), overwrite, true).await;
    let arrivals = match tried {
        Ok(arrivals) => arrivals,
        Err(error) => return refusal(error).map(Err),
    };
    let id = random_token()?;
    let session = &posted.by.session.id;
    let waiting = Waiting {
        id: id.clone(),
        parcel,
        overwrite,
        since: Instant::now(),
    };
    app.imports.leave(session, waiting);
    Ok(Ok(PreviewPage {
        frame: app.frame(&posted.by, Section::Tokens, "Import: what would be done")?,
        id,
        overwrite,
        useful: !arrivals.changed().is_empty(),
        lines: lines(&arrivals),
    }))
}

/// A document of the exchange format, or a sealed one; else why it is neither, with the line.
fn parcel(text: &str, passphrase: &Secret) -> Result<Parcel, String> {
    if text.trim().is_empty() {
        return Err("Choose a file, or paste its content.".to_owned());
    }
    if sealed::is_sealed(text) {
        if passphrase.is_empty() {
            return Err(
                "The file is sealed: type its passphrase, and choose it once more.".to_owned(),
            );
        }
        return sealed::open(text, passphrase).map_err(|e| format!("Not read: {e}."));
    }
    let entries = provider_template::read(text)
        .map_err(|problem| format!("The file is refused as a whole: {problem}."))?;
    Ok(Parcel {
        entries,
        tokens: Vec::new(),
    })
}

/// What the store says against a document, for people; a failing database is another matter.
fn refusal(error: StoreError) -> Result<String, PageError> {
    match error {
        StoreError::Invalid { .. }
        | StoreError::NameTaken { .. }
        | StoreError::DeclaredIn { .. }
        | StoreError::InUse { .. }
        | StoreError::Unknown { .. } => Ok(format!("The file is refused as a whole: {error}.")),
        error => Err(error.into()),
    }
}

fn lines(arrivals: &Arrivals) -> Vec<Line> {
    let entries = arrivals.entries.iter().map(|(name, imported)| {
        let (tone, words) = match imported {
            Imported::Added => (Tone::Good, "would be added"),
            Imported::Changed => (Tone::Warn, "would be changed"),
            Imported::Unchanged => (Tone::Off, "is the same already"),
            Imported::LeftAlone => (Tone::Off, "exists, and would be left alone"),
        };
        Line {
            name: name.clone(),
            badge: Badge::new(tone, words),
        }
    });
    let tokens = arrivals.tokens.iter().map(|(id, arrived)| {
        let (tone, words) = match arrived {
            Arrived::Taken => (Tone::Good, "would be taken"),
            Arrived::Replaced => (Tone::Warn, "would be taken, and the one before kept aside"),
            Arrived::Same => (Tone::Off, "is the same already"),
            Arrived::LeftAlone => (Tone::Off, "would be left alone"),
            Arrived::Older => (
                Tone::Off,
                "would be left alone, since the one here works and is newer",
            ),
        };
        Line {
            name: format!("Refresh token of {id}"),
            badge: Badge::new(tone, words),
        }
    });
    entries.chain(tokens).collect()
}

/// Does what was looked at.
pub(crate) async fn apply(State(app): State<App>, posted: Posted) -> Result<Response, PageError> {
    let by = &posted.by;
    let flash = applied(&app, by, posted.fields.raw("id")).await?;
    let to = if flash.good {
        "/tokens"
    } else {
        "/tokens/transfer"
    };
    app.flashes.leave(&by.session.id, flash);
    Ok(see_other(&app.address.link(to)))
}

async fn applied(app: &Inner, by: &SignedIn, id: &str) -> Result<Flash, PageError> {
    let Some((parcel, overwrite)) = app.imports.take(&by.session.id, id) else {
        return Ok(
            Flash::bad("Nothing was imported: the file waits no longer.")
                .advise("Choose it again, and apply it within ten minutes."),
        );
    };
    let arrivals = match app.store().take_in(parcel, overwrite, false).await {
        Ok(arrivals) => arrivals,
        Err(error) => return Ok(Flash::bad(&refusal(error)?)),
    };
    let changed = arrivals.changed();
    for name in &changed {
        app.parts.gateway.tokens_changed(name);
    }
    if !changed.is_empty() {
        let names = listed(changed.iter().map(String::as_str));
        app.audit(by, &format!("imported {names}")).await;
    }
    let of = |wanted: Imported| {
        let hits = arrivals.entries.iter().filter(|(_, done)| *done == wanted);
        hits.count() as u64
    };
    let left = of(Imported::LeftAlone) + of(Imported::Unchanged);
    Ok(Flash::good(&format!(
        "Imported: {} added, {} changed, {} left alone.",
        of(Imported::Added),
        of(Imported::Changed),
        left,
    ))
    .advise(&match arrivals.tokens.len() as u64 {
        0 => String::new(),
        n => format!(
            "The file carried {}.",
            count(n, "refresh token", "refresh tokens")
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(id: &str, since: Instant) -> Waiting {
        Waiting {
            id: id.to_owned(),
            parcel: Parcel::default(),
            overwrite: true,
            since,
        }
    }

    #[test]
    fn a_document_is_applied_once_by_its_session_and_in_time() {
        let imports = Imports::default();
        let now = Instant::now();
        imports.leave("a", waiting("1", now));
        assert!(imports.take("b", "1").is_none());
        assert!(imports.take("a", "2").is_none());
        assert_eq!(imports.take("a", "1"), Some((Parcel::default(), true)));
        assert!(imports.take("a", "1").is_none());
        if let Some(long_ago) = now.checked_sub(LIFE) {
            imports.leave("a", waiting("1", long_ago));
            assert!(imports.take("a", "1").is_none());
        }
        for n in 0..2 * WAITING {
            imports.leave(&n.to_string(), waiting("1", now));
        }
        assert!(imports.0.lock().unwrap().len() <= WAITING);
    }
}
