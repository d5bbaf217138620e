//! Sequence sets (RFC 3501 section 9): `1:3,7,9:*`.

/// A set of UIDs or sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set(Vec<(Bound, Bound)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Number(u32),
    /// `*`, the largest number there is.
    Last,
}

impl Bound {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Last);
        }
        let number: u32 = text.parse().ok().filter(|number| *number > 0)?;
        Some(Self::Number(number))
    }

    fn value(self, last: u32) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Last => last,
        }
    }
}

impl Set {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let range = |part: &str| match part.split_once(':') {
            Some((from, to)) => Some((Bound::parse(from)?, Bound::parse(to)?)),
            None => Bound::parse(part).map(|one| (one, one)),
        };
        text.split(',').map(range).collect::<Option<_>>().map(Self)
    }

    /// Whether a number is in it; `last` is what `*` means. A range may be written backwards.
    pub(super) fn contains(&self, number: u32, last: u32) -> bool {
        self.0.iter().any(|(from, to)| {
            let (from, to) = (from.value(last), to.value(last));
            (from.min(to)..=from.max(to)).contains(&number)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_the_last_number_even_when_the_range_runs_backwards() {
        let set = Set::parse("2:3,7,9:*").unwrap();
        let within = |last| {
            (1..=12)
                .filter(|n| set.contains(*n, last))
                .collect::<Vec<_>>()
        };
        assert_eq!(within(10), [2, 3, 7, 9, 10]);
        assert_eq!(within(8), [2, 3, 7, 8, 9]);
    }

    #[test]
    fn nonsense_is_not_a_set() {
        for text in ["", "0", "1:", "a", "1,,2", "1:2:3", "-1", "4294967296"] {
            assert_eq!(Set::parse(text), None, "{text:?}");
        }
    }
}
