//! What is wrong with a key or a certificate in PEM (RFC 7468), as far as its armour tells; the key itself is looked at where it signs.

/// Why a text is no private key that signs RS256 or PS256.
pub(crate) fn key_trouble(pem: &str) -> Option<&'static str> {
    let kind = label(pem);
    match kind {
        Some("PRIVATE KEY" | "RSA PRIVATE KEY") if ends(pem, "PRIVATE KEY-----") => None,
        Some("PRIVATE KEY" | "RSA PRIVATE KEY") => Some("breaks off; its last line is missing"),
        Some("ENCRYPTED PRIVATE KEY") => Some(
            "is encrypted with a passphrase; give it decrypted (openssl pkey), readable for the daemon's user alone",
        ),
        Some("EC PRIVATE KEY") => {
            Some("is an elliptic-curve key; the assertions are signed with an RSA key")
        }
        Some("CERTIFICATE") => {
            Some("holds a certificate first; expected the private key alone, in PEM")
        }
        _ => Some("is no private key in PEM; expected a first line -----BEGIN PRIVATE KEY-----"),
    }
}

/// Why a text is no certificate.
pub(crate) fn certificate_trouble(pem: &str) -> Option<&'static str> {
    match label(pem) {
        Some("CERTIFICATE") if ends(pem, "CERTIFICATE-----") => None,
        Some("CERTIFICATE") => Some("breaks off; its last line is missing"),
        Some(other) if other.ends_with("PRIVATE KEY") => {
            Some("holds a private key; expected the certificate alone, in PEM")
        }
        _ => Some("is no certificate in PEM; expected a first line -----BEGIN CERTIFICATE-----"),
    }
}

/// What the first armour says it holds. Text before it is allowed (RFC 7468 section 2), and openssl writes some.
fn label(pem: &str) -> Option<&str> {
    pem.lines()
        .find_map(|line| line.trim().strip_prefix("-----BEGIN "))
        .and_then(|rest| rest.strip_suffix("-----"))
}

fn ends(pem: &str, with: &str) -> bool {
    let mut lines = pem.lines().map(str::trim);
    lines.any(|line| line.starts_with("-----END ") && line.ends_with(with))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armour(label: &str) -> String {
        format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
    }

    #[test]
    fn a_key_and_a_certificate_are_told_apart_by_their_armour() {
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY"] {
            assert_eq!(key_trouble(&armour(label)), None);
            let before = format!("Bag Attributes\n  x: y\n{}", armour(label));
            assert_eq!(key_trouble(&before), None);
            assert!(certificate_trouble(&armour(label)).is_some());
        }
        assert_eq!(certificate_trouble(&armour("CERTIFICATE")), None);
        for other in [
            armour("ENCRYPTED PRIVATE KEY"),
            armour("EC PRIVATE KEY"),
            armour("CERTIFICATE"),
            "planted".to_owned(),
            "-----BEGIN PRIVATE KEY-----\nAAAA\n".to_owned(),
        ] {
            assert!(!key_trouble(&other).unwrap().contains("planted"));
        }
        for other in ["planted", "-----BEGIN CERTIFICATE-----\nAAAA"] {
            assert!(!certificate_trouble(other).unwrap().contains("planted"));
        }
    }
}
