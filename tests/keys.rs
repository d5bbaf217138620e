//! The sealing key: rotated beside the daemon and without it, killed at any moment, refused without a trace when it is wrong.

use crate::harness::postern::{BINARY, Setup};
use crate::harness::rig::Rig;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn setup(rig: &Rig, key: &str) -> Setup {
    let setup = Setup::new(rig, "");
    write(&setup, rig, key);
    setup.ok(&["token", "seed", "t"], &rig.provider.consent("t"));
    setup
}

fn write(setup: &Setup, rig: &Rig, key: &str) {
    setup.write(&format!(
        "{key}token_configs:\n{}",
        rig.token_config_yaml("t")
    ));
}

/// Every file of a folder, by name.
fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap().flatten();
    files
        .map(|file| file.path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_key_is_rotated_beside_a_daemon_that_goes_on_with_the_new_one() {
    let rig = Rig::new(Duration::from_secs(3600));
    let setup = setup(&rig, "");
    let key = setup.state_dir().join("postern.key");
    let former = std::fs::read(&key).unwrap();
    let daemon = setup.start();
    let token = setup.ok(&["token", "access", "t"], "");
    let told = setup.ok(&["key", "rotate"], "");
    assert!(told.contains("postern.key"), "{told}");
    assert_eq!(setup.ok(&["token", "access", "t"], ""), token);
    setup.ok(&["token", "refresh", "t"], "");
    setup.ok(&["key", "rotate"], "");
    assert_ne!(std::fs::read(&key).unwrap(), former);
    let fresh = setup.ok(&["token", "access", "t"], "");
    assert!(daemon.stop().success());
    let daemon = setup.start();
    assert_eq!(setup.ok(&["token", "access", "t"], ""), fresh);
    assert!(daemon.stop().success());
}

#[test]
fn a_wrong_or_missing_key_ends_the_start_and_changes_not_one_byte() {
    let rig = Rig::new(Duration::from_secs(3600));
    let setup = setup(&rig, "");
    let state = setup.state_dir();
    let key = state.join("postern.key");
    let right = std::fs::read(&key).unwrap();
    // Once after an orderly end, and once after a kill that left the write-ahead log behind.
    for killed in [false, true] {
        let daemon = setup.start();
        setup.ok(&["token", "refresh", "t"], "");
        if killed {
            daemon.kill9();
        } else {
            assert!(daemon.stop().success());
        }
        let log = std::fs::metadata(state.join("accounts.db-wal"));
        assert_eq!(log.is_ok_and(|meta| meta.len() > 0), killed);
        for (wrong, words) in [
            (Some("A".repeat(43)), "sealed with another key"),
            (Some("short".to_owned()), "holds no key"),
            (None, "is missing"),
        ] {
            match &wrong {
                Some(text) => std::fs::write(&key, text).unwrap(),
                None => std::fs::remove_file(&key).unwrap(),
            }
            let before = bytes(&state);
            for command in [
                &["run"][..],
                &["token", "list"],
                &["check"],
                &["key", "rotate"],
            ] {
                let output = setup.run(command, "");
                assert_eq!(
                    output.status.code(),
                    Some(78),
                    "{command:?}: {}",
                    said(&output)
                );
                assert!(
                    said(&output).contains(words),
                    "{command:?}: {}",
                    said(&output)
                );
                assert!(bytes(&state) == before, "{command:?} changed a file");
            }
            std::fs::write(&key, &right).unwrap();
            std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        }
    }
    let daemon = setup.start();
    setup.ok(&["token", "access", "t"], "");
    assert!(daemon.stop().success());
}

#[test]
fn killed_at_any_moment_of_a_rotation_every_secret_still_opens() {
    let rig = Rig::new(Duration::from_secs(3600));
    let setup = setup(&rig, "");
    let begun = Instant::now();
    setup.ok(&["key", "rotate"], "");
    let whole = begun.elapsed();
    let secrets = setup.ok(&["token", "export"], "");
    assert!(secrets.contains(&rig.provider.client().1));
    let mut interrupted = 0;
    for moment in 0..24_u32 {
        let mut command = Command::new(BINARY)
            .args(["key", "rotate", "--config"])
            .arg(&setup.config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The work is at the end of the command's life.
        std::thread::sleep(whole * (12 + moment) / 30);
        command.kill().unwrap();
        interrupted += u32::from(!command.wait().unwrap().success());
        assert_eq!(
            setup.ok(&["token", "export"], ""),
            secrets,
            "moment {moment}"
        );
        assert!(!setup.state_dir().join("postern.key.new").exists());
    }
    assert!(interrupted > 3, "{interrupted} of 24 were killed in time");
    setup.ok(&["token", "refresh", "t"], "");
}

#[test]
fn a_key_that_is_a_credential_is_replaced_by_the_administrator_and_works_until_then() {
    let rig = Rig::new(Duration::from_secs(3600));
    let credentials = rig.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let credential = credentials.join("postern.key");
    std::fs::write(&credential, "A".repeat(43)).unwrap();
    let setup = Setup::new(&rig, "");
    write(&setup, &rig, "key: {credential: postern.key}\n");
    let postern = |args: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(args).arg("--config").arg(&setup.config);
        command
            .env("CREDENTIALS_DIRECTORY", &credentials)
            .output()
            .unwrap()
    };
    let refused = postern(&["key", "rotate"]);
    assert_eq!(refused.status.code(), Some(64), "{}", said(&refused));
    assert!(
        said(&refused).contains("--new-key-file"),
        "{}",
        said(&refused)
    );

    let file = rig.path().join("new.key");
    let rotated = postern(&["key", "rotate", "--new-key-file", file.to_str().unwrap()]);
    assert!(rotated.status.success(), "{}", said(&rotated));
    assert!(
        said(&rotated).contains("/etc/credstore/postern.key"),
        "{}",
        said(&rotated)
    );
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Until the credential is replaced, the former one opens everything.
    let listed = postern(&["token", "export"]);
    assert!(
        said(&listed).contains(&rig.provider.client().1),
        "{}",
        said(&listed)
    );
    let former = std::fs::read(&credential).unwrap();
    std::fs::copy(&file, &credential).unwrap();
    let listed = postern(&["token", "export"]);
    assert!(
        said(&listed).contains(&rig.provider.client().1),
        "{}",
        said(&listed)
    );
    // From then on it opens nothing.
    std::fs::write(&credential, former).unwrap();
    let refused = postern(&["token", "list"]);
    assert_eq!(refused.status.code(), Some(78), "{}", said(&refused));
}
