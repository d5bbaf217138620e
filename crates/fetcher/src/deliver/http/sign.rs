//! Signs a message for its endpoint: HMAC-SHA256 over the timestamp, a dot, and the body.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use aws_lc_rs::hmac;
use spool::Stored;
use token_store::Secret;
use tokio::task::spawn_blocking;

/// Read at once while a large message is signed.
const PIECE: usize = 256 * 1024;

/// A mailbox's secret, ready for signing. What it prints shows nothing of it.
#[derive(Clone)]
pub(super) struct Key(hmac::Key);

impl Key {
    pub(super) fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(
            hmac::HMAC_SHA256,
            secret.expose().as_bytes(),
        ))
    }

    /// The signature in hexadecimal, and the message at its beginning again.
    pub(super) async fn sign(
        &self,
        timestamp: &str,
        stored: Stored,
    ) -> io::Result<(String, Stored)> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(timestamp.as_bytes());
        context.update(b".");
        let file = match stored {
            Stored::Inline(bytes) => {
                context.update(&bytes);
                let signature = crate::hex(context.sign().as_ref());
                return Ok((signature, Stored::Inline(bytes)));
            }
            Stored::File(file) => file,
        };
        let signing = spawn_blocking(move || {
            read_all(&file, &mut context)?;
            Ok((crate::hex(context.sign().as_ref()), Stored::File(file)))
        });
        signing.await.map_err(io::Error::other)?
    }
}

/// At offsets: the file stays at its beginning.
fn read_all(file: &File, context: &mut hmac::Context) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    loop {
        match file.read_at(&mut piece, at)? {
            0 => return Ok(()),
            count => {
                context.update(&piece[..count]);
                at += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signature_is_the_same_from_memory_and_from_a_file_and_as_others_make_it() {
        let key = Key::new(&Secret::new("It's a secret"));
        let body = b"Subject: x\r\n\r\nhello\r\n".to_vec();
        let (inline, _) = key
            .sign("1760000000", Stored::Inline(body.clone()))
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("body");
        std::fs::write(&path, &body).unwrap();
        let file = Stored::File(File::open(&path).unwrap());
        let (from_file, stored) = key.sign("1760000000", file).await.unwrap();
        assert_eq!(from_file, inline);
        let Stored::File(mut file) = stored else {
            panic!()
        };
        let mut again = Vec::new();
        io::Read::read_to_end(&mut file, &mut again).unwrap();
        assert_eq!(again, body, "the file is at its beginning");
        // Made with another program: printf '1760000000.Subject: x\r\n\r\nhello\r\n' | openssl dgst -sha256 -hmac "It's a secret"
        assert_eq!(
            inline,
            "e0bf92ab6fee212d4cbffca7f92f7f2bd1a47b59ad32a80a300ed60e74c99819"
        );
    }
}
