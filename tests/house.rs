//! House rules that no compiler checks: who may import whom, what may not enter the tree, and that documents name only what exists.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rooms of the house and what of ours each may import; a test of a room may use the sandbox besides.
const MAY_IMPORT: [(&str, &[&str]); 9] = [
    ("wire", &[]),
    ("provider-template", &[]),
    ("spool", &[]),
    ("token-store", &["provider-template"]),
    (
        "fetcher",
        &["wire", "provider-template", "token-store", "spool"],
    ),
    (
        "sender",
        &["wire", "provider-template", "token-store", "spool"],
    ),
    ("web-admin", &["token-store", "provider-template", "spool"]),
    ("sandbox", &["wire"]),
    (
        "supervisor",
        &[
            "wire",
            "provider-template",
            "token-store",
            "spool",
            "fetcher",
            "sender",
            "web-admin",
            "sandbox",
        ],
    ),
];
const MAY_TEST_WITH_SANDBOX: [&str; 4] = ["token-store", "fetcher", "sender", "web-admin"];

/// A second TLS provider or runtime, and libraries that would have to be installed on the host.
const BANNED: [&str; 6] = [
    "ring",
    "openssl",
    "openssl-sys",
    "native-tls",
    "async-std",
    "serde_yaml",
];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn each_room_imports_only_what_it_may() {
    let metadata = metadata();
    let rooms: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if !package["source"].is_null() {
            continue;
        }
        let allowed = rooms
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not a room of this house"));
        seen.insert(name);
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            let for_tests = dependency["kind"] == "dev"
                && to == "sandbox"
                && MAY_TEST_WITH_SANDBOX.contains(&name);
            assert!(
                !rooms.contains_key(to) || allowed.contains(&to) || for_tests,
                "{name} must not import {to}"
            );
        }
    }
    assert_eq!(seen.len(), rooms.len(), "a room is missing: only {seen:?}");
}

#[test]
fn no_second_tls_provider_runtime_or_host_library_is_in_the_tree() {
    // The lock file is what is built; a crate that appears only for other systems counts as well.
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.contains("rustls"), "the list is not what it seems");
    for banned in BANNED {
        assert!(!names.contains(banned), "{banned} is in the tree");
    }
}

fn files(dir: &Path, ending: &str, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        // What a build made, such as that of the fuzz targets, is nobody's source.
        if path.is_dir() && !path.ends_with("target") {
            files(&path, ending, into);
        } else if path.extension().is_some_and(|e| e == ending) {
            into.push(path);
        }
    }
}

#[test]
fn every_source_file_opens_with_a_sentence() {
    let mut sources = Vec::new();
    files(&top().join("crates"), "rs", &mut sources);
    files(&top().join("tests"), "rs", &mut sources);
    assert!(sources.len() > 40, "only {} files found", sources.len());
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//! ") && first.len() > 12,
            "{} does not open with a sentence",
            source.display()
        );
    }
}

/// A target without a corpus, or one that no room replays, would look tested and not be.
#[test]
fn every_fuzz_target_has_a_corpus_that_its_room_replays() {
    let fuzz = top().join("tests/fuzz");
    let read = |path: PathBuf| std::fs::read_to_string(&path).unwrap();
    let manifest = read(fuzz.join("Cargo.toml"));
    let bins = manifest.split("[[bin]]\nname = \"").skip(1);
    let targets: BTreeSet<String> = bins
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect();
    assert!(targets.len() > 10, "only {targets:?} found");
    let (mut corpora, mut inputs, mut bytes) = (BTreeSet::new(), 0, 0);
    for corpus in std::fs::read_dir(fuzz.join("corpus")).unwrap().flatten() {
        corpora.insert(corpus.file_name().into_string().unwrap());
        for input in std::fs::read_dir(corpus.path()).unwrap().flatten() {
            inputs += 1;
            bytes += input.metadata().unwrap().len();
        }
    }
    assert_eq!(targets, corpora);
    assert!(
        inputs < 300 && bytes < 200_000,
        "{inputs} inputs, {bytes} bytes: keep only what shows something"
    );
    let rooms = ["wire", "fetcher", "sender", "token-store"];
    let tables = rooms.map(|room| read(top().join(format!("crates/{room}/src/fuzz.rs"))));
    for target in &targets {
        let row = format!("(\"{target}\", {target})");
        let replaying = tables.iter().filter(|table| table.contains(&row)).count();
        assert_eq!(replaying, 1, "{target} is in no TARGETS, or in two");
        let entry = read(fuzz.join(format!("fuzz_targets/{target}.rs")));
        let call = format!("::fuzz::{target}(bytes)");
        assert!(entry.contains(&call), "{target} calls another function");
    }
}

/// Words in backticks of a document.
fn quoted(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut words = BTreeSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            words.insert(line.trim().to_owned());
        } else {
            words.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    words
}

#[test]
fn every_path_and_command_that_the_readme_names_exists() {
    let text = std::fs::read_to_string(top().join("README.md")).unwrap();
    let words = quoted(&text);
    let mut paths = 0;
    let mut commands = 0;
    for word in &words {
        if ["crates/", "config/", "examples/", "tests/", "systemd/"]
            .iter()
            .any(|folder| word.starts_with(folder))
        {
            let path = word.split(' ').next().unwrap();
            assert!(
                top().join(path).exists(),
                "README names {path}, which does not exist"
            );
            paths += 1;
        }
        let command = word.trim_start_matches("sudo ");
        if let Some(rest) = command.strip_prefix("postern ") {
            assert_command_exists(rest);
            commands += 1;
        }
    }
    assert!(
        paths >= 10 && commands >= 8,
        "only {paths} paths and {commands} commands found"
    );
}

/// `postern WORDS --help` must know the leading lower-case words.
fn assert_command_exists(rest: &str) {
    let is_word = |word: &&str| {
        word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
    };
    let words: Vec<&str> = rest.split(' ').take_while(is_word).take(2).collect();
    let known = (1..=words.len()).rev().any(|n| {
        let output = Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(&words[..n])
            .arg("--help")
            .output()
            .unwrap();
        // A word that isn't a command is an argument of the one before it; the first must be one.
        output.status.success()
    });
    assert!(known, "README names `postern {rest}`, which is no command");
}

#[test]
fn the_readmes_configuration_is_accepted_with_all_its_keys() {
    let text = std::fs::read_to_string(top().join("README.md")).unwrap();
    let yaml = text
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("support.secret");
    std::fs::write(&secret, "not a real one").unwrap();
    let places = format!(
        "state_dir: {0}/state\ncontrol_socket: {0}/control.sock\n",
        dir.path().display()
    );
    let yaml = yaml
        .unwrap()
        .replace("/etc/postern/support.secret", &secret.display().to_string());
    let config = dir.path().join("postern.yaml");
    std::fs::write(&config, places + &yaml).unwrap();
    let output = crate::harness::postern::run(&config, &["token", "list", "--json"], "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("\"support\""), "{said}");
}
