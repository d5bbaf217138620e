//! Postern beside its peers: the same mailboxes, the same run, in turn; prints medians and ratios.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a step that fails ends the measurement, and the table is what it is for"
)]

#[path = "../harness/mod.rs"]
#[allow(dead_code)]
mod harness;

use harness::dovecot::Dovecot;
use harness::eventually;
use harness::postern::Setup;
use harness::rig::Rig;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const MESSAGES: usize = 2000;
const SIZE: usize = 4096;

/// A ticket command that costs next to nothing, so that what is measured is the gateway.
const SINK: &str = "#include <unistd.h>\nint main(void) { static char b[65536]; while (read(0, b, sizeof b) > 0) {} return 0; }\n";

fn main() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    let sink = build_sink(rig.path());
    let message = message();
    let setup = postern_setup(&rig, &dovecot, &sink);
    let fetchmail = fetchmail_setup(&rig, &dovecot, &sink);

    let (mut ours, mut theirs, mut bare, mut peaks) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        fill(&dovecot, &message);
        let (time, peak) = run_postern(&setup, &dovecot);
        fill(&dovecot, &message);
        let peer = run_fetchmail(&fetchmail, &dovecot);
        let starts = start_programs(&sink, &message);
        // The first round warms caches and is not counted.
        if round > 0 {
            ours.push(time);
            theirs.push(peer);
            bare.push(starts);
            peaks.push(peak);
        }
    }
    let (ours, theirs, bare) = (median(ours), median(theirs), median(bare));
    peaks.sort_unstable();
    println!(
        "IMAP over TLS to a command, {MESSAGES} messages of {SIZE} bytes, medians of {ROUNDS} rounds in turn:"
    );
    println!("| what | seconds | Postern / it |");
    println!("| --- | --- | --- |");
    for (what, time) in [
        (
            "Postern (XOAUTH2, spool, state on disk for every message)",
            ours,
        ),
        ("fetchmail (password)", theirs),
        ("starting the command and nothing else", bare),
    ] {
        println!(
            "| {what} | {:.2} | {:.2} |",
            time.as_secs_f64(),
            ours.as_secs_f64() / time.as_secs_f64()
        );
    }
    println!(
        "Postern's peak memory: {:.1} MB",
        peaks[peaks.len() / 2] as f64 / 1024.0
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn message() -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut message = b"Subject: measured\nFrom: customer@example.org\n\n".to_vec();
    while message.len() < SIZE {
        message.extend((0..70).map(|_| rng.u8(b'a'..=b'z')));
        message.push(b'\n');
    }
    message
}

fn build_sink(dir: &Path) -> PathBuf {
    let source = dir.join("sink.c");
    let program = dir.join("sink");
    std::fs::write(&source, SINK).unwrap();
    let status = Command::new("cc")
        .args(["-O2", "-static", "-o"])
        .arg(&program)
        .arg(&source)
        .status()
        .unwrap();
    assert!(status.success(), "cc: {status}");
    program
}

fn fill(dovecot: &Dovecot, message: &[u8]) {
    (0..MESSAGES).for_each(|_| dovecot.put("desk", message));
    assert_eq!(dovecot.count("desk", None), MESSAGES);
}

fn postern_setup(rig: &Rig, dovecot: &Dovecot, sink: &Path) -> Setup {
    let accounts = format!(
        "token_configs:\n{}mailboxes:\n  - name: desk\n    protocol: imap\n    host: localhost\n    port: {}\n    tls: implicit\n    tls_ca_file: {}\n    \
         user: desk\n    auth: {{token: desk}}\n    deliver: {{command: ['{}']}}\n    after: delete\n",
        rig.token_config_yaml("desk"),
        dovecot.imaps,
        rig.ca().display(),
        sink.display()
    );
    let setup = Setup::new(rig, &accounts);
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    setup
}

/// From the start of the daemon to the empty mailbox.
fn run_postern(setup: &Setup, dovecot: &Dovecot) -> (Duration, u64) {
    let start = Instant::now();
    let daemon = setup.start();
    eventually(
        "Postern empties the mailbox",
        Duration::from_secs(60),
        || dovecot.count("desk", None) == 0,
    );
    let time = start.elapsed();
    let peak = daemon.peak_kib();
    assert!(daemon.stop().success());
    (time, peak)
}

fn fetchmail_setup(rig: &Rig, dovecot: &Dovecot, sink: &Path) -> PathBuf {
    let file = rig.path().join("fetchmailrc");
    let text = format!(
        "poll localhost protocol imap service {} auth password\n  user \"desk\" password \"pass\" ssl sslcertck sslcertfile \"{}\" fetchall no rewrite mda \"{}\"\n",
        dovecot.imaps,
        rig.ca().display(),
        sink.display()
    );
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn run_fetchmail(file: &Path, dovecot: &Dovecot) -> Duration {
    let start = Instant::now();
    let output = Command::new("fetchmail")
        .args(["--silent", "--nosyslog", "-f"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let time = start.elapsed();
    assert!(
        output.status.success(),
        "fetchmail: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(dovecot.count("desk", None), 0, "fetchmail left mail behind");
    time
}

fn start_programs(sink: &Path, message: &[u8]) -> Duration {
    let start = Instant::now();
    for _ in 0..MESSAGES {
        let mut child = Command::new(sink).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(message).unwrap();
        assert!(child.wait().unwrap().success());
    }
    start.elapsed()
}
