//! A sign-in on another device: the code, until it was entered.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use token_store::{Consented, DeviceState, SignIn};

use super::consent::arrived;
use super::tokens::sorry;
use super::{Frame, Section, html};
use crate::App;
use crate::error::{PageError, see_other};
use crate::flash::Flash;
use crate::qr::Qr;
use crate::session::SignedIn;
use crate::words::{Moment, now};

/// Is loaded again when the code was entered or is over.
#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    frame: Frame,
    name: String,
    code: String,
    /// Where to enter it, as people type it.
    shown: String,
    /// The same with the code in it, where the provider has that.
    link: String,
    /// The same link for a telephone's camera.
    picture: Option<Qr>,
    ends: Moment,
}

/// Which token config's sign-in.
#[derive(serde::Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    name: String,
}

/// Asks the provider for a code, and leads to the page that shows it.
pub(super) async fn begin(
    app: &App,
    by: &SignedIn,
    name: &str,
    sign_in: SignIn<'_>,
) -> Result<Response, PageError> {
    let to = match app.parts.tokens.begin_device(name, sign_in).await {
        Ok(_) => {
            app.audit(by, &format!("asked for a device code for {name}"))
                .await;
            format!("/tokens/device?name={}", encoded(name))
        }
        Err(error) => {
            app.flashes
                .leave(&by.session.id, sorry("Not requested", error));
            "/tokens".to_owned()
        }
    };
    Ok(see_other(&app.address.link(&to)))
}

/// All but the unreserved characters as `%41` (RFC 3986 section 2.3).
pub(super) fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// The code while it waits; then back to the tokens, with word of how it went.
pub(crate) async fn page(
    State(app): State<App>,
    by: SignedIn,
    which: Result<Query<Which>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, PageError> {
    let name = which.map(|Query(which)| which.name).unwrap_or_default();
    let back = || Ok(see_other(&app.address.link("/tokens")));
    let Some(sign_in) = app.parts.tokens.device_sign_in(&name)? else {
        return back();
    };
    let flash = match sign_in.state {
        DeviceState::Waiting => {
            let ends = sign_in.expires_at.duration_since(std::time::UNIX_EPOCH);
            let ends = ends.map_or(0, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            });
            let link = sign_in.complete_uri.as_ref();
            let link = link.map_or(&*sign_in.verification_uri, |uri| uri.expose());
            return html(&DevicePage {
                frame: app.frame(&by, Section::Tokens, "Sign in on any device")?,
                name,
                code: sign_in.user_code.expose().to_owned(),
                picture: Qr::new(link, "the address to sign in at"),
                link: link.to_owned(),
                shown: sign_in.verification_uri,
                ends: Moment::new(ends, now()),
            });
        }
        DeviceState::Granted { signed_in_as } => {
            app.parts.gateway.tokens_changed(&name);
            arrived(&Consented {
                config: name,
                signed_in_as,
            })
        }
        DeviceState::Refused { words } => Flash::bad(&format!("No new token: {words}"))
            .advise("The current token, if there is one, was kept."),
    };
    app.flashes.leave(&by.session.id, flash);
    back()
}

/// `waiting`, or `over`: the page is then to be loaded again.
pub(crate) async fn state(
    State(app): State<App>,
    _by: SignedIn,
    which: Result<Query<Which>, axum::extract::rejection::QueryRejection>,
) -> Result<&'static str, PageError> {
    let name = which.map(|Query(which)| which.name).unwrap_or_default();
    let sign_in = app.parts.tokens.device_sign_in(&name)?;
    let waits = sign_in.is_some_and(|sign_in| sign_in.state == DeviceState::Waiting);
    Ok(if waits { "waiting" } else { "over" })
}
