//! *Request new token*: the way to the provider, and the callback.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{HeaderMap, HeaderValue, ORIGIN, REFERRER_POLICY};
use axum::response::Response;
use provider_template::url_is_safe;
use token_store::{CallbackAnswer, ConsentError, SignIn};

use super::tokens::{refreshed, sorry, token_of};
use super::{Frame, Section, html};
use crate::address::astray;
use crate::error::{PageError, see_other};
use crate::flash::Flash;
use crate::session::{Posted, SignedIn};
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

/// Sends the administrator to the provider; a flow without a person asks at once.
pub(crate) async fn request(
    State(app): State<App>,
    headers: HeaderMap,
    posted: Posted,
) -> Result<Response, PageError> {
    let by = &posted.by;
    let name = posted.fields.raw("name");
    let config = app.store().token_config(name)?;
    if config.is_some_and(|config| !config.entry.config.flow.needs_person()) {
        return Ok(refreshed(&app, by, &token_of(&posted)).await);
    }
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    if let Some(origin) = astray(&app.address, origin) {
        app.flashes.leave(&by.session.id, elsewhere(&app, origin));
        return Ok(see_other(&app.address.link("/tokens")));
    }
    let redirect_uri = &app.address.redirect_uri;
    let begun = app
        .parts
        .tokens
        .begin(name, redirect_uri, &by.session.id, SignIn::ForAccounts)
        .await;
    let flash = match begun {
        Ok(url) if url_is_safe(&url) => {
            app.audit(
                by,
                &format!("went to the provider for a new token of {name}"),
            )
            .await;
            return html(&LeavePage {
                frame: app.frame(by, Section::Tokens, "On the way to the provider")?,
                name: name.to_owned(),
                host: host_of(&url).to_owned(),
                url,
            });
        }
        Ok(_) => Flash::bad(&format!(
            "Not requested: the URL of {name} for the authorization code is neither https nor loopback."
        )),
        Err(error) => sorry("Not requested", error),
    };
    app.flashes.leave(&by.session.id, flash);
    Ok(see_other(&app.address.link("/tokens")))
}

fn elsewhere(app: &Inner, origin: &str) -> Flash {
    let (public, link) = (&app.address.origin, app.address.link("/tokens"));
    Flash::bad(&format!(
        "Not requested: this page is open at {origin}, and the provider leads back to {public}."
    ))
    .advise(&format!(
        "Open `{public}{link}`, sign in there, and request the token again."
    ))
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// Where the provider leads back to. It always ends at the tokens page, so that the code in the address stays
/// neither on the screen nor in the history.
pub(crate) async fn callback(
    State(app): State<App>,
    by: SignedIn,
    answer: Result<Query<CallbackAnswer>, QueryRejection>,
) -> Response {
    let answer = answer.map(|Query(answer)| answer).unwrap_or_default();
    let flash = match app.parts.tokens.complete(&by.session.id, answer).await {
        Ok(consented) => {
            let name = consented.config;
            app.parts.gateway.tokens_changed(&name);
            app.audit(&by, &format!("got a new token for {name}")).await;
            Flash::good(&format!("The new token of {name} is here."))
        }
        Err(error) => {
            app.audit(&by, "came back from the provider without a token")
                .await;
            failed(error)
        }
    };
    app.flashes.leave(&by.session.id, flash);
    let mut response = see_other(&app.address.link("/tokens"));
    response
        .headers_mut()
        .insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
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
