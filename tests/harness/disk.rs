//! A small file system of a test's own, which can be filled to its last page.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const PAGE: usize = 4096;

/// A file system in memory; gone when dropped. Mounting takes root, as the whole test run does.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// `size` as mount understands it: `4m`.
    pub(crate) fn mount(folder: &Path, size: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "postern-test"])
            .arg(folder)
            .status()
            .unwrap();
        assert!(
            mounted.success(),
            "a file system could not be mounted; run the tests as root"
        );
        Self(folder.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves this many bytes free.
    pub(crate) fn fill_but(&self, free: u64) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        while file.write(&[1; PAGE]).is_ok_and(|n| n > 0) {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(free)).unwrap();
    }

    /// Makes room.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
