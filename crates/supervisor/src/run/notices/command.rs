//! The command that is run for a notice: an argument list, a clean environment, a deadline for all that it starts.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::tidings::Tidings;

/// A command that tells somebody takes seconds; one that hangs must not keep the next notice back for long.
const LONGEST: Duration = Duration::from_secs(60);
/// What it says on standard error is kept up to here, for the words of its failure.
const SAID: u64 = 4096;
/// After its end, so long is waited for the rest of what it said: a child of its own may hold the pipe open for ever.
const AFTER_END: Duration = Duration::from_millis(250);

/// Runs the command to its end; why it failed otherwise. Dropping the future kills it with all it started.
pub(super) async fn tell(command: &[String], tidings: Tidings) -> Result<(), String> {
    run(command, tidings, LONGEST).await
}

async fn run(command: &[String], tidings: Tidings, longest: Duration) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no command is configured")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(inherited())
        .envs(variables(tidings))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{program} could not be started: {error}"))?;
    let mut group = Group::of(&child);
    let stderr = child.stderr.take();
    let mut said = Vec::new();
    let ended = {
        let reading = async {
            if let Some(stderr) = stderr {
                let _ = stderr.take(SAID).read_to_end(&mut said).await;
            }
        };
        tokio::pin!(reading);
        let mut read = false;
        let ended = timeout(longest, async {
            loop {
                tokio::select! {
                    ended = child.wait() => break ended,
                    () = &mut reading, if !read => read = true,
                }
            }
        });
        let ended = ended.await;
        if ended.is_ok() && !read {
            let _ = timeout(AFTER_END, reading).await;
        }
        ended
    };
    if ended.is_ok() {
        // What it left behind on purpose may go on.
        group.0 = None;
    }
    drop(group);
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{program} ended with {status}{}", quoted(&said))),
        Ok(Err(error)) => Err(format!("waiting for {program} failed: {error}")),
        Err(_) => {
            let _ = child.wait().await;
            Err(format!(
                "{program} took longer than {} s and was killed",
                longest.as_secs()
            ))
        }
    }
}

/// Where programs are, language and time zone: nothing of ours.
fn inherited() -> impl Iterator<Item = (String, String)> {
    let kept = ["PATH", "HOME", "LANG", "TZ"];
    kept.into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
}

fn variables(tidings: Tidings) -> [(&'static str, String); 7] {
    [
        ("POSTERN_NOTICE_ID", tidings.id.to_string()),
        ("POSTERN_NOTICE_KIND", tidings.kind.to_owned()),
        ("POSTERN_NOTICE_ABOUT", tidings.about),
        ("POSTERN_NOTICE_WORDS", tidings.words),
        ("POSTERN_NOTICE_ADVICE", tidings.advice),
        ("POSTERN_NOTICE_STATE", tidings.state.key().to_owned()),
        ("POSTERN_NOTICE_SINCE", tidings.since),
    ]
    // A NUL ends a variable, and a command line has no use for other control characters.
    .map(|(name, value)| (name, value.replace(char::is_control, " ")))
}

fn quoted(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("; it said: {}", line.trim()),
        None => String::new(),
    }
}

/// The command's process group, killed when dropped before the command has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Fails only if all of it has ended.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn tidings() -> Tidings {
        let mut tidings = Tidings::test(0);
        tidings.words = "first\nsecond\0 $(id) `id` \"".to_owned();
        tidings
    }

    #[tokio::test]
    async fn a_command_gets_the_notice_and_nothing_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("env");
        let script = format!("env > {}", out.display());
        tell(&shell(&script), tidings()).await.unwrap();
        let seen = std::fs::read_to_string(out).unwrap();
        let lines: Vec<&str> = seen.lines().collect();
        assert!(
            lines.contains(&"POSTERN_NOTICE_WORDS=first second  $(id) `id` \""),
            "{seen}"
        );
        assert!(lines.contains(&"POSTERN_NOTICE_STATE=raised"), "{seen}");
        let known = [
            "POSTERN_NOTICE_",
            "PATH=",
            "HOME=",
            "LANG=",
            "TZ=",
            "PWD=",
            "SHLVL=",
            "_=",
        ];
        for line in lines {
            assert!(known.iter().any(|start| line.starts_with(start)), "{line}");
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_in_the_commands_own_words() {
        let failed = tell(
            &shell("echo no >&2; echo gateway is away >&2; exit 3"),
            tidings(),
        )
        .await;
        let error = failed.unwrap_err();
        assert_eq!(
            error,
            "/bin/sh ended with exit status: 3; it said: gateway is away"
        );
        let missing = tell(&["/no/such/program".to_owned()], tidings()).await;
        assert!(
            missing
                .unwrap_err()
                .starts_with("/no/such/program could not be started")
        );
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let failed = run(&shell(&script), tidings(), Duration::from_millis(300)).await;
        assert!(failed.unwrap_err().contains("was killed"));
        let child = std::fs::read_to_string(pid).unwrap();
        let process = std::path::PathBuf::from(format!("/proc/{}/stat", child.trim()));
        let end = std::time::Instant::now() + Duration::from_secs(10);
        // Gone, or waiting for whoever inherited it to take notice.
        while std::fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(std::time::Instant::now() < end, "its child still runs");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_child_that_keeps_standard_error_open_does_not_keep_the_command_open() {
        let begun = std::time::Instant::now();
        tell(&shell("sleep 20 & exit 0"), tidings()).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(15));
    }
}
