//! Bytes from the other side made fit for a log line, a table and a page.

/// The most that is kept of one text; a peer's words beyond that explain nothing more.
const LONGEST: usize = 1000;

/// The text with control characters and invalid UTF-8 escaped (`\x1b`), so that no peer writes into our log or terminal.
pub fn printable(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c.is_control() {
                true => shown.extend(c.escape_default()),
                false => shown.push(c),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
        if shown.len() > LONGEST {
            let cut = shown.floor_char_boundary(LONGEST);
            shown.truncate(cut);
            shown.push('…');
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn controls_and_invalid_bytes_are_shown_escaped_and_umlauts_as_they_are() {
        assert_eq!(printable("ungültig".as_bytes()), "ungültig");
        assert_eq!(printable(b"ung\xfcltig"), "ung\\xfcltig");
        assert_eq!(printable(b"a\x1b[2Jb\0"), "a\\u{1b}[2Jb\\u{0}");
        assert!(printable(&[b'x'; 5000]).len() < 1010);
    }
}
