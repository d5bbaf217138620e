//! A stored message's text, read piece by piece: a slice where the spool had it in memory, else a file.
use spool::Stored;
use std::io;
use tokio::io::AsyncReadExt;

/// One piece; four TLS records.
const PIECE: usize = 64 * 1024;

/// The text and how far it was read.
pub(crate) enum Text {
    Inline {
        bytes: Vec<u8>,
        read: usize,
    },
    File {
        file: tokio::fs::File,
        piece: Vec<u8>,
    },
}

impl Text {
    pub(crate) fn of(stored: Stored) -> Self {
        match stored {
            Stored::Inline(bytes) => Self::Inline { bytes, read: 0 },
            Stored::File(file) => Self::File {
                file: tokio::fs::File::from_std(file),
                piece: vec![0; PIECE],
            },
        }
    }

    /// The next piece; empty at the end.
    pub(crate) async fn next(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Inline { bytes, read } => {
                let from = *read;
                *read = bytes.len().min(from + PIECE);
                Ok(&bytes[from..*read])
            }
            Self::File { file, piece } => {
                let count = file.read(piece).await?;
                Ok(&piece[..count])
            }
        }
    }
}
