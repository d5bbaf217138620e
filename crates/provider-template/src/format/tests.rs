//! The round trip of anything that can be written.

mod broken;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{read, write};
use crate::additions::{Additions, Host, Limits, Quirks, Tls, Variable};
use crate::entry::{
    Answer, Autofill, Config, Entry, Flow, Notifications, Request, Requests, Words,
};
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

fn additions() -> impl Strategy<Value = Additions> {
    let texts = (some_text(), some_text(), some_text());
    let variables = pairs(text());
    let numbers = (
        any::<Option<u32>>(),
        any::<Option<u32>>(),
        any::<Option<u64>>(),
        any::<bool>(),
        any::<Option<u32>>(),
    );
    (
        texts,
        variables,
        (host(), host(), host()),
        numbers,
        rest_within(&["Limits", "Quirks"]),
    )
        .prop_map(
            |((title, notes, discovery), variables, (imap, pop3, smtp), numbers, rest)| Additions {
                title,
                notes,
                discovery,
                variables: variables
                    .into_iter()
                    .map(|(name, asks)| Variable { name, asks })
                    .collect(),
                imap,
                pop3,
                smtp,
                limits: Limits {
                    smtp_connections: numbers.0,
                    smtp_rate: numbers.1,
                    smtp_size: numbers.2,
                },
                quirks: Quirks {
                    smtp_no_initial_response: numbers.3,
                    idle_minutes: numbers.4,
                },
                rest,
            },
        )
}

fn entry() -> impl Strategy<Value = Entry> {
    let name = text().prop_filter("a name is not blank", |text| !text.trim().is_empty());
    let client = (text(), text(), text(), some_text());
    let choices = (word::<Flow>(), any::<bool>(), any::<bool>(), any::<bool>());
    let rests = (rest(), rest_within(&["Notifications"]));
    (name, client, choices, requests(), additions(), rests).prop_map(
        |(
            name,
            (id, secret, scope, template_name),
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
