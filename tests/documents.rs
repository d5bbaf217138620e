//! Man pages and completions say what the command line says, and the programs that read them take them.

use crate::harness::postern::BINARY;
use std::path::Path;
use std::process::Command;

fn postern(words: &[&str]) -> String {
    let output = Command::new(BINARY).args(words).output().unwrap();
    assert!(output.status.success(), "postern {words:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that `--help` lists, by the words that call them.
fn commands(words: &[&str], found: &mut Vec<String>) {
    let help = postern(&[words, &["--help"]].concat());
    let Some((_, list)) = help.split_once("\nCommands:\n") else {
        return;
    };
    for line in list.lines().take_while(|line| !line.is_empty()) {
        let name = line.split_whitespace().next().unwrap();
        // A description that goes on in another line is indented deeper.
        if name == "help" || !line.starts_with("  ") || line.starts_with("   ") {
            continue;
        }
        let deeper = [words, &[name]].concat();
        found.push(format!("postern-{}.1", deeper.join("-")));
        commands(&deeper, found);
    }
}

#[test]
fn every_command_has_a_man_page_that_the_formatter_takes_without_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    postern(&["man", folder.path().to_str().unwrap()]);
    let mut expected = vec!["postern.1".to_owned(), "postern.yaml.5".to_owned()];
    commands(&[], &mut expected);
    expected.sort();
    let mut pages: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    assert_eq!(pages, expected);
    assert!(pages.len() > 40, "{pages:?}");
    for page in &pages {
        let text = formatted(&folder.path().join(page));
        assert!(text.contains("NAME"), "{page}: {text}");
        if page == "postern.yaml.5" {
            let keys = ["state_dir: /var/lib/postern", "mailboxes:", "submission:"];
            for key in keys {
                assert!(text.contains(key), "{key} is not in {page}");
            }
        }
    }
}

/// As a terminal shows it.
fn formatted(page: &Path) -> String {
    let output = Command::new("groff")
        .args(["-man", "-Tutf8", "-wall", "-rLL=200n", "-P-cbou"])
        .arg(page)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", page.display());
    assert_eq!(complaints, "", "{}", page.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn bash_completes_commands_and_their_options() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("postern.bash");
    std::fs::write(&script, postern(&["completions", "bash"])).unwrap();
    let completed = |line: &[&str]| {
        let words = line.join(" ");
        let program = format!(
            ". {}; COMP_WORDS=({words} ''); COMP_CWORD={}; _postern postern '' {}; echo \"${{COMPREPLY[@]}}\"",
            script.display(),
            line.len(),
            line.last().unwrap()
        );
        let output = Command::new("bash")
            .args(["-c", &program])
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(completed(&["postern"]).contains("backup"));
    assert!(completed(&["postern", "token"]).contains("request"));
    for shell in ["zsh", "fish"] {
        assert!(
            postern(&["completions", shell]).contains("request"),
            "{shell}"
        );
    }
}
