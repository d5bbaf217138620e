//! Real commands: what they get, what is kept of them, and how they are stopped.

use std::io::Read as _;
use std::time::Instant;

use token_store::accounts::Preset;

use super::*;

fn plain(command: Vec<String>) -> TicketCommand {
    TicketCommand {
        command,
        preset: Preset::Command,
        directory: None,
    }
}

fn shell(script: &str) -> TicketCommand {
    plain(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
}

/// What people are shown of it.
fn shown(ended: &Ended) -> Option<String> {
    output(&ended.stdout, &ended.stderr)
}

fn message(bytes: &[u8]) -> File {
    stdin(Stored::Inline(bytes.to_vec())).unwrap()
}

async fn of(script: &str, bytes: &[u8]) -> Ended {
    run(
        &shell(script),
        environment(),
        message(bytes),
        Duration::from_secs(20),
    )
    .await
}

#[tokio::test]
async fn the_exact_bytes_are_on_standard_input_of_a_file_that_cannot_change() {
    let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let finished = of(&format!("cat > {}; echo x >&0", copy.display()), &bytes).await;
    assert!(
        matches!(finished.ending, Ending::Exit(n) if n != 0),
        "writing to the message fails: {finished:?}"
    );
    assert_eq!(std::fs::read(copy).unwrap(), bytes);
}

#[tokio::test]
async fn a_large_message_is_read_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("body");
    std::fs::write(&path, vec![b'x'; 3_000_000]).unwrap();
    let file = stdin(Stored::File(File::open(&path).unwrap())).unwrap();
    let finished = run(
        &shell("wc -c"),
        environment(),
        file,
        Duration::from_secs(20),
    )
    .await;
    assert_eq!(shown(&finished).as_deref(), Some("stdout:\n3000000\n"));
}

#[tokio::test]
async fn both_outputs_are_kept_and_neither_decides() {
    let finished = of("echo warning >&2; echo ticket 7; exit 0", b"m").await;
    assert!(matches!(finished.ending, Ending::Exit(0)));
    assert_eq!(
        shown(&finished).as_deref(),
        Some("stderr:\nwarning\nstdout:\nticket 7\n")
    );
    assert_eq!(shown(&of("cat > /dev/null", b"m").await), None);
}

#[tokio::test]
async fn endless_output_is_drained_and_its_end_is_kept() {
    let finished = of("head -c 5000000 /dev/zero | tr '\\0' x; echo the end", b"m").await;
    assert!(
        matches!(finished.ending, Ending::Exit(0)),
        "a full pipe would have blocked it"
    );
    let output = shown(&finished).unwrap();
    assert!(output.ends_with("xthe end\n"));
    assert!(output.len() <= OUTPUT + 10, "{}", output.len());
    assert!(output.len() > OUTPUT / 2, "{}", output.len());
}

#[tokio::test]
async fn the_ends_of_both_outputs_are_kept_when_both_are_endless() {
    let script = "head -c 300000 /dev/zero | tr '\\0' o; echo; echo ticket 7; \
        head -c 300000 /dev/zero | tr '\\0' e >&2; echo >&2; printf 'no \\377 database' >&2; exit 70";
    let output = shown(&of(script, b"m").await).unwrap();
    assert!(output.len() <= OUTPUT + 20, "{}", output.len());
    assert!(output.contains("e\nno \u{fffd} database\nstdout:\no"));
    assert!(output.ends_with("o\nticket 7\n"));
}

#[tokio::test]
async fn a_command_runs_in_its_working_directory_and_not_at_all_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().canonicalize().unwrap();
    let mut command = shell("pwd");
    command.directory = Some(here.clone());
    let at = |command: TicketCommand| async move {
        run(
            &command,
            environment(),
            message(b""),
            Duration::from_secs(20),
        )
        .await
    };
    let ended = at(command.clone()).await;
    assert_eq!(
        shown(&ended).unwrap(),
        format!("stdout:\n{}\n", here.display())
    );
    command.directory = Some(here.join("gone"));
    let ended = at(command).await;
    let Ending::NotStarted(why) = ended.ending else {
        panic!("{ended:?}")
    };
    assert!(
        why.starts_with("the working directory ") && why.contains("/gone: "),
        "{why}"
    );
}

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    assert!(matches!(of("exit 75", b"").await.ending, Ending::Exit(75)));
    assert!(matches!(
        of("kill -9 $$", b"").await.ending,
        Ending::Signal(9)
    ));
    for command in [
        vec![],
        vec!["/nonexistent/x".to_owned()],
        vec!["/etc/passwd".into()],
        vec!["no-such-program".into()],
    ] {
        let finished = run(
            &plain(command.clone()),
            environment(),
            message(b""),
            Duration::from_secs(1),
        )
        .await;
        assert!(
            matches!(finished.ending, Ending::NotStarted(_)),
            "{command:?}: {finished:?}"
        );
    }
}

#[tokio::test]
async fn a_timeout_kills_the_whole_group_also_what_ignores_the_first_signal() {
    let folder = tempfile::tempdir().unwrap();
    let alive = folder.path().join("alive");
    let script = format!(
        "trap '' TERM; (trap '' TERM; while :; do touch {0}; sleep 0.05; done) & wait",
        alive.display()
    );
    let begun = Instant::now();
    let finished = run(
        &shell(&script),
        environment(),
        message(b""),
        Duration::from_millis(300),
    )
    .await;
    assert!(
        matches!(finished.ending, Ending::TimedOut(_)),
        "{finished:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
    std::fs::remove_file(&alive).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!alive.exists(), "a child of the command lives on");
}

#[tokio::test]
async fn dropping_the_run_kills_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, done) = (folder.path().join("begun"), folder.path().join("done"));
    let script = format!(
        "touch {}; sleep 1; touch {}",
        begun.display(),
        done.display()
    );
    let command = shell(&script);
    {
        let running = run(
            &command,
            environment(),
            message(b""),
            Duration::from_secs(20),
        );
        tokio::pin!(running);
        while !begun.exists() {
            tokio::select! {
                _ = &mut running => panic!("ended early"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
    }
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert!(!done.exists());
}

#[tokio::test]
async fn a_grandchild_that_keeps_the_output_open_delays_nothing() {
    let begun = Instant::now();
    let finished = of("sleep 3 & echo ok", b"").await;
    assert!(matches!(finished.ending, Ending::Exit(0)));
    assert_eq!(shown(&finished).as_deref(), Some("stdout:\nok\n"));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn the_environment_is_clean_and_no_file_of_ours_is_open() {
    // An open file of ours, as the database would be.
    let ours = File::open("/etc/passwd").unwrap();
    let mut variables = environment();
    variables.push(("POSTERN_MAILBOX".into(), "support".into()));
    let finished = run(
        &shell("env; ls -l /proc/self/fd | grep -c passwd; exit 0"),
        variables,
        message(b""),
        Duration::from_secs(20),
    )
    .await;
    drop(ours);
    let output = shown(&finished).unwrap();
    let allowed = [
        "PATH",
        "HOME",
        "LANG",
        "TZ",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
        "POSTERN_MAILBOX",
    ];
    for line in output.lines().filter(|l| l.contains('=')) {
        let name = line.split('=').next().unwrap();
        assert!(allowed.contains(&name) || name.starts_with("LC_"), "{line}");
    }
    assert!(output.contains("POSTERN_MAILBOX=support"));
    assert!(output.trim_end().ends_with("\n0"), "{output}");
}

#[test]
fn a_small_message_is_a_sealed_file_at_its_beginning() {
    let mut file = message(b"hello");
    assert!(file.write_all(b"x").is_err());
    assert!(file.set_len(0).is_err());
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}
