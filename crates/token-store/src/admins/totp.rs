//! The second factor: a code of an authenticator app that changes with the time (RFC 6238).

use super::invalid;
use crate::seal::{Place, random_bytes};
use crate::{Secret, Store, StoreError, now};
use aws_lc_rs::hmac;
use rusqlite::OptionalExtension;

/// RFC 6238 section 5.2: one code every 30 s.
const STEP: i64 = 30_000;
/// RFC 6238 section 5.2 allows a step of delay; one more the other way, for telephones whose clock is fast.
const DRIFT: i64 = 1;
/// What every authenticator shows.
const DIGITS: usize = 6;
/// RFC 4226 section 4: 160 bits.
const SECRET_LEN: usize = 20;
/// RFC 4648 section 6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A second factor that is being set up.
#[derive(Debug, Clone)]
pub struct Totp {
    /// What the authenticator is told, in Base32.
    pub secret: Secret,
    /// The same as an address for its camera.
    pub uri: Secret,
}

/// Why a second factor was not set up.
#[derive(Debug, thiserror::Error)]
pub enum TotpError {
    /// The code is not the authenticator's of this moment.
    #[error(
        "this is not the code that the authenticator shows now; see that the clocks of telephone and server are right"
    )]
    Wrong,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Totp {
    /// A new secret for an administrator.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(admin: &str) -> Result<Self, StoreError> {
        let bytes = random_bytes::<SECRET_LEN>();
        let bytes = bytes.map_err(|e| StoreError::sealed("a second factor", &e))?;
        let secret = base32(bytes.as_ref());
        Ok(Self::of(secret, admin))
    }

    /// The same secret again.
    #[must_use]
    pub fn of(secret: Secret, admin: &str) -> Self {
        let account: String = admin
            .bytes()
            .map(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                    char::from(byte).to_string()
                }
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let uri = format!(
            "otpauth://totp/Postern:{account}?secret={}&issuer=Postern",
            secret.expose()
        );
        Self {
            secret,
            uri: Secret::new(uri),
        }
    }
}

impl Store {
    /// Switches the second factor on, once the authenticator has shown a right code.
    ///
    /// # Errors
    /// [`TotpError::Wrong`]; then nothing has changed.
    pub async fn set_second_factor(
        &self,
        admin: &str,
        secret: Secret,
        code: &str,
    ) -> Result<(), TotpError> {
        let key = from_base32(secret.expose()).ok_or(TotpError::Wrong)?;
        let step = matching_step(&key, code, now()).ok_or(TotpError::Wrong)?;
        let admin = admin.to_owned();
        let set = self.write(move |rows| {
            let sealed = rows.seal(&place(&admin), &secret)?;
            let changed = rows.connection.execute(
                "UPDATE admin SET totp = ?2, totp_step = ?3 WHERE name = ?1",
                (&admin, sealed, step),
            )?;
            if changed == 0 {
                return Err(invalid("there is no administrator of this name"));
            }
            Ok(())
        });
        Ok(set.await?)
    }

    /// Switches it off.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_second_factor(&self, admin: &str) -> Result<(), StoreError> {
        let admin = admin.to_owned();
        self.write(move |rows| {
            rows.connection.execute(
                "UPDATE admin SET totp = NULL, totp_step = NULL WHERE name = ?1",
                [admin],
            )?;
            Ok(())
        })
        .await
    }

    /// Whether a code is right, or none is asked for. A code counts once: whoever has read it over a shoulder comes too late.
    pub(super) async fn second_factor(&self, admin: &str, code: &str) -> Result<bool, StoreError> {
        let (admin, code) = (admin.to_owned(), code.to_owned());
        let now = now();
        let stored = self.read(|rows| {
            let found = rows.connection.query_row(
                "SELECT totp FROM admin WHERE name = ?1",
                [&admin],
                |row| row.get::<_, Option<Vec<u8>>>(0),
            );
            let sealed = found.optional()?.flatten();
            sealed
                .map(|sealed| rows.unseal(&place(&admin), &sealed))
                .transpose()
        })?;
        let Some(secret) = stored else {
            return Ok(true);
        };
        let key = from_base32(secret.expose()).unwrap_or_default();
        let Some(step) = matching_step(&key, &code, now) else {
            return Ok(false);
        };
        self.write(move |rows| {
            let used = rows.connection.execute(
                "UPDATE admin SET totp_step = ?2 WHERE name = ?1 AND totp_step < ?2",
                (admin, step),
            )?;
            Ok(used == 1)
        })
        .await
    }
}

fn place(admin: &str) -> Place<'_> {
    Place {
        table: "admin",
        row: admin,
        column: "totp",
    }
}

/// The step whose code this is, of those that may be meant at a moment (milliseconds since 1970).
fn matching_step(key: &[u8], code: &str, now: i64) -> Option<i64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let step = now.div_euclid(STEP);
    (step - DRIFT..=step + DRIFT)
        .find(|step| constant_time_eq(&code_of(key, *step), code.as_bytes()))
}

fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// RFC 4226 section 5.3.
fn code_of(key: &[u8], step: i64) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last().copied().unwrap_or_default() & 0xf);
    let part = tag.get(offset..offset + 4).unwrap_or(&[0; 4]);
    let number = part.iter().fold(0_u32, |n, byte| n << 8 | u32::from(*byte)) & 0x7fff_ffff;
    format!("{:0DIGITS$}", number % 1_000_000).into_bytes()
}

fn base32(bytes: &[u8]) -> Secret {
    let mut text = String::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            let index = (bits >> held) & 31;
            text.push(char::from(BASE32[index as usize]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        let index = (bits << (5 - held)) & 31;
        text.push(char::from(BASE32[index as usize]));
    }
    Secret::new(text)
}

fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for letter in text.bytes() {
        let value = BASE32.iter().position(|known| *known == letter)?;
        bits = bits << 5 | u32::try_from(value).ok()?;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, the SHA-1 column, its last six digits.
    #[test]
    fn the_codes_are_those_of_the_rfc() {
        let key = b"12345678901234567890";
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            let step = seconds / 30;
            assert_eq!(code_of(key, step), code.as_bytes(), "{seconds}");
            let now = seconds * 1000;
            let spaced = format!(" {} {}", &code[..3], &code[3..]);
            assert_eq!(matching_step(key, &spaced, now), Some(step));
            assert_eq!(matching_step(key, code, now + STEP), Some(step), "late");
            assert_eq!(matching_step(key, code, now + 2 * STEP), None, "too late");
        }
        assert_eq!(matching_step(key, "", 59_000), None);
        assert_eq!(matching_step(key, "28708", 59_000), None);
    }

    #[test]
    fn base32_is_that_of_the_rfc_and_comes_back() {
        for (bytes, text) in [
            (&b"foobar"[..], "MZXW6YTBOI"),
            (b"foob", "MZXW6YQ"),
            (b"f", "MY"),
        ] {
            assert_eq!(base32(bytes).expose(), text);
            assert_eq!(from_base32(text).unwrap(), bytes);
        }
        assert_eq!(from_base32("0"), None);
        assert_eq!(from_base32(""), None);
    }
}
