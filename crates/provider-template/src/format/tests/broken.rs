//! Broken documents and their exact messages.

use crate::format::read;

/// Broken documents; in each, what stands for a secret is spelt `s3cret`.
const BROKEN: [(&str, &str); 38] = [
    (
        "",
        "line 1, column 1: the document is empty; expected a list of entries, or one entry",
    ),
    (
        "# nothing\n",
        "line 2, column 1: the document is empty; expected a list of entries, or one entry",
    ),
    (
        "s3cret",
        "line 1, column 1: expected an entry with Name and Config, found other text",
    ),
    (
        "- s3cret",
        "line 1, column 3: [1]: expected an entry with Name and Config, found other text",
    ),
    (
        "- [s3cret]",
        "line 1, column 3: [1]: expected an entry with Name and Config, found a list",
    ),
    (
        "Config: {ClientSecret: s3cret}",
        "line 1, column 1: the key Name is missing",
    ),
    ("Name: x", "line 1, column 1: the key Config is missing"),
    (
        "- Name: a\n  Config: {}\n- Name: b",
        "line 3, column 3: [2]: the key Config is missing",
    ),
    (
        "Name: ''\nConfig: {}",
        "line 1, column 7: Name: expected a name, found empty text",
    ),
    (
        "Name: [s3cret]\nConfig: {}",
        "line 1, column 7: Name: expected text, found a list",
    ),
    (
        "Name: x\nConfig: s3cret",
        "line 2, column 9: Config: expected a map with ClientID, Requests and so on, found other text",
    ),
    (
        "Name: x\nConfig: {}\nValidID: s3cret",
        "line 3, column 10: ValidID: expected 1 (valid) or 2 (invalid), found other text",
    ),
    (
        "Name: x\nConfig: {}\nValidID: -1",
        "line 3, column 10: ValidID: expected 1 (valid) or 2 (invalid), found another number",
    ),
    (
        "Name: x\nConfig:\n  ClientSecret: [s3cret]",
        "line 3, column 17: Config.ClientSecret: expected text, found a list",
    ),
    (
        "Name: x\nConfig:\n  ClientSecret:\n    s3cret: x",
        "line 4, column 5: Config.ClientSecret: expected text, found a map",
    ),
    (
        "Name: x\nConfig:\n  AuthFlow: s3cret",
        "line 3, column 13: Config.AuthFlow: expected one of AuthorizationCode, ClientCredentials, found other text",
    ),
    (
        "Name: x\nConfig:\n  Notifications: {NotifyOnExpiredToken: s3cret}",
        "line 3, column 41: Config.Notifications.NotifyOnExpiredToken: expected 0 or 1, found other text",
    ),
    (
        "Name: x\nConfig:\n  Notifications: {NotifyOnExpiredToken: 2}",
        "line 3, column 41: Config.Notifications.NotifyOnExpiredToken: expected 0 or 1, found another number",
    ),
    (
        "Name: x\nConfig:\n  Requests: [s3cret]",
        "line 3, column 13: Config.Requests: expected a map, found a list",
    ),
    (
        "- Name: x\n  Config:\n    Requests:\n      TokenByRefreshToken:\n        Request:\n          Parameters:\n            a: {s3cret: 1}",
        "line 7, column 16: [1].Config.Requests.TokenByRefreshToken.Request.Parameters.a: expected text, found a map",
    ),
    (
        "Name: x\nConfig: {Requests: {AuthorizationCode: {Request: {AutofilledParametersMapping: {a: s3cret}}}}}",
        "line 2, column 84: Config.Requests.AuthorizationCode.Request.AutofilledParametersMapping.a: expected one of ClientID, ClientSecret, RedirectURL, Scope, State, AuthorizationCode, RefreshToken, found other text",
    ),
    (
        "Name: x\nConfig: {Requests: {AuthorizationCode: {Response: {ParametersMapping: {a: 1}}}}}",
        "line 2, column 75: Config.Requests.AuthorizationCode.Response.ParametersMapping.a: expected one of AuthorizationCode, State, Token, TokenExpirationDate, RefreshToken, RefreshTokenExpirationDate, ErrorMessage, ErrorCode, ErrorDescription, found another number",
    ),
    (
        "Name: x\nConfig: {Postern: {IMAP: {Host: h, Port: 70000, TLS: implicit}}}",
        "line 2, column 42: Config.Postern.IMAP.Port: expected a port between 1 and 65535, found another number",
    ),
    (
        "Name: x\nConfig: {Postern: {IMAP: {Host: h, Port: 993, TLS: s3cret}}}",
        "line 2, column 52: Config.Postern.IMAP.TLS: expected one of implicit, starttls, none, found other text",
    ),
    (
        "Name: x\nConfig: {Postern: {Variables: {s3cret: 1}}}",
        "line 2, column 31: Config.Postern.Variables: expected a list of variables with Name and Asks, found a map",
    ),
    (
        "Name: x\nConfig: {Postern: {Limits: {SMTPRate: s3cret}}}",
        "line 2, column 39: Config.Postern.Limits.SMTPRate: expected a number of messages a minute, found other text",
    ),
    (
        "ClientSecret: *s3cret",
        "line 1, column 15: this is not valid YAML: an alias without its anchor; text that begins with * must be quoted",
    ),
    (
        "ClientSecret: !s3cret x",
        "line 1, column 23: a tag that means nothing here; text that begins with ! must be quoted",
    ),
    (
        "ClientSecret: @s3cret",
        "line 1, column 15: this is not valid YAML: unexpected character: `@'; text with special characters must be quoted",
    ),
    (
        "ClientSecret: \"s3cret",
        "line 1, column 15: this is not valid YAML: unclosed quote; text with special characters must be quoted",
    ),
    (
        "ClientSecret: s3cret: x",
        "line 1, column 21: this is not valid YAML: mapping values are not allowed in this context; text with special characters must be quoted",
    ),
    (
        "ClientSecret: a\ns3cret\n",
        "line 2, column 1: this is not valid YAML: simple key expected ':'; text with special characters must be quoted",
    ),
    (
        "s3cret: a\ns3cret: b\n",
        "line 2, column 1: this key appears twice in its map",
    ),
    (
        "? [s3cret]\n: x",
        "line 1, column 3: expected a key that is text",
    ),
    (
        "Name: x\nConfig: {}\n---\ns3cret",
        "line 4, column 1: a second document begins here; expected one list of entries, or one entry",
    ),
    (
        "ClientSecret: !!int s3cret",
        "line 1, column 21: this value is not what its tag says",
    ),
    (
        "ClientSecret: &s3cret [*s3cret]",
        "line 1, column 24: this is not valid YAML",
    ),
    (
        "ClientSecret: {s3cret",
        "line 1, column 15: this is not valid YAML: unclosed bracket '{'; text with special characters must be quoted",
    ),
];

#[test]
fn every_broken_document_says_where_and_why_and_never_quotes_a_value() {
    let mut wrong = Vec::new();
    // Not in the table, since YAML puts the end of a lone tag beyond it.
    let lone_tag = read("ClientSecret: !s3cret").expect_err("it would be an empty secret");
    assert!(lone_tag.why.starts_with("a tag that means nothing here"));
    for (text, expected) in BROKEN {
        let problem = read(text).expect_err(text);
        assert!(!format!("{problem:?}").contains("s3cret"), "{text:?}");
        if problem.to_string() != expected {
            wrong.push(format!("{text:?} says: {problem}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_deep_document_is_refused_and_not_followed() {
    let deep = format!("Name: x\nConfig: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(read(&deep).is_err());
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (this, last) in ('b'..='z').zip('a'..) {
        bomb.push_str(&format!(
            "{this}: &{this} [{}]\n",
            vec![format!("*{last}"); 9].join(",")
        ));
    }
    assert!(read(&bomb).is_err());
}
