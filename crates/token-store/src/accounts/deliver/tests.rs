//! What rows of deliveries hold, and that those of the first release are still read.

use super::*;

fn of(way: Way) -> Deliver {
    Deliver {
        way,
        timeout: Duration::from_secs(600),
        concurrency: 1,
    }
}

fn command(preset: Preset, directory: Option<&str>) -> Deliver {
    of(Way::Command(TicketCommand {
        command: vec!["/bin/true".into(), "x".into()],
        preset,
        directory: directory.map(PathBuf::from),
    }))
}

#[test]
fn a_row_of_the_first_release_is_read_and_written_as_it_was() {
    let row = r#"{"command":["/bin/true","x"],"timeout":{"secs":600,"nanos":0},"concurrency":1}"#;
    let read: Deliver = serde_json::from_str(row).unwrap();
    assert_eq!(read, command(Preset::Command, None));
    assert_eq!(serde_json::to_string(&read).unwrap(), row);
}

#[test]
fn preset_and_directory_are_read_as_they_were_written() {
    let deliver = command(Preset::Osticket, Some("/opt/osticket"));
    let row = serde_json::to_string(&deliver).unwrap();
    assert_eq!(serde_json::from_str::<Deliver>(&row).unwrap(), deliver);
    assert_eq!(deliver.in_words(), "/bin/true");
}

#[test]
fn presets_are_known_by_the_same_word_everywhere() {
    for preset in Preset::ALL {
        let word = format!("\"{}\"", preset.as_str());
        assert_eq!(serde_json::to_string(&preset).unwrap(), word);
    }
}
