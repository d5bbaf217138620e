//! A disk that is full at every write: refused writes change nothing, and a granted token waits in memory until there is room.

use crate::support::{Rig, key};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use token_store::seal::Key;
use token_store::{Secret, Store, Tokens, TokensOptions};
use tokio::task::JoinSet;
use tokio::time::timeout;

const PAGE: u64 = 4096;

/// A small file system in memory; gone when dropped. Mounting takes root, as the whole test run does.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "postern-test"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(
            mounted.success(),
            "a file system could not be mounted; run the tests as root"
        );
        Self(folder)
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Leaves this many bytes free.
    fn fill_but(&self, free: u64) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        while file.write(&[1; PAGE as usize]).is_ok_and(|n| n > 0) {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(free)).unwrap();
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn whole(path: &Path) -> bool {
    let connection = rusqlite::Connection::open(path).unwrap();
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    verdict == "ok"
}

#[tokio::test]
async fn a_disk_that_is_full_at_any_write_loses_no_token_and_tears_nothing() {
    let rig = Rig::new().await;
    let disk = Disk::mount();
    let path = disk.0.path().join("accounts.db");
    let store = Store::open(&path, key()).unwrap();
    store.import(vec![rig.entry("t")], false).await.unwrap();
    let tokens = Tokens::new(store.clone(), TokensOptions::default()).unwrap();
    let planted = {
        let mut world = rig.endpoint.world();
        world.rotate = true;
        world.punish_reuse = true;
        world.plant()
    };
    tokens.seed("t", Secret::new(planted)).await.unwrap();
    let (mut refused, mut waited, mut keys) = (0, 0, 1_u8);
    for step in 0..24 {
        disk.fill_but(step * PAGE);
        // The grant arrives while nothing can be written, and is kept.
        let (mut flying, asker) = (JoinSet::new(), tokens.clone());
        flying.spawn(async move { asker.refresh("t").await });
        let early = timeout(Duration::from_millis(150), flying.join_next()).await;
        waited += u32::from(early.is_err());
        // Each of the other writes: done or refused, never half.
        let before = store.audited(1000).unwrap().len();
        let audited = store.audit("me", &"x".repeat(3000)).await;
        let now = store.audited(1000).unwrap().len();
        assert_eq!(now - before, usize::from(audited.is_ok()), "step {step}");
        let name = format!("new-{step}");
        let imported = store.import(vec![rig.entry(&name)], false).await;
        let there = store.token_config(&name).unwrap().is_some();
        assert_eq!(imported.is_ok(), there, "step {step}");
        let begun = tokens
            .begin(
                "t",
                "http://localhost/cb",
                "s",
                token_store::SignIn::Anybody,
            )
            .await;
        let rotated = store.rotate_key(Key::from_bytes([keys + 100; 32])).await;
        keys += u8::from(rotated.is_ok());
        refused += [
            audited.is_err(),
            imported.is_err(),
            begun.is_err(),
            rotated.is_err(),
        ]
        .into_iter()
        .map(u32::from)
        .sum::<u32>();
        disk.empty();
        if early.is_err() {
            let landed = timeout(Duration::from_secs(30), flying.join_next()).await;
            landed.unwrap().unwrap().unwrap().unwrap();
        }
        assert!(whole(&path), "step {step}");
        assert_eq!(rig.endpoint.world().living.len(), 1, "step {step}");
        tokens.refresh("t").await.unwrap();
        // Another process, with the key that was in place from the start.
        assert!(Store::open(&path, key()).is_ok(), "step {step}");
        tokens.access("t").await.unwrap();
    }
    assert!(
        refused > 8 && waited > 0,
        "{refused} refused, {waited} waited"
    );
    assert!(keys > 2, "{keys} keys");
}
