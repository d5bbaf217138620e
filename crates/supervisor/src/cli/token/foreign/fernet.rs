//! Fernet tokens (version 0x80), as Python's cryptography library makes them, opened with a password.

use aws_lc_rs::cipher::{AES_128, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use std::num::NonZeroU32;
use token_store::Secret;

const VERSION: u8 = 0x80;
/// Version, time.
const HEADER_LEN: usize = 1 + 8;
const IV_LEN: usize = 16;
const MAC_LEN: usize = 32;

/// The key that a password gives: one half signs, the other encrypts.
pub(super) struct Key([u8; 32]);

impl Key {
    /// PBKDF2 with HMAC-SHA256.
    pub(super) fn derive(password: &Secret, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut key = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(
            algorithm,
            iterations,
            salt,
            password.expose().as_bytes(),
            &mut key,
        );
        Self(key)
    }

    /// The text of a token; None when the key is another one, or the token is none.
    pub(super) fn open(&self, token: &str) -> Option<Secret> {
        let bytes = URL_SAFE.decode(token.trim()).ok()?;
        let (signed, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_LEN)?)?;
        let (header, rest) = signed.split_at_checked(HEADER_LEN)?;
        let (iv, sealed) = rest.split_at_checked(IV_LEN)?;
        if header.first() != Some(&VERSION) {
            return None;
        }
        let (signing, encrypting) = self.0.split_at(16);
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, signing), signed, mac).ok()?;
        let key = UnboundCipherKey::new(&AES_128, encrypting).ok()?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
        let iv: [u8; IV_LEN] = iv.try_into().ok()?;
        let mut sealed = sealed.to_vec();
        let context = DecryptionContext::Iv128(FixedLength::from(&iv));
        let opened = key.decrypt(&mut sealed, context).ok()?;
        String::from_utf8(opened.to_vec()).ok().map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the specification's own test vectors (generate.json and verify.json agree on it).
    const TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
    const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

    fn key() -> Key {
        Key(URL_SAFE.decode(KEY).unwrap().try_into().unwrap())
    }

    #[test]
    fn the_specifications_token_opens_and_a_changed_one_does_not() {
        assert_eq!(key().open(TOKEN).unwrap().expose(), "hello");
        assert!(Key([0; 32]).open(TOKEN).is_none());
        for at in [3, 20, 40, 90] {
            let mut changed = TOKEN.to_owned();
            let other = if &TOKEN[at..=at] == "A" { "B" } else { "A" };
            changed.replace_range(at..=at, other);
            assert!(key().open(&changed).is_none(), "{at}");
        }
        for none in ["", "gAAAAA", "not base64!", &TOKEN[..40]] {
            assert!(key().open(none).is_none(), "{none}");
        }
    }
}
