//! Microsoft Entra's numbers (AADSTS...), the ones a mail gateway meets. They refine an `error` that is broader than the cause.

use super::{ADVICE_PERSON, ADVICE_WAIT, Kind, LATER};
use std::time::Duration;

/// Microsoft's "looping client" wants a real pause before the next request.
pub(super) const LOOP_PAUSE: Duration = Duration::from_secs(15 * 60);

/// What a number means; `None` leaves the decision to the error.
pub(super) fn by_code(code: u32) -> Option<Kind> {
    passing(code)
        .or_else(|| for_the_person(code))
        .or_else(|| for_the_administrator(code))
}

fn passing(code: u32) -> Option<Kind> {
    Some(match code {
        90006 | 90012 | 90024 | 90033 | 90055 | 90090 | 70012 => LATER,
        50196 => Kind::Retry {
            after: Some(LOOP_PAUSE),
            advice: ADVICE_WAIT,
        },
        _ => return None,
    })
}

fn for_the_person(code: u32) -> Option<Kind> {
    Some(match code {
        700_082 | 70008 | 70000 | 700_081 | 700_084 => Kind::Person(ADVICE_PERSON),
        50034 | 500_341 => Kind::Person(
            "the provider does not know this user any more: restore the account, or request a new token with the right one",
        ),
        50057 => {
            Kind::Person("the user's account is disabled: enable it, then request a new token")
        }
        50053 => Kind::Person(
            "the user's account is locked after failed sign-ins: unlock it, then request a new token",
        ),
        50055 => {
            Kind::Person("the user's password has expired: set a new one, then request a new token")
        }
        50126 => Kind::Person(
            "the user name or the password is wrong: correct it, or request a new token",
        ),
        70043 | 70044 => Kind::Person(
            "a sign-in frequency policy ended the grant; request a new token, and ask the tenant's administrator to exempt this app",
        ),
        50173 => Kind::Person(
            "the password was changed or the sessions were revoked; request a new token",
        ),
        65001 => Kind::Person(
            "consent is missing or was withdrawn; request a new token, or let the tenant's administrator grant consent",
        ),
        50072 | 50074 | 50076 | 50078 | 50079 => Kind::Person(
            "multi-factor authentication is asked for; request a new token and complete it",
        ),
        _ => return None,
    })
}

fn for_the_administrator(code: u32) -> Option<Kind> {
    Some(match code {
        50020 => Kind::Configuration(
            "the user belongs to another tenant: use that tenant's endpoints, or invite the user here",
        ),
        50105 => Kind::Configuration(
            "the user is not assigned to the app: assign it in the tenant's enterprise application, or switch the requirement off",
        ),
        90002 | 900_023 => {
            Kind::Configuration("there is no such tenant: correct the tenant in the endpoints")
        }
        70011 => Kind::Configuration(
            "the scope is not valid: correct it (one resource, and `offline_access`), then request a new token",
        ),
        500_011 | 500_014 => Kind::Configuration(
            "the tenant does not know the service that the scope names, or has switched it off: correct the scope, or switch it on",
        ),
        7_000_112 => Kind::Configuration(
            "the app is disabled in this tenant: ask its administrator to enable it",
        ),
        7_000_218 => Kind::Configuration(
            "the app is registered as a confidential client: enter its client secret, or allow public client flows there",
        ),
        700_027 | 700_023 | 700_024 | 50027 => Kind::Configuration(
            "the signed assertion was not accepted: check the certificate at the app registration, its key here, and this host's clock",
        ),
        70002 | 7_000_215 => {
            Kind::Configuration("the client secret is wrong: enter the secret's value, not its id")
        }
        7_000_222 => Kind::Configuration(
            "the client secret has expired: make a new one in the app registration and enter it",
        ),
        700_016 => Kind::Configuration(
            "the client id is not known in this tenant: compare it, and the tenant in the endpoints, with the app registration",
        ),
        700_025 => Kind::Configuration(
            "the app is registered as a public client: leave the client secret empty",
        ),
        50194 => Kind::Configuration(
            "the app belongs to one tenant: use the tenant's own endpoints instead of `common`",
        ),
        9_001_023 => Kind::Configuration(
            "this grant is not possible on `common` or `consumers`: use the tenant's own endpoints",
        ),
        900_144 => Kind::Configuration(
            "a required field is missing in the request: map it in the token config (`scope` for Microsoft)",
        ),
        53000 | 53001 | 53002 | 53003 | 530_003 => Kind::Configuration(
            "a conditional access policy blocks this sign-in: ask the tenant's administrator to exempt this app; the token is kept",
        ),
        _ => return None,
    })
}
