//! Settings: the administrator's own password and second factor, the others, the sessions, and what the file says.

use askama::Template;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::response::Response;
use token_store::admins::{Admin, SHORTEST_PASSWORD, SessionLine, Totp, TotpError};
use token_store::{Secret, StoreError};

use super::edit::{Asked, named};
use super::start::weakness;
use super::transfer::password_mistake;
use super::{Confirm, Frame, Section, html};
use crate::error::{PageError, see_other};
use crate::flash::Flash;
use crate::qr::Qr;
use crate::session::{Posted, SignedIn, set_session};
use crate::words::{Moment, now};
use crate::{App, Configuration, Inner};

/// Sessions that are listed, the latest seen first.
const SESSIONS: usize = 50;

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    frame: Frame,
    me: String,
    second_factor: bool,
    admins: Vec<AdminRow>,
    sessions: Vec<SessionRow>,
    file: Option<Configuration>,
    shortest: usize,
}

struct AdminRow {
    name: String,
    changed: Moment,
    second_factor: bool,
}

struct SessionRow {
    id: String,
    admin: String,
    address: String,
    agent: String,
    since: Moment,
    seen: Moment,
    mine: bool,
}

/// The page.
pub(crate) async fn page(State(app): State<App>, by: SignedIn) -> Result<Response, PageError> {
    let now = now();
    let admins = app.store().admins()?;
    let me = admins.iter().find(|admin| admin.name == by.session.admin);
    let sessions = app.store().sessions()?.into_iter().take(SESSIONS);
    html(&SettingsPage {
        frame: app.frame(&by, Section::Settings, "Settings")?,
        second_factor: me.is_some_and(|me| me.second_factor),
        admins: admins.into_iter().map(|a| admin_row(a, now)).collect(),
        sessions: sessions.map(|s| session_row(s, &by, now)).collect(),
        file: app.parts.gateway.configuration(),
        me: by.session.admin,
        shortest: SHORTEST_PASSWORD,
    })
}

fn admin_row(admin: Admin, now: i64) -> AdminRow {
    AdminRow {
        name: admin.name,
        changed: Moment::new(admin.changed_at, now),
        second_factor: admin.second_factor,
    }
}

fn session_row(line: SessionLine, by: &SignedIn, now: i64) -> SessionRow {
    SessionRow {
        mine: line.id == by.session.id,
        id: line.id,
        admin: line.admin,
        address: line.visitor.address,
        agent: line.visitor.agent,
        since: Moment::new(line.created_at, now),
        seen: Moment::new(line.seen_at, now),
    }
}

/// Leaves word of how it went, and leads back.
fn back(app: &Inner, by: &SignedIn, flash: Flash) -> Response {
    app.flashes.leave(&by.session.id, flash);
    see_other(&app.address.link("/settings"))
}

/// A new password of one's own. All sessions end, and this browser gets a new one.
pub(crate) async fn password(
    State(app): State<App>,
    posted: Posted,
) -> Result<Response, PageError> {
    let (by, fields) = (&posted.by, &posted.fields);
    let admin = &by.session.admin;
    let password = Secret::new(fields.raw("password"));
    if let Some(mistake) = weakness(&password, fields.raw("repeated")) {
        return Ok(back(&app, by, Flash::bad(&mistake)));
    }
    if let Some(mistake) = password_mistake(&app, by, fields.raw("current")).await? {
        return Ok(back(&app, by, Flash::bad(&mistake)));
    }
    if let Err(error) = app.store().set_admin_password(admin, password).await {
        return refused(&app, by, error);
    }
    app.audit(by, "changed their password").await;
    let Some(cookie) = app.store().open_session(admin, &by.visitor).await? else {
        return Ok(see_other(&app.address.link("/sign-in")));
    };
    let session = app.store().session(&cookie).await?;
    if let Some(session) = session {
        let words = "Your password was changed; your other sessions have ended.";
        app.flashes.leave(&session.id, Flash::good(words));
    }
    let mut response = see_other(&app.address.link("/settings"));
    let cookie = set_session(&app.address, cookie.expose())?;
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

fn refused(app: &Inner, by: &SignedIn, error: StoreError) -> Result<Response, PageError> {
    match error {
        StoreError::Invalid { why, .. } => {
            let words = format!("Nothing was changed: {why}.");
            Ok(back(app, by, Flash::bad(&words)))
        }
        error => Err(error.into()),
    }
}

/// A further administrator.
pub(crate) async fn add(State(app): State<App>, posted: Posted) -> Result<Response, PageError> {
    let (by, fields) = (&posted.by, &posted.fields);
    let name = fields.text("name");
    let password = Secret::new(fields.raw("password"));
    if let Some(mistake) = weakness(&password, fields.raw("repeated")) {
        return Ok(back(&app, by, Flash::bad(&mistake)));
    }
    if let Some(mistake) = password_mistake(&app, by, fields.raw("current")).await? {
        return Ok(back(&app, by, Flash::bad(&mistake)));
    }
    if let Err(error) = app.store().add_admin(name, password).await {
        return refused(&app, by, error);
    }
    app.audit(by, &format!("added the administrator {name}"))
        .await;
    let words = format!("The administrator {name} was added.");
    Ok(back(&app, by, Flash::good(&words)))
}

/// Asks whether an administrator is really to be deleted.
pub(crate) async fn ask_delete(
    State(app): State<App>,
    by: SignedIn,
    asked: Asked,
) -> Result<Response, PageError> {
    let name = named(asked);
    if !app.store().is_admin(&name)? {
        return Err(PageError::NotFound);
    }
    let own = name == by.session.admin;
    let words = if own {
        format!("{name} is you: you are signed out at once.")
    } else {
        format!("{name} can sign in no longer, and their sessions end.")
    };
    html(&Confirm {
        frame: app.frame(&by, Section::Settings, &format!("Delete {name}?"))?,
        words: vec![words],
        in_the_way: Vec::new(),
        action: "/settings/admins/delete",
        name,
        button: "Delete for good",
        back: "/settings",
    })
}

/// Deletes an administrator.
pub(crate) async fn delete(State(app): State<App>, posted: Posted) -> Result<Response, PageError> {
    let by = &posted.by;
    let name = posted.fields.raw("name");
    if let Err(error) = app.store().delete_admin(name).await {
        return refused(&app, by, error);
    }
    app.audit(by, &format!("deleted the administrator {name}"))
        .await;
    let words = format!("The administrator {name} was deleted.");
    Ok(back(&app, by, Flash::good(&words)))
}

/// Ends a session.
pub(crate) async fn end_session(
    State(app): State<App>,
    posted: Posted,
) -> Result<Response, PageError> {
    let by = &posted.by;
    let id = posted.fields.raw("id");
    let whose = app.store().session_of_id(id)?;
    let flash = match whose {
        Some(session) if app.store().end_session(id).await? => {
            let admin = session.admin;
            app.audit(by, &format!("ended a session of {admin}")).await;
            Flash::good(&format!("The session of {admin} was ended."))
        }
        _ => Flash::good("That session has ended already."),
    };
    Ok(back(&app, by, flash))
}

/// A second factor to be set up: for the authenticator's camera, and the code that it then shows.
#[derive(Template)]
#[template(path = "second_factor.html")]
struct SecondFactorPage {
    frame: Frame,
    secret: String,
    picture: Option<Qr>,
    mistake: Option<String>,
}

fn set_up(
    app: &Inner,
    by: &SignedIn,
    totp: &Totp,
    mistake: Option<String>,
) -> Result<Response, PageError> {
    html(&SecondFactorPage {
        frame: app.frame(by, Section::Settings, "Second factor")?,
        picture: Qr::new(totp.uri.expose(), "the secret for your authenticator"),
        secret: totp.secret.expose().to_owned(),
        mistake,
    })
}

/// Begins to set up a second factor.
pub(crate) async fn second_factor(
    State(app): State<App>,
    by: SignedIn,
) -> Result<Response, PageError> {
    let totp = Totp::new(&by.session.admin)?;
    set_up(&app, &by, &totp, None)
}

/// Switches it on, once the authenticator shows a right code.
pub(crate) async fn confirm_second_factor(
    State(app): State<App>,
    posted: Posted,
) -> Result<Response, PageError> {
    let (by, fields) = (&posted.by, &posted.fields);
    let admin = &by.session.admin;
    let secret = Secret::new(fields.text("secret"));
    let set = app
        .store()
        .set_second_factor(admin, secret.clone(), fields.text("code"));
    match set.await {
        Ok(()) => {}
        Err(wrong @ TotpError::Wrong) => {
            let totp = Totp::of(secret, admin);
            return set_up(&app, by, &totp, Some(format!("Not switched on: {wrong}.")));
        }
        Err(TotpError::Store(error)) => return Err(error.into()),
    }
    app.audit(by, "switched their second factor on").await;
    let flash = Flash::good("The second factor is switched on.").advise(
        "From now on signing in takes a code. With a lost telephone, `postern admin link` lets you in again.",
    );
    Ok(back(&app, by, flash))
}

/// Switches it off.
pub(crate) async fn remove_second_factor(
    State(app): State<App>,
    posted: Posted,
) -> Result<Response, PageError> {
    let by = &posted.by;
    if let Some(mistake) = password_mistake(&app, by, posted.fields.raw("current")).await? {
        return Ok(back(&app, by, Flash::bad(&mistake)));
    }
    app.store().remove_second_factor(&by.session.admin).await?;
    app.audit(by, "switched their second factor off").await;
    let flash = Flash::good("The second factor is switched off.");
    Ok(back(&app, by, flash))
}
