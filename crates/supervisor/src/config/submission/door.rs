//! How a submission listener is protected and who may use it: no configuration that starts is an open relay.

use std::path::PathBuf;

use sender::{CertificateFiles, Listen, Protection};
use wire::accept::Certificate;

use super::super::reader::{Field, Section};
use super::super::sections::absolute;
use super::super::surroundings::{Secrets, Surroundings};

/// What a client needs before it may send.
pub(super) struct Door {
    pub(super) tls: Protection,
    pub(super) sign_in: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tls {
    None,
    Starttls,
    Implicit,
}

/// Reads `tls`, `certificate`, `certificate_key` and `auth`.
pub(super) fn read(
    section: &Section<'_>,
    address: Option<&Field<'_>>,
    listen: Option<&Listen>,
    surroundings: &Surroundings,
) -> Option<Door> {
    let ways = [
        ("none", Tls::None),
        ("starttls", Tls::Starttls),
        ("implicit", Tls::Implicit),
    ];
    let (tls_field, auth_field) = (section.get("tls"), section.get("auth"));
    let tls = tls_field
        .as_ref()
        .map_or(Some(Tls::None), |field| field.one_of(&ways));
    let words = [("none", false), ("required", true)];
    let sign_in = auth_field
        .as_ref()
        .map_or(Some(false), |field| field.one_of(&words));
    let (chain, key) = (section.get("certificate"), section.get("certificate_key"));
    let (tls, sign_in, listen) = (tls?, sign_in?, listen?);
    if !listen.is_local() {
        let mut is_safe = true;
        if tls == Tls::None {
            tls_field.as_ref().or(address)?.mistake(BEYOND_TLS);
            is_safe = false;
        }
        if !sign_in {
            auth_field.as_ref().or(address)?.mistake(BEYOND_AUTH);
            is_safe = false;
        }
        if !is_safe {
            return None;
        }
    }
    if tls != Tls::None && matches!(listen, Listen::Unix(_)) {
        tls_field?.mistake(
            "a Unix socket does not leave this machine, so there is no TLS on it; expected none",
        );
        return None;
    }
    let files = files(section, chain, key, tls != Tls::None, surroundings)?;
    let tls = match (tls, files) {
        (Tls::Starttls, Some(files)) => Protection::Starttls(files),
        (Tls::Implicit, Some(files)) => Protection::Implicit(files),
        _ => Protection::None,
    };
    Some(Door { tls, sign_in })
}

const BEYOND_TLS: &str = "this listener is reached from beyond this machine, where a password needs TLS; add `tls: starttls` (or implicit) with \
                          `certificate` and `certificate_key`, or listen on a loopback address or a Unix socket";
const BEYOND_AUTH: &str = "this listener is reached from beyond this machine, and whoever reaches it could send as your helpdesk; add `auth: required` \
                           and make a user with `postern submission user add`, or listen on a loopback address or a Unix socket";

/// The certificate's files, tried; Some(None): there is none, and none is needed.
fn files<'a>(
    section: &Section<'a>,
    chain: Option<Field<'a>>,
    key: Option<Field<'a>>,
    is_needed: bool,
    surroundings: &Surroundings,
) -> Option<Option<CertificateFiles>> {
    if !is_needed {
        let mut needless = chain.iter().chain(&key).peekable();
        let is_right = needless.peek().is_none();
        needless.for_each(|field| {
            field.mistake("is of no use without TLS; add `tls: starttls` or `tls: implicit`");
        });
        return is_right.then_some(None);
    }
    let expected = "the path of a PEM file, or {credential: NAME}";
    let require = |field: Option<Field<'a>>, name| {
        let field = field.or_else(|| section.require(name, expected))?;
        Some((path(&field, expected, surroundings)?, field))
    };
    let chain = require(chain, "certificate");
    let key = require(key, "certificate_key");
    let ((chain, chain_field), (key, key_field)) = (chain?, key?);
    // A command that only looks may not be able to read the key.
    if surroundings.secrets == Secrets::Needed
        && let Err(error) = Certificate::load(&chain, &key)
    {
        let field = if error.path == key {
            key_field
        } else {
            chain_field
        };
        field.mistake(error.to_string());
        return None;
    }
    Some(Some(CertificateFiles { chain, key }))
}

fn path(field: &Field<'_>, expected: &str, surroundings: &Surroundings) -> Option<PathBuf> {
    if field.scalar().is_some() {
        return absolute(field);
    }
    let Some(("credential", name)) = field.single_entry() else {
        field.expected(expected);
        return None;
    };
    let found = surroundings.credential(name.text("a credential's name")?);
    match (found, surroundings.secrets) {
        (Ok(path), _) => Some(path),
        // Nothing will be read from it.
        (Err(_), Secrets::LeftOut) => Some(PathBuf::new()),
        (Err(why), Secrets::Needed) => {
            name.mistake(why);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::reader::Reader;
    use super::super::super::{Config, Secrets, Surroundings, yaml};
    use sender::{Protection, Submission};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// Certificate and key in a folder of their own.
    fn certificate() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("chain.pem"), made.cert.pem()).unwrap();
        let key = folder.path().join("key.pem");
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
        folder
    }

    fn read(text: &str) -> Result<Config, String> {
        Config::from_text(Path::new("postern.yaml"), text).map_err(|mistakes| mistakes.to_string())
    }

    /// The section without the rest of a configuration; None: there is a mistake in it.
    fn alone(text: &str) -> Option<Vec<Submission>> {
        let (root, _) = yaml::parse(text).unwrap();
        let reader = Reader::default();
        let surroundings = Surroundings::of_this_process(Secrets::Needed);
        let listeners = super::super::read(&reader.root(&root), &surroundings);
        let (mistakes, _) = reader.into_findings();
        mistakes.is_empty().then_some(listeners)
    }

    #[test]
    fn no_configuration_that_starts_is_an_open_relay() {
        let folder = certificate();
        let files = format!(
            ", certificate: {0}/chain.pem, certificate_key: {0}/key.pem",
            folder.path().display()
        );
        let (mut started, mut public) = (0, 0);
        for listen in [
            "127.0.0.1:2525",
            "127.8.7.6:2525",
            "'[::1]:2525'",
            "'[::ffff:127.0.0.1]:2525'",
            "localhost:2525",
            "/run/postern/smtp.sock",
            "0.0.0.0:25",
            "'[::]:25'",
            "192.0.2.1:25",
            "'[::ffff:192.0.2.1]:25'",
            "'[2001:db8::1]:465'",
            "mail.example.com:25",
            "'*:25'",
        ] {
            for tls in [
                "",
                ", tls: none",
                ", tls: starttls",
                ", tls: implicit",
                ", tls: maybe",
            ] {
                for auth in ["", ", auth: none", ", auth: required", ", auth: optional"] {
                    for files in ["", files.as_str()] {
                        let text = format!("submission: [{{listen: {listen}{tls}{auth}{files}}}]");
                        let Some(listeners) = alone(&text) else {
                            continue;
                        };
                        started += 1;
                        let [rules] = listeners.as_slice() else {
                            panic!("{text}: {listeners:?}");
                        };
                        if rules.listen.is_local() {
                            continue;
                        }
                        public += 1;
                        assert!(rules.sign_in && rules.tls != Protection::None, "{text}");
                    }
                }
            }
        }
        // Five addresses of this machine by four kinds of TLS and three of auth, the socket without TLS; and five beyond it, two ways.
        assert_eq!((started, public), (5 * 4 * 3 + 2 * 3 + 5 * 2, 5 * 2));
    }

    #[test]
    fn a_certificate_that_cannot_be_used_is_told_at_its_key_with_file_and_line() {
        let folder = certificate();
        let path = |name: &str| folder.path().join(name);
        let text = format!(
            "submission:\n  - listen: 0.0.0.0:465\n    tls: implicit\n    auth: required\n    certificate: {0}/chain.pem\n    certificate_key: {0}/key.pem\n",
            folder.path().display()
        );
        assert!(read(&text).is_ok());
        let key = std::fs::read(path("key.pem")).unwrap();
        std::fs::write(path("key.pem"), "x\n-----BEGIN PRIVATE KEY-----\n").unwrap();
        assert_eq!(
            read(&text).unwrap_err(),
            format!(
                "postern.yaml:6:22: submission[0].certificate_key: {}, line 2: what begins here has no line -----END",
                path("key.pem").display()
            )
        );
        std::fs::write(path("key.pem"), key).unwrap();
        std::fs::remove_file(path("chain.pem")).unwrap();
        let told = read(&text).unwrap_err();
        let begins = "postern.yaml:5:18: submission[0].certificate: ";
        assert!(
            told.starts_with(begins) && told.contains("No such file"),
            "{told}"
        );
    }
}
