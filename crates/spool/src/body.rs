//! Bodies: small ones in memory, large ones streamed to a file under `spool/`, one chunk at a time.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::{Result, SpoolError};

/// A body up to this size is a row beside its message; a larger one is a file, written in chunks of
/// this size. On ext4 rows win below it by their shared fsync, files above it; and a chunk
/// this large makes the hop to a blocking thread cheap beside the writing.
pub(crate) const CHUNK: usize = 256 * 1024;

/// A body being written: memory up to 256 KiB, then a file. Dropped unfinished, it leaves nothing.
pub struct BodyWriter {
    folder: Arc<Path>,
    buffer: Vec<u8>,
    sink: Option<Sink>,
    len: u64,
    /// Set while a chunk is on its way to the disk: a cancelled write leaves it set, and what came
    /// before is lost then.
    flushing: bool,
}

/// Where a large body goes.
struct Sink {
    file: File,
    place: SpoolFile,
    hasher: Sha256,
}

/// A finished body, not yet in the spool. Dropped untaken, its file goes.
pub struct Body {
    /// Bytes.
    pub len: u64,
    /// Of all of them.
    pub sha256: [u8; 32],
    pub(crate) content: Content,
}

/// Where a finished body is.
pub(crate) enum Content {
    Inline(Vec<u8>),
    File {
        place: SpoolFile,
        /// File and folder are fsynced.
        durable: bool,
    },
}

/// A stored body: small ones in memory, large ones as an open file at offset 0.
pub enum Stored {
    /// All of it.
    Inline(Vec<u8>),
    /// To be read to its end.
    File(File),
}

impl BodyWriter {
    pub(crate) fn new(folder: Arc<Path>) -> Self {
        Self {
            folder,
            buffer: Vec::new(),
            sink: None,
            len: 0,
            flushing: false,
        }
    }

    /// Appends `bytes`. Waits for the disk when a chunk is full.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.not_cancelled()?;
        while !bytes.is_empty() {
            if self.buffer.len() == CHUNK {
                self.flush().await?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.buffer.len()));
            self.append(now);
            bytes = later;
        }
        Ok(())
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole body. `durable`: file and folder fsynced (always for outbound).
    pub async fn finish(mut self, durable: bool) -> Result<Body> {
        self.not_cancelled()?;
        let len = self.len;
        let buffer = std::mem::take(&mut self.buffer);
        let Some(mut sink) = self.sink.take() else {
            return Ok(Body {
                len,
                sha256: Sha256::digest(&buffer).into(),
                content: Content::Inline(buffer),
            });
        };
        blocking(move || {
            sink.write(&buffer)?;
            if durable {
                sink.place.sync(&sink.file)?;
            }
            Ok(Body {
                len,
                sha256: sink.hasher.finalize().into(),
                content: Content::File {
                    place: sink.place,
                    durable,
                },
            })
        })
        .await
    }

    /// Grows like a `Vec`, but never beyond one chunk.
    fn append(&mut self, bytes: &[u8]) {
        let needed = self.buffer.len() + bytes.len();
        if needed > self.buffer.capacity() {
            let wanted = needed.max(2 * self.buffer.capacity()).min(CHUNK);
            self.buffer.reserve_exact(wanted - self.buffer.len());
        }
        self.buffer.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
    }

    /// Moves the full chunk to the file, which is created for the first one.
    async fn flush(&mut self) -> Result<()> {
        self.flushing = true;
        let folder = Arc::clone(&self.folder);
        let buffer = std::mem::take(&mut self.buffer);
        let sink = self.sink.take();
        let (sink, mut buffer) = blocking(move || {
            let mut sink = match sink {
                Some(sink) => sink,
                None => Sink::create(&folder)?,
            };
            sink.write(&buffer)?;
            Ok((sink, buffer))
        })
        .await?;
        buffer.clear();
        self.buffer = buffer;
        self.sink = Some(sink);
        self.flushing = false;
        Ok(())
    }

    fn not_cancelled(&self) -> Result<()> {
        if self.flushing {
            return Err(SpoolError::Misused(
                "a body goes on after one of its writes failed or was cancelled",
            ));
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.buffer.capacity()
    }
}

impl Sink {
    fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(new_body_name());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| SpoolError::io("creating", &path, e))?;
        Ok(Self {
            file,
            place: SpoolFile { path, kept: false },
            hasher: Sha256::new(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.file
            .write_all(bytes)
            .map_err(|e| SpoolError::io("writing", &self.place.path, e))
    }
}

fn new_body_name() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Whether a file under `spool/` is one of ours, and not something a person put there.
pub(crate) fn is_body_name(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A file under `spool/` that no row names yet; removed when dropped, unless kept.
pub(crate) struct SpoolFile {
    path: PathBuf,
    kept: bool,
}

impl SpoolFile {
    /// The name by which a row knows it.
    pub(crate) fn name(&self) -> String {
        self.path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    fn sync(&self, file: &File) -> Result<()> {
        file.sync_all()
            .map_err(|e| SpoolError::io("syncing", &self.path, e))?;
        sync_folder(self.path.parent().unwrap_or(&self.path))
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is an orphan, and swept at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Body {
    /// A committed row names it now: its file stays.
    pub(crate) fn keep(&mut self) {
        if let Content::File { place, .. } = &mut self.content {
            place.kept = true;
        }
    }

    /// Whether it survives a power cut once a committed row names it.
    pub(crate) fn durable(&self) -> bool {
        match &self.content {
            Content::Inline(_) => true,
            Content::File { durable, .. } => *durable,
        }
    }
}

/// Makes a file that a row names survive a power cut.
pub(crate) async fn make_durable(folder: Arc<Path>, name: String) -> Result<()> {
    blocking(move || {
        let path = folder.join(name);
        File::open(&path)
            .and_then(|file| file.sync_all())
            .map_err(|e| SpoolError::io("syncing", &path, e))?;
        sync_folder(&folder)
    })
    .await
}

/// Makes a folder's entries survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| SpoolError::io("syncing", folder, e))
}

/// Runs file work where it may block. A panic there is a bug and goes on here; a runtime that
/// shuts down ends the spool's work like a closed spool.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(SpoolError::Closed),
    }
}
