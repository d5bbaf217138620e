//! The round trip of anything that can be written.

mod broken;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{read, write};
use crate::additions::{
    Additions, Assertion, FurtherEndpoints, Host, Limits, Quirks, ServiceAccount, Tls, Variable,
};
use crate::entry::{Answer, Autofill, Config, Entry, Notifications, Request, Requests, Words};
use crate::flow::Flow;
use crate::secret::Secret;

fn text() -> impl Strategy<Value = String> {
    let hostile = [
        "",
        "no",
        "on",
        "~",
        "null",
        "true",
        "0755",
        "1_000",
        "1e3",
        ".nan",
        "0x1F",
        "<<",
        "=",
        "---",
        "- a",
        "# x",
        "a # b",
        "a: b",
        "{a",
        "[a",
        "'",
        "\"",
        "\\",
        "|",
        ">",
        "%",
        "@",
        "`",
        "!tag",
        "&a",
        "*a",
        "?",
        " lead",
        "trail ",
        "\n",
        "two\nlines",
        "two\n\n lines\n\n",
        " \n ",
        "\t",
        "a\tb\n",
        "\r\n",
        "\u{0}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "🦀",
        "2026-01-01",
        "12:30:00",
    ];
    prop_oneof![
        proptest::sample::select(hostile.to_vec()).prop_map(str::to_owned),
        any::<String>(),
        "[a-z~._ :#-]{0,120}",
    ]
}

fn some_text() -> impl Strategy<Value = Option<String>> {
    option::of(text().prop_filter("empty is None", |text| !text.is_empty()))
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Unknown keys: none that the format knows begins with an underscore.
fn rest() -> impl Strategy<Value = Map<String, Value>> {
    btree_map(text().prop_map(|key| format!("_{key}")), json(), 0..3)
        .prop_map(|map| map.into_iter().collect())
}

/// Unknown keys, some of them inside the named inner maps.
fn rest_within(inner: &'static [&'static str]) -> impl Strategy<Value = Map<String, Value>> {
    (rest(), vec(rest(), inner.len())).prop_map(move |(mut all, more)| {
        for (name, keys) in inner.iter().zip(more) {
            if !keys.is_empty() {
                all.insert((*name).to_owned(), Value::Object(keys));
            }
        }
        all
    })
}

fn word<T: Words + std::fmt::Debug>() -> impl Strategy<Value = T> {
    proptest::sample::select(T::WORDS).prop_map(|(variant, _)| variant)
}

fn pairs<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<(String, T)>> {
    btree_map(text(), value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn request() -> impl Strategy<Value = Request> {
    let answers = pairs(word::<Answer>());
    let autofilled = pairs(word::<Autofill>());
    (
        text(),
        pairs(text()),
        autofilled,
        answers,
        rest_within(&["Request", "Response"]),
    )
        .prop_map(|(url, parameters, autofilled, answers, rest)| Request {
            url,
            parameters,
            autofilled,
            answers,
            rest,
        })
}

fn requests() -> impl Strategy<Value = Requests> {
    let one = || option::of(request());
    (one(), one(), one(), one(), rest()).prop_map(|(a, b, c, d, rest)| Requests {
        authorization_code: a,
        token_by_authorization_code: b,
        token_by_refresh_token: c,
        token_by_client_credentials: d,
        rest,
    })
}

fn host() -> impl Strategy<Value = Option<Host>> {
    let name = text().prop_filter("a host has a name", |text| !text.is_empty());
    option::of(
        (name, 1..u16::MAX, word::<Tls>()).prop_map(|(host, port, tls)| Host { host, port, tls }),
    )
}

fn number() -> impl Strategy<Value = Option<u32>> {
    any::<Option<u32>>()
}

fn limits() -> impl Strategy<Value = Limits> {
    let some = (number(), number(), any::<Option<u64>>(), number(), number());
    let more = (number(), number(), number(), number(), number());
    (some, more).prop_map(|(some, more)| Limits {
        smtp_connections: some.0,
        smtp_rate: some.1,
        smtp_size: some.2,
        smtp_messages_per_day: some.3,
        smtp_recipients_per_day: some.4,
        smtp_recipients_per_message: more.0,
        smtp_messages_per_connection: more.1,
        imap_connections: more.2,
        imap_megabytes_per_day: more.3,
        pop3_megabytes_per_day: more.4,
    })
}

fn quirks() -> impl Strategy<Value = Quirks> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (flags, number(), option::of(word()), option::of(word())).prop_map(
        |(flags, idle_minutes, sasl_preferred, sasl_refused)| Quirks {
            smtp_no_initial_response: flags.0,
            pop3_two_line_auth: flags.1,
            trash_on_delete: flags.2,
            idle_minutes,
            sasl_preferred,
            sasl_refused,
        },
    )
}

fn endpoints() -> impl Strategy<Value = FurtherEndpoints> {
    let one = some_text;
    (one(), one(), one(), one()).prop_map(|(device, revoke, introspect, userinfo)| {
        FurtherEndpoints {
            device,
            revoke,
            introspect,
            userinfo,
        }
    })
}

fn assertion() -> impl Strategy<Value = Option<Assertion>> {
    option::of(
        (word(), text(), some_text()).prop_map(|(algorithm, certificate, audience)| Assertion {
            algorithm,
            certificate,
            audience,
        }),
    )
}

fn service_account() -> impl Strategy<Value = Option<ServiceAccount>> {
    option::of(
        (text(), some_text(), some_text()).prop_map(|(email, key_id, audience)| ServiceAccount {
            email,
            key_id,
            audience,
        }),
    )
}

fn additions() -> impl Strategy<Value = Additions> {
    let texts = (some_text(), some_text(), some_text());
    let flows = vec(word::<Flow>(), 0..3);
    let variables = pairs(text());
    let grants = (endpoints(), assertion(), service_account());
    let rest = rest_within(&["Limits", "Quirks", "Endpoints"]);
    (
        (texts, flows, variables, grants),
        (number(), number()),
        (host(), host(), host()),
        (limits(), quirks()),
        rest,
    )
        .prop_map(
            |(what, lives, (imap, pop3, smtp), (limits, quirks), rest)| {
                let ((title, notes, discovery), flows, variables, grants) = what;
                Additions {
                    title,
                    notes,
                    discovery,
                    flows,
                    variables: variables
                        .into_iter()
                        .map(|(name, asks)| Variable { name, asks })
                        .collect(),
                    endpoints: grants.0,
                    assertion: grants.1,
                    service_account: grants.2,
                    refresh_idle_life: lives.0,
                    refresh_life: lives.1,
                    imap,
                    pop3,
                    smtp,
                    limits,
                    quirks,
                    rest,
                }
            },
        )
}

fn entry() -> impl Strategy<Value = Entry> {
    let name = text().prop_filter("a name is not blank", |text| !text.trim().is_empty());
    let client = (text(), text(), text(), some_text());
    let more = (text(), text(), text());
    let choices = (word::<Flow>(), any::<bool>(), any::<bool>(), any::<bool>());
    let rests = (rest(), rest_within(&["Notifications"]));
    let client = (client, more);
    (name, client, choices, requests(), additions(), rests).prop_map(
        |(
            name,
            ((id, secret, scope, template_name), (private_key, user, password)),
            (flow, valid, token, refresh),
            requests,
            postern,
            rests,
        )| Entry {
            name,
            valid,
            config: Config {
                client_id: id,
                client_secret: Secret::new(secret),
                private_key: Secret::new(private_key),
                user,
                password: Secret::new(password),
                scope,
                template_name,
                flow,
                notifications: Notifications {
                    expired_token: token,
                    expired_refresh_token: refresh,
                },
                requests,
                postern,
                rest: rests.1,
            },
            rest: rests.0,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn what_is_written_reads_back_equal_and_writes_the_same_again(entries in vec(entry(), 0..3)) {
        let text = write(&entries, true);
        let back = read(&text).map_err(|e| TestCaseError::fail(format!("{e} in\n{text}")))?;
        prop_assert_eq!(&back, &entries);
        prop_assert_eq!(write(&back, true), text);
    }

    #[test]
    fn no_document_makes_the_reader_panic(text in "[-A-Za-z:{}\\[\\]'\"|>&*!%@#?, \n\t0-9~]{0,200}") {
        let _ = read(&text);
    }
}
