//! Where the parts of a PEM file (RFC 7468) begin; pure.

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// One encapsulated text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// The line of its beginning, counted from 1.
    pub(super) line: usize,
    /// `CERTIFICATE`, `PRIVATE KEY`, ...
    pub(super) label: &'a str,
    /// All of it, with both of its boundary lines.
    pub(super) text: &'a str,
}

/// The parts in their order; what stands between them is explanation. The error is the line of a part that does not end.
pub(super) fn parts(text: &str) -> Result<Vec<Part<'_>>, usize> {
    let mut parts = Vec::new();
    let mut open: Option<(usize, usize, &str)> = None;
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let (start, end) = (at, at + line.len());
        at = end;
        let line = line.trim();
        if let Some(rest) = line.strip_prefix(BEGIN) {
            if let Some((number, ..)) = open {
                return Err(number);
            }
            open = Some((index + 1, start, rest.trim_end_matches('-')));
        } else if line.starts_with(END)
            && let Some((number, start, label)) = open.take()
        {
            parts.push(Part {
                line: number,
                label,
                text: &text[start..end],
            });
        }
    }
    open.map_or(Ok(parts), |(number, ..)| Err(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_between_explanations_and_know_their_line() {
        let text = "a note\n-----BEGIN A B-----\r\nAAAA\r\n-----END A B-----\r\n\n-----BEGIN C-----\n-----END C-----";
        let found = parts(text).unwrap();
        let seen: Vec<_> = found.iter().map(|part| (part.line, part.label)).collect();
        assert_eq!(seen, [(2, "A B"), (6, "C")]);
        assert_eq!(found[1].text, "-----BEGIN C-----\n-----END C-----");
        assert!(found[0].text.starts_with("-----BEGIN A B-----\r\nAAAA"));
        assert_eq!(parts(""), Ok(vec![]));
        assert_eq!(parts("-----END A-----\n"), Ok(vec![]));
    }

    #[test]
    fn a_part_without_an_end_is_named_by_its_line() {
        let open = "-----BEGIN A-----\nAAAA\n";
        assert_eq!(parts(open), Err(1));
        assert_eq!(parts(&format!("\n{open}{open}-----END A-----\n")), Err(2));
    }
}
