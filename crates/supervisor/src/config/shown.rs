//! The file as people may see it on a page: what it says, without comments, and with its secrets hidden.

use super::yaml::{self, Node, Value};

/// Keys whose text is a secret, wherever they stand. One that names a file, a variable or a credential is not: its value is a mapping.
const SECRETS: [&str; 6] = [
    "client_secret",
    "password",
    "private_key",
    "secret",
    "service_account",
    "key",
];
/// What stands for a secret.
const HIDDEN: &str = "***";

/// A text of the file, for a page; None when it is not YAML.
pub(crate) fn shown(text: &str) -> Option<String> {
    let (root, _) = yaml::parse(text).ok()?;
    let mut out = String::new();
    write(&mut out, &root, "", 0);
    Some(out)
}

fn write(out: &mut String, node: &Node, key: &str, depth: usize) {
    match &node.value {
        Value::Scalar { text, plain } => {
            out.push_str(&scalar(text, *plain, key));
            out.push('\n');
        }
        Value::Map(entries) if entries.is_empty() => out.push_str("{}\n"),
        Value::List(items) if items.is_empty() => out.push_str("[]\n"),
        Value::Map(entries) => {
            for (at, (key, value)) in entries.iter().enumerate() {
                if at > 0 {
                    indent(out, depth);
                }
                out.push_str(&quoted(&key.text));
                out.push(':');
                below(out, value, &key.text, depth);
            }
        }
        Value::List(items) => list(out, items, key, depth),
    }
}

/// A value behind its key: on the same line, or indented below it.
fn below(out: &mut String, value: &Node, key: &str, depth: usize) {
    let nested = match &value.value {
        Value::Map(entries) => !entries.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Scalar { .. } => false,
    };
    if nested {
        out.push('\n');
        indent(out, depth + 1);
        write(out, value, key, depth + 1);
    } else {
        out.push(' ');
        write(out, value, key, depth);
    }
}

fn list(out: &mut String, items: &[Node], key: &str, depth: usize) {
    // A command's arguments may hold a key of the ticket system.
    let command = key == "command";
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            indent(out, depth);
        }
        out.push_str("- ");
        let hidden = command
            && at > 0
            && matches!(&item.value, Value::Scalar { text, .. } if holds_more(text));
        if hidden {
            out.push_str(HIDDEN);
            out.push('\n');
        } else {
            write(out, item, key, depth + 1);
        }
    }
}

/// An argument that is more than a switch or a word: it may carry a secret.
fn holds_more(argument: &str) -> bool {
    argument.contains(['=', ':', '?', '@'])
}

fn scalar(text: &str, plain: bool, key: &str) -> String {
    if SECRETS.contains(&key) {
        return HIDDEN.to_owned();
    }
    // Web hooks carry their secret in the address.
    if let Some((scheme, rest)) = text.split_once("://")
        && (rest.contains(['?', '@']) || key == "webhook" || key == "url")
    {
        let host = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
        let host = host.split(['/', '?']).next().unwrap_or_default();
        return format!("{scheme}://{host}/{HIDDEN}");
    }
    if plain {
        text.to_owned()
    } else {
        serde_json::to_string(text).unwrap_or_default()
    }
}

/// A key: a word as it is, anything else as YAML and JSON quote it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    serde_json::to_string(text).unwrap_or_default()
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_says_is_shown_and_no_secret_in_it() {
        let text = "\
# a comment with planted-comment
state_dir: /var/lib/postern
token_configs:
  - name: support
    client_secret: planted-client
    variables: {TenantID: contoso.example}
  - name: other
    client_secret: {file: /etc/postern/other.secret}
    private_key: |
      -----BEGIN PRIVATE KEY-----
      planted-key
mailboxes:
  - name: \"the desk\"
    auth: {password: planted-password}
    folders: [INBOX, Spam]
    deliver:
      command: [/opt/rt-mailgate, --queue, General, '--key=planted-argument']
  - name: hook
    deliver: {http: {url: 'https://user:planted-user@desk.example/in?token=planted-query', secret: planted-hmac}}
relays: []
notices:
  webhook: {url: 'https://hooks.example/services/planted-path', secret: planted-hook}
";
        let shown = shown(text).unwrap();
        assert!(!shown.contains("planted"), "{shown}");
        for line in [
            "state_dir: /var/lib/postern\n",
            "  - name: support\n    client_secret: ***\n    variables:\n      TenantID: contoso.example\n",
            "    client_secret:\n      file: /etc/postern/other.secret\n    private_key: ***\n",
            "  - name: \"the desk\"\n",
            "    folders:\n      - INBOX\n      - Spam\n",
            "        - /opt/rt-mailgate\n        - --queue\n        - General\n        - ***\n",
            "url: https://desk.example/***\n",
            "relays: []\n",
            "url: https://hooks.example/***\n",
        ] {
            assert!(shown.contains(line), "{line:?} is not in\n{shown}");
        }
        assert_eq!(super::shown("a: ["), None);
    }

    #[test]
    fn what_is_shown_is_the_same_file_again_where_nothing_is_hidden() {
        let text = "a: 1\nb: [x, {c: d, e: [f]}, []]\ng: {h: {i: 'yes: no'}}\nj: ~\nk: {}\n";
        let shown = shown(text).unwrap();
        let again = super::shown(&shown).unwrap();
        assert_eq!(shown, again);
        let values = |text: &str| format!("{:?}", strip(&yaml::parse(text).unwrap().0));
        assert_eq!(values(text), values(&shown));
    }

    /// A tree without its places.
    fn strip(node: &Node) -> serde_json::Value {
        match &node.value {
            Value::Scalar { text, plain } => serde_json::json!([text, plain]),
            Value::List(items) => items.iter().map(strip).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, value)| (key.text.clone(), strip(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}
