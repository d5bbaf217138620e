//! The tokens: their states in words, and *Refresh now*.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use provider_template::Flow;
use token_store::state::State as TokenState;
use token_store::{Failure, TokenError, TokenId, TokenStatus};

use super::notices::anchor;
use super::{Frame, Section, html};
use crate::App;
use crate::error::{PageError, see_other};
use crate::flash::Flash;
use crate::session::{Posted, SignedIn};
use crate::words::{Badge, Moment, Prose, now, refresh_tone, token_tone};

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    frame: Frame,
    rows: Vec<TokenRow>,
    redirect_uri: String,
    pages: Pages,
}

/// Rows of one page: it stays small, however many there are.
const ROWS: usize = 20;

/// Which page of the table this is; counted from 1.
struct Pages {
    this: usize,
    all: usize,
}

/// Which part of the table is asked for.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Part {
    page: Option<usize>,
    /// The page that shows this token config.
    about: Option<String>,
}

impl Part {
    /// The page, and the rows on it.
    fn of(&self, rows: &[TokenRow]) -> (Pages, std::ops::Range<usize>) {
        let all = rows.len().div_ceil(ROWS).max(1);
        let about = self.about.as_ref();
        let at = about.and_then(|name| rows.iter().position(|row| row.name == *name));
        let this = at.map(|at| at / ROWS + 1).or(self.page);
        let this = this.unwrap_or(1).clamp(1, all);
        let first = (this - 1) * ROWS;
        (Pages { this, all }, first..rows.len().min(first + ROWS))
    }
}

struct TokenRow {
    name: String,
    /// Where notices lead: the first row of each token config.
    anchor: Option<String>,
    /// Of which mailbox user, where the config gives a token to each.
    subject: String,
    signed_in_as: Option<String>,
    template: String,
    token: Badge,
    refresh_token: Badge,
    trouble: Option<Trouble>,
    valid: bool,
    used_by: Vec<String>,
    declared_in: Option<String>,
    /// There may be a refresh token to use.
    can_refresh: bool,
    /// A person signs in for it, by one way or another.
    by_person: bool,
}

/// The last failure; without the words when the state says them already.
struct Trouble {
    words: Prose,
    advice: Prose,
    at: Moment,
}

/// The table.
pub(crate) async fn page(
    State(app): State<App>,
    by: SignedIn,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Response, PageError> {
    let now = now();
    let statuses = app.store().token_statuses()?;
    let mut rows: Vec<TokenRow> = statuses.into_iter().map(|s| row(s, now)).collect();
    for group in rows.chunk_by_mut(|a, b| a.name == b.name) {
        if let Some(first) = group.first_mut() {
            first.anchor = Some(anchor("token", &first.name));
        }
    }
    let part = part.map(|Query(part)| part).unwrap_or_default();
    let (pages, range) = part.of(&rows);
    html(&TokensPage {
        frame: app.frame(&by, Section::Tokens, "Tokens")?,
        rows: rows.drain(range).collect(),
        pages,
        redirect_uri: app.address.redirect_uri.clone(),
    })
}

fn row(status: TokenStatus, now: i64) -> TokenRow {
    let never_asked = status.state == TokenState::NeedsConsent && status.failure.is_none();
    let by_person = Flow::from_key(&status.flow).is_some_and(Flow::needs_person);
    let trouble = status
        .failure
        .as_ref()
        .map(|failure| trouble(failure, &status.token, now));
    TokenRow {
        token: Badge::new(token_tone(&status, now), status.token.clone()),
        refresh_token: Badge::new(refresh_tone(&status, now), status.refresh_token.clone()),
        trouble,
        template: status.template.unwrap_or_else(|| "none".to_owned()),
        valid: status.valid,
        used_by: status.used_by,
        declared_in: status.declared_in,
        by_person,
        can_refresh: by_person && !never_asked,
        anchor: None,
        name: status.config,
        subject: status.subject,
        signed_in_as: status.signed_in_as,
    }
}

fn trouble(failure: &Failure, said: &str, now: i64) -> Trouble {
    let words = if said.ends_with(&failure.words) {
        ""
    } else {
        &failure.words
    };
    Trouble {
        words: Prose::new(words),
        advice: Prose::new(&failure.advice),
        at: Moment::new(failure.at, now),
    }
}

/// *Refresh now*.
pub(crate) async fn refresh(State(app): State<App>, posted: Posted) -> Result<Response, PageError> {
    let id = token_of(&posted);
    Ok(refreshed(&app, &posted.by, &id).await)
}

/// The token that a form of this page is about.
pub(super) fn token_of(posted: &Posted) -> TokenId {
    TokenId::for_subject(posted.fields.raw("name"), posted.fields.raw("subject"))
}

/// Refreshes a token, leaves word of how it went, and leads back to the table.
pub(super) async fn refreshed(app: &App, by: &SignedIn, id: &TokenId) -> Response {
    let flash = match app.parts.tokens.refresh(id).await {
        Ok(_) => {
            app.parts.gateway.tokens_changed(&id.config);
            app.audit(by, &format!("refreshed the token of {id}")).await;
            Flash::good(&format!("The token of {id} was refreshed."))
        }
        Err(error) => {
            app.audit(by, &format!("tried to refresh the token of {id}, in vain"))
                .await;
            sorry("Not refreshed", error)
        }
    };
    app.flashes.leave(&by.session.id, flash);
    see_other(&app.address.link("/tokens"))
}

/// What failed, in the words of whoever refused, and what to do.
pub(super) fn sorry(what: &str, error: TokenError) -> Flash {
    match error {
        TokenError::NeedsConsent { words, advice } | TokenError::Broken { words, advice } => {
            Flash::bad(&format!("{what}: {words}")).advise(&advice)
        }
        TokenError::Later { words, .. } => {
            Flash::bad(&format!("{what}: {words}")).advise("Postern tries again by itself.")
        }
        error => Flash::bad(&format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(n: usize) -> TokenRow {
        TokenRow {
            name: format!("t{n}"),
            anchor: None,
            subject: String::new(),
            signed_in_as: None,
            template: String::new(),
            token: Badge::new(crate::words::Tone::Off, ""),
            refresh_token: Badge::new(crate::words::Tone::Off, ""),
            trouble: None,
            valid: true,
            used_by: Vec::new(),
            declared_in: None,
            can_refresh: false,
            by_person: true,
        }
    }

    #[test]
    fn a_page_is_found_by_its_number_or_by_what_is_on_it() {
        let rows: Vec<TokenRow> = (0..45).map(named).collect();
        let part = |page, about: &str| {
            let about = Some(about.to_owned()).filter(|about| !about.is_empty());
            let (pages, range) = Part { page, about }.of(&rows);
            (pages.this, pages.all, range)
        };
        assert_eq!(part(None, ""), (1, 3, 0..20));
        assert_eq!(part(Some(3), ""), (3, 3, 40..45));
        assert_eq!(part(Some(9), ""), (3, 3, 40..45));
        assert_eq!(part(Some(0), ""), (1, 3, 0..20));
        assert_eq!(part(Some(1), "t21"), (2, 3, 20..40));
        assert_eq!(part(Some(2), "gone"), (2, 3, 20..40));
        let (pages, range) = Part::default().of(&[]);
        assert_eq!((pages.this, pages.all, range), (1, 1, 0..0));
    }
}
