//! A parcel sealed with a passphrase, for the way from one installation to another.
//!
//! The envelope is YAML with the one key `PosternSealed`: how the key is derived from the passphrase (Argon2id), and the
//! parcel, sealed with XChaCha20-Poly1305. Everything in the envelope is authenticated, so nothing of it can be changed.

use super::{Carried, Parcel};
use crate::{Secret, TokenId};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use zeroize::Zeroizing;

/// The envelope's only key.
const KEY: &str = "PosternSealed";
/// The one version written so far.
const VERSION: u32 = 1;
const DERIVATION: &str = "argon2id";
const CIPHER: &str = "xchacha20poly1305";
/// RFC 9106 section 4, the second recommended option: 64 MiB, 3 passes, 4 lanes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// An envelope may ask for no more than this, or a forged one could take all memory.
const MEMORY_CAP_KIB: u32 = 1024 * 1024;
const PASSES_CAP: u32 = 16;
const LANES_CAP: u32 = 16;
/// RFC 9106 section 3.1 recommends 16 bytes.
const SALT_LEN: usize = 16;
const NONCE_LEN: usize = 24;
/// As mail breaks base64 (RFC 2045).
const LINE: usize = 76;
/// The file travels, so guesses at it are only limited by what Argon2 costs.
const PASSPHRASE_LEN: usize = 12;
const PASSPHRASE_DIFFERENT: usize = 5;

/// Why a parcel was not sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// The passphrase is none.
    #[error(
        "the passphrase must have at least {PASSPHRASE_LEN} characters, {PASSPHRASE_DIFFERENT} of them different"
    )]
    Weak,
    /// It doesn't open.
    #[error("the passphrase is wrong, or the document was changed after it was sealed")]
    Wrong,
    /// It is none of ours, or of a later version.
    #[error("the sealed document can't be read: {0}")]
    Unreadable(String),
    /// The key couldn't be derived.
    #[error("the key can't be derived from the passphrase: {0}")]
    Derivation(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    #[serde(rename = "PosternSealed")]
    sealed: Sealed,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sealed {
    version: u32,
    derivation: String,
    memory: u32,
    passes: u32,
    lanes: u32,
    cipher: String,
    salt: String,
    nonce: String,
    data: String,
}

/// What is inside, as JSON.
#[derive(Serialize, Deserialize)]
struct Inside {
    /// The exchange document.
    token_configs: String,
    tokens: Vec<InsideToken>,
}

#[derive(Serialize, Deserialize)]
struct InsideToken {
    token_config: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    subject: String,
    refresh_token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    obtained_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
}

/// Whether a text is such an envelope, by its first line that says anything.
#[must_use]
pub fn is_sealed(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#') && *line != "---");
    first.is_some_and(|line| {
        line.strip_prefix(KEY)
            .is_some_and(|rest| rest.starts_with(':'))
    })
}

/// Seals a parcel.
///
/// # Errors
/// When the passphrase is weak, or the system gives no random bytes.
pub fn seal(parcel: &Parcel, passphrase: &Secret) -> Result<String, SealedError> {
    if is_weak(passphrase.expose()) {
        return Err(SealedError::Weak);
    }
    let mut salt = [0; SALT_LEN];
    let mut nonce = [0; NONCE_LEN];
    for bytes in [&mut salt[..], &mut nonce[..]] {
        getrandom::fill(bytes).map_err(|e| SealedError::Derivation(e.to_string()))?;
    }
    let mut sealed = Sealed {
        version: VERSION,
        derivation: DERIVATION.to_owned(),
        memory: MEMORY_KIB,
        passes: PASSES,
        lanes: LANES,
        cipher: CIPHER.to_owned(),
        salt: STANDARD.encode(salt),
        nonce: STANDARD.encode(nonce),
        data: String::new(),
    };
    let key = derive(&sealed, &salt, passphrase)?;
    let inside = inside(parcel)?;
    let header = header(&sealed);
    let payload = Payload {
        msg: inside.as_bytes(),
        aad: header.as_bytes(),
    };
    let data = XChaCha20Poly1305::new(&key)
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| SealedError::Derivation("the parcel is too large".to_owned()))?;
    sealed.data = STANDARD.encode(data);
    Ok(write(&sealed))
}

/// Opens a sealed parcel.
///
/// # Errors
/// A wrong passphrase, and a document that is none or was changed.
pub fn open(text: &str, passphrase: &Secret) -> Result<Parcel, SealedError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let Envelope { sealed } = serde_saphyr::from_str_with_options(text, options)
        .map_err(|e| SealedError::Unreadable(format!("{e}")))?;
    if sealed.version != VERSION || sealed.derivation != DERIVATION || sealed.cipher != CIPHER {
        return Err(SealedError::Unreadable(
            "it was sealed by a later version; import it with that one".to_owned(),
        ));
    }
    let within =
        sealed.memory <= MEMORY_CAP_KIB && sealed.passes <= PASSES_CAP && sealed.lanes <= LANES_CAP;
    if !within {
        return Err(SealedError::Unreadable(
            "it asks for more memory or time than any document of ours".to_owned(),
        ));
    }
    let salt = bytes("Salt", &sealed.salt)?;
    let nonce: [u8; NONCE_LEN] = bytes("Nonce", &sealed.nonce)?
        .try_into()
        .map_err(|_| SealedError::Unreadable(format!("Nonce has not {NONCE_LEN} bytes")))?;
    let data = bytes("Data", &sealed.data)?;
    let key = derive(&sealed, &salt, passphrase)?;
    let header = header(&sealed);
    let payload = Payload {
        msg: &data,
        aad: header.as_bytes(),
    };
    let opened = XChaCha20Poly1305::new(&key)
        .decrypt(&XNonce::from(nonce), payload)
        .map_err(|_| SealedError::Wrong)?;
    parcel(&Zeroizing::new(opened))
}

fn is_weak(passphrase: &str) -> bool {
    let different: std::collections::BTreeSet<char> = passphrase.chars().collect();
    passphrase.chars().count() < PASSPHRASE_LEN || different.len() < PASSPHRASE_DIFFERENT
}

fn derive(sealed: &Sealed, salt: &[u8], passphrase: &Secret) -> Result<Key, SealedError> {
    let failed = |e: argon2::Error| SealedError::Derivation(e.to_string());
    let params = Params::new(sealed.memory, sealed.passes, sealed.lanes, Some(32));
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(failed)?);
    let mut key = Zeroizing::new([0; 32]);
    argon
        .hash_password_into(passphrase.expose().as_bytes(), salt, &mut *key)
        .map_err(failed)?;
    Ok(Key::from(*key))
}

/// What is authenticated beside the data.
fn header(sealed: &Sealed) -> String {
    let Sealed {
        version,
        derivation,
        memory,
        passes,
        lanes,
        cipher,
        salt,
        nonce,
        ..
    } = sealed;
    format!("{KEY} {version} {derivation} {memory} {passes} {lanes} {cipher} {salt} {nonce}")
}

fn write(sealed: &Sealed) -> String {
    let mut text =
        String::from("# Token configs and tokens of Postern, sealed with a passphrase.\n");
    let Sealed {
        version,
        derivation,
        memory,
        passes,
        lanes,
        cipher,
        salt,
        nonce,
        data,
    } = sealed;
    let _ = write!(
        text,
        "{KEY}:\n  Version: {version}\n  Derivation: {derivation}\n  Memory: {memory}\n  Passes: {passes}\n  Lanes: {lanes}\n  \
         Cipher: {cipher}\n  Salt: \"{salt}\"\n  Nonce: \"{nonce}\"\n  Data: |\n"
    );
    let mut rest = data.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(LINE.min(rest.len()));
        let _ = writeln!(text, "    {line}");
        rest = after;
    }
    text
}

fn bytes(key: &str, text: &str) -> Result<Vec<u8>, SealedError> {
    let joined: String = text.split_whitespace().collect();
    STANDARD
        .decode(joined)
        .map_err(|_| SealedError::Unreadable(format!("{key} is not base64")))
}

fn inside(parcel: &Parcel) -> Result<Zeroizing<String>, SealedError> {
    let token = |carried: &Carried| InsideToken {
        token_config: carried.id.config.clone(),
        subject: carried.id.subject.clone(),
        refresh_token: carried.refresh_token.expose().to_owned(),
        obtained_at: carried.obtained_at,
        expires_at: carried.expires_at,
        identity: carried.identity.clone(),
    };
    let inside = Inside {
        token_configs: provider_template::write(&parcel.entries, true),
        tokens: parcel.tokens.iter().map(token).collect(),
    };
    serde_json::to_string(&inside)
        .map(Zeroizing::new)
        .map_err(|e| SealedError::Unreadable(e.to_string()))
}

fn parcel(opened: &[u8]) -> Result<Parcel, SealedError> {
    // No words of the parser: they may quote what is inside.
    let damaged = |what: &str| SealedError::Unreadable(format!("{what} inside is of another kind"));
    let inside: Inside = serde_json::from_slice(opened).map_err(|_| damaged("what is"))?;
    let entries = provider_template::read(&inside.token_configs)
        .map_err(|problem| SealedError::Unreadable(problem.to_string()))?;
    let token = |token: InsideToken| Carried {
        id: TokenId::for_subject(&token.token_config, &token.subject),
        refresh_token: Secret::new(token.refresh_token),
        obtained_at: token.obtained_at,
        expires_at: token.expires_at,
        identity: token.identity,
    };
    Ok(Parcel {
        entries,
        tokens: inside.tokens.into_iter().map(token).collect(),
    })
}

#[cfg(test)]
mod tests;
