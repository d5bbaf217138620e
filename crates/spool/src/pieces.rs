//! A stored body read piece by piece: a slice where the spool had it in memory, else a file.

use std::io;

use tokio::io::AsyncReadExt;

use crate::Stored;

/// One piece; four TLS records.
const PIECE: usize = 64 * 1024;

/// A stored body, and how far it was read.
pub struct Pieces(Source);

enum Source {
    Inline {
        bytes: Vec<u8>,
        read: usize,
    },
    File {
        file: tokio::fs::File,
        piece: Vec<u8>,
    },
}

impl Pieces {
    /// From the beginning.
    pub fn of(stored: Stored) -> Self {
        Self(match stored {
            Stored::Inline(bytes) => Source::Inline { bytes, read: 0 },
            Stored::File(file) => Source::File {
                file: tokio::fs::File::from_std(file),
                piece: vec![0; PIECE],
            },
        })
    }

    /// The next piece; empty at the end.
    pub async fn next(&mut self) -> io::Result<&[u8]> {
        match &mut self.0 {
            Source::Inline { bytes, read } => {
                let from = *read;
                *read = bytes.len().min(from + PIECE);
                Ok(&bytes[from..*read])
            }
            Source::File { file, piece } => {
                let count = file.read(piece).await?;
                Ok(&piece[..count])
            }
        }
    }
}
