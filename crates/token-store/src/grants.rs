//! Which grant brings the next token: the refresh token, or the one that needs no person.

use crate::TokenId;
use crate::exchange::{Ask, Exchange, Verdict};
use crate::state::Token;
use provider_template::Entry;

/// Asks for the next token. None when only a person can help.
///
/// Where a grant needs no person it stands in for a refresh token that is refused; the refresh token is kept until another
/// one comes.
pub(crate) async fn next(
    exchange: &Exchange,
    entry: &Entry,
    id: &TokenId,
    token: &Token,
) -> Option<Verdict> {
    let flow = entry.config.flow;
    let refresh = token.refresh.as_ref();
    let again = Ask::without_person(flow, &id.subject);
    let Some(refresh) = refresh.filter(|_| flow.has_refresh_token()) else {
        return Some(exchange.ask(entry, again?).await);
    };
    let ask = Ask::Refresh {
        refresh_token: &refresh.secret,
    };
    let mut granted = entry.clone();
    if let Some(scope) = &token.granted_scope {
        granted.config.scope.clone_from(scope);
    }
    match (exchange.ask(&granted, ask).await, again) {
        (Verdict::AskPerson(_) | Verdict::FixConfiguration(_), Some(again)) => {
            Some(exchange.ask(entry, again).await)
        }
        (verdict, _) => Some(verdict),
    }
}
