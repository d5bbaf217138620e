//! *Request new token*: the way to the provider, and the callback.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{HeaderMap, HeaderValue, ORIGIN, REFERRER_POLICY, SET_COOKIE};
use axum::response::Response;
use provider_template::{Flow, url_is_safe};
use token_store::admins::{Session, Visitor};
use token_store::{CallbackAnswer, ConsentError, Consented, SignIn};

use super::tokens::{refreshed, sorry, token_of};
use super::{Frame, Section, device, html};
use crate::address::astray;
use crate::error::{PageError, see_other};
use crate::flash::Flash;
use crate::session::{
    Posted, SignedIn, asked_by, consent_binding, consent_cookie, cookie, set_consent,
};
use crate::visitor::Arrival;
use crate::{App, Inner};

/// The step between this page and the provider. It is a page with a link that is followed at once, and not a
/// redirect: `form-action 'self'` in the policy also governs where a POST may redirect to.
#[derive(Template)]
#[template(path = "leave.html")]
struct LeavePage {
    frame: Frame,
    name: String,
    url: String,
    host: String,
}

/// The same for a browser that the provider can't lead back here: a link to follow, and a form for the address where it ends.
#[derive(Template)]
#[template(path = "paste.html")]
struct PastePage {
    frame: Frame,
    name: String,
    url: String,
    host: String,
    redirect_uri: String,
}

/// Sends the administrator to the provider, by the way that the form asks for; a flow without a person asks at once.
pub(crate) async fn request(
    State(app): State<App>,
    headers: HeaderMap,
    posted: Posted,
) -> Result<Response, PageError> {
    let by = &posted.by;
    let name = posted.fields.raw("name");
    let config = app.store().token_config(name)?;
    let flow = config.map(|config| config.entry.config.flow);
    if flow.is_some_and(|flow| !flow.needs_person()) {
        return Ok(refreshed(&app, by, &token_of(&posted)).await);
    }
    let sign_in = if posted.fields.ticked("any_user") {
        SignIn::Anybody
    } else {
        SignIn::ForAccounts
    };
    let way = posted.fields.raw("way");
    if way == "device" || (way.is_empty() && flow == Some(Flow::DeviceCode)) {
        return device::begin(&app, by, name, sign_in).await;
    }
    let paste = way == "paste";
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    if let Some(origin) = astray(&app.address, origin).filter(|_| !paste) {
        app.flashes.leave(&by.session.id, elsewhere(&app, origin));
        return Ok(see_other(&app.address.link("/tokens")));
    }
    let redirect_uri = &app.address.redirect_uri;
    // What is pasted comes with the session; who is led back brings the consent's cookie alone.
    let binding = if paste {
        by.session.id.clone()
    } else {
        consent_binding(&headers, &app.address, by)?
    };
    let begun = app
        .parts
        .tokens
        .begin(name, redirect_uri, &binding, sign_in)
        .await;
    let flash = match begun {
        Ok(url) if url_is_safe(&url) => {
            app.audit(
                by,
                &format!("went to the provider for a new token of {name}"),
            )
            .await;
            let mut page = out(&app, by, name, url, paste)?;
            if !paste {
                let cookie = set_consent(&app.address, &binding)?;
                page.headers_mut().append(SET_COOKIE, cookie);
            }
            return Ok(page);
        }
        Ok(_) => Flash::bad(&format!(
            "Not requested: the URL of {name} for the authorization code is neither https nor loopback."
        )),
        Err(error) => sorry("Not requested", error),
    };
    app.flashes.leave(&by.session.id, flash);
    Ok(see_other(&app.address.link("/tokens")))
}

/// The page between here and the provider.
fn out(
    app: &Inner,
    by: &SignedIn,
    name: &str,
    url: String,
    paste: bool,
) -> Result<Response, PageError> {
    let (name, host) = (name.to_owned(), host_of(&url).to_owned());
    if paste {
        return html(&PastePage {
            frame: app.frame(by, Section::Tokens, "Sign in, then paste the address")?,
            redirect_uri: app.address.redirect_uri.clone(),
            name,
            url,
            host,
        });
    }
    html(&LeavePage {
        frame: app.frame(by, Section::Tokens, "On the way to the provider")?,
        name,
        url,
        host,
    })
}

/// The address where a browser ended that the provider could not lead back here.
pub(crate) async fn paste(State(app): State<App>, posted: Posted) -> Response {
    let answer = CallbackAnswer::from_pasted(posted.fields.raw("address"));
    let Some(answer) = answer else {
        let flash = Flash::bad(
            "Not handed in: that is not the address where the browser ended; there is no code and state in it.",
        )
        .advise("Request the token again, and copy the whole address after signing in.");
        app.flashes.leave(&posted.by.session.id, flash);
        return see_other(&app.address.link("/tokens"));
    };
    let by = &posted.by;
    let asker = Asker {
        session: &by.session,
        binding: &by.session.id,
        visitor: &by.visitor,
    };
    complete(&app, asker, answer).await;
    see_other(&app.address.link("/tokens"))
}

fn elsewhere(app: &Inner, origin: &str) -> Flash {
    let (public, link) = (&app.address.origin, app.address.link("/tokens"));
    Flash::bad(&format!(
        "Not requested: this page is open at {origin}, and the provider leads back to {public}."
    ))
    .advise(&format!(
        "Open `{public}{link}`, sign in there, and request the token again; or choose to paste the address, under Other ways."
    ))
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// The step between the callback and the tokens page. It is a page of ours and not a redirect: a redirect would still be the
/// provider's doing, and the session's cookie would not come along.
#[derive(Template)]
#[template(path = "landed.html")]
struct LandedPage {
    frame: Frame,
}

/// Where the provider leads back to. It goes on at once, so that the code in the address stays neither on the screen nor in
/// the history.
pub(crate) async fn callback(
    State(app): State<App>,
    headers: HeaderMap,
    arrival: Arrival,
    answer: Result<Query<CallbackAnswer>, QueryRejection>,
) -> Result<Response, PageError> {
    let binding = cookie(&headers, consent_cookie(&app.address)).ok_or(PageError::NotTheAsker)?;
    let session = app.store().session_of_id(asked_by(binding))?;
    let session = session.ok_or(PageError::NotTheAsker)?;
    let answer = answer.map(|Query(answer)| answer).unwrap_or_default();
    let asker = Asker {
        session: &session,
        binding,
        visitor: &arrival.visitor,
    };
    complete(&app, asker, answer).await;
    let frame = app.bare_frame("Back from the provider");
    let mut response = html(&LandedPage { frame })?;
    response
        .headers_mut()
        .insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// Who hands in an answer, and what proves that it is theirs.
struct Asker<'a> {
    session: &'a Session,
    binding: &'a str,
    visitor: &'a Visitor,
}

/// Hands an answer in, and leaves word of how it went for the next page of the session.
async fn complete(app: &Inner, asker: Asker<'_>, answer: CallbackAnswer) {
    let Session { admin, id, .. } = asker.session;
    let flash = match app.parts.tokens.complete(asker.binding, answer).await {
        Ok(consented) => {
            app.parts.gateway.tokens_changed(&consented.config);
            let what = format!("got a new token for {}", consented.config);
            app.audit_as(admin, &what, asker.visitor).await;
            arrived(&consented)
        }
        Err(error) => {
            let what = "came back from the provider without a token";
            app.audit_as(admin, what, asker.visitor).await;
            failed(error)
        }
    };
    app.flashes.leave(id, flash);
}

/// Good news, and who signed in.
pub(super) fn arrived(consented: &Consented) -> Flash {
    let who = match &consented.signed_in_as {
        Some(who) => format!(" {who} signed in."),
        None => String::new(),
    };
    Flash::good(&format!(
        "The new token of {} is here.{who}",
        consented.config
    ))
}

fn failed(error: ConsentError) -> Flash {
    let kept = "The current token, if there is one, was kept.";
    match error {
        ConsentError::Refused { words, advice } => {
            Flash::bad(&format!("No new token: the provider refused: {words}"))
                .advise(&format!("{}. {kept}", advice.trim_end_matches('.')))
        }
        ConsentError::OtherPerson(other) => Flash::bad(&format!("No new token: {}", other.words()))
            .advise(&format!("{}. {kept}", other.advice())),
        ConsentError::Store(error) => {
            tracing::error!(%error, "callback");
            Flash::bad("No new token: the database could not be written.")
                .advise(&format!("The log of Postern says why. {kept}"))
        }
        error => Flash::bad(&format!("No new token: {error}")).advise(kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_named_by_its_host() {
        assert_eq!(
            host_of("https://login.example/authorize?a=b"),
            "login.example"
        );
        assert_eq!(host_of("http://127.0.0.1:9/x"), "127.0.0.1:9");
    }

    #[test]
    fn every_failure_says_that_the_current_token_was_kept() {
        let refused = ConsentError::Refused {
            words: "access_denied: the user said no".to_owned(),
            advice: "ask again.".to_owned(),
        };
        let flash = failed(refused);
        let words = flash.words.render().unwrap();
        assert!(
            words.ends_with("access_denied: the user said no"),
            "{words}"
        );
        let advice = flash.advice.render().unwrap();
        assert!(
            advice.starts_with("ask again. The current token"),
            "{advice}"
        );
        let stale = failed(ConsentError::Stale).advice.render().unwrap();
        assert!(stale.contains("was kept"), "{stale}");
    }
}
