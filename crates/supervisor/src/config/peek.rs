//! One key of `postern.yaml`, without the rest: where the control socket is, or the drop directory, for a command that must answer
//! at once, or that may not read the secrets that the file names.
//!
//! Whoever finds nothing here reads the whole file, and hears of its mistakes.

use std::path::{Path, PathBuf};

use granit_parser::{Event, Parser};

use super::{CONTROL_SOCKET, LONGEST_FILE};

/// The control socket that a file names, or the default one where the file is not for this user; None: read all of it.
pub(crate) fn control_socket(file: &Path) -> Option<PathBuf> {
    path(file, "control_socket", CONTROL_SOCKET)
}

/// The same for any path at the top of the file.
pub(crate) fn path(file: &Path, key: &str, default: &str) -> Option<PathBuf> {
    match std::fs::metadata(file) {
        Ok(found) if found.is_file() && found.len() <= LONGEST_FILE => {}
        _ => return None,
    }
    match std::fs::read_to_string(file) {
        Ok(text) => named_in(&text, key, default),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Some(default.into()),
        Err(_) => None,
    }
}

fn named_in(text: &str, key: &str, default: &str) -> Option<PathBuf> {
    // Depth 1 is the outermost mapping, where keys and values take turns.
    let (mut depth, mut at_key, mut found) = (0_u32, true, false);
    for event in Parser::new_from_str(text) {
        let (event, _) = event.ok()?;
        match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if found {
                    return None;
                }
                depth += 1;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                depth -= 1;
                at_key |= depth == 1;
            }
            Event::Scalar(text, ..) if depth == 1 => {
                if found {
                    let path = PathBuf::from(text.as_ref());
                    return path.is_absolute().then_some(path);
                }
                found = at_key && text == key;
                at_key = !at_key;
            }
            Event::Alias(..) if depth == 1 => {
                if found {
                    return None;
                }
                at_key = !at_key;
            }
            _ => {}
        }
    }
    (!found).then(|| default.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_wherever_the_key_stands_and_nowhere_else() {
        let socket = |text: &str| {
            let path = named_in(text, "control_socket", CONTROL_SOCKET);
            path.map(|path| path.display().to_string())
        };
        let default = Some(CONTROL_SOCKET.to_owned());
        for (text, found) in [
            ("control_socket: /a", Some("/a".to_owned())),
            (
                "control_socket: \"/a b\"\nweb: off",
                Some("/a b".to_owned()),
            ),
            (
                "state_dir: /s\nlog: {level: info, format: text}\nsubmission: [{listen: x}]\ncontrol_socket: /a",
                Some("/a".to_owned()),
            ),
            (
                "mailboxes:\n  - name: x\n    control_socket: /no\nkey:\n  file: /k\ncontrol_socket: /a",
                Some("/a".to_owned()),
            ),
            ("log: {control_socket: /no}", default.clone()),
            ("state_dir: control_socket\nweb: off", default.clone()),
            ("x: &a /p\ny: *a\ncontrol_socket: /a", Some("/a".to_owned())),
            // Left to who reads all of it, and says what is wrong.
            ("x: &a /p\ncontrol_socket: *a", None),
            ("control_socket: relative", None),
            ("control_socket: ~", None),
            ("control_socket: {a: b}", None),
            ("a: [1", None),
        ] {
            assert_eq!(socket(text), found, "{text}");
        }
    }

    #[test]
    fn it_finds_what_the_whole_configuration_says() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/postern.yaml");
        let whole = super::super::Config::read(&file, super::super::Secrets::LeftOut).unwrap();
        assert_eq!(control_socket(&file), Some(whole.control_socket));
    }
}
