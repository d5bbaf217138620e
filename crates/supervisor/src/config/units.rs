//! Durations, sizes and rates as people write them; pure.

use std::time::Duration;

/// `500ms`, `30s`, `10m`, `2h`, `5d`; a bare `0` too. None for anything else.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis_each: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if number == 0 => 0,
        _ => return None,
    };
    number.checked_mul(millis_each).map(Duration::from_millis)
}

/// `4096` bytes, `10MB` (powers of ten), `150MiB` (powers of two). None for anything else.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes_each: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes_each)
}

/// `30/min`: messages a minute. None for anything else.
pub(super) fn rate(text: &str) -> Option<u32> {
    let (number, unit) = text.split_once('/')?;
    if !matches!(unit.trim(), "min" | "m" | "minute") {
        return None;
    }
    number.trim().parse().ok()
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number = text[..end].parse().ok()?;
    Some((number, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_store::accounts::{show_duration, show_size};

    #[test]
    fn durations_are_read_in_every_unit_and_nothing_else() {
        for (text, millis) in [
            ("0", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("10m", 600_000),
            ("10 min", 600_000),
            ("2h", 7_200_000),
            ("5d", 432_000_000),
        ] {
            assert_eq!(
                duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "1.5h",
            "5 parsecs",
            "99999999999999999d",
            "5S",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_tell_powers_of_ten_from_powers_of_two() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("10MB", 10_000_000),
            ("150MiB", 157_286_400),
            ("1 GiB", 1 << 30),
            ("64KiB", 65_536),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MB", "10mb", "-1", "1.5MB", "99999999999999999GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn a_rate_is_a_number_of_messages_a_minute() {
        assert_eq!(rate("30/min"), Some(30));
        assert_eq!(rate("30 / minute"), Some(30));
        for text in ["30", "30/s", "-1/min", "/min", "x/min"] {
            assert_eq!(rate(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in ["500ms", "90s", "10m", "36h", "5d"] {
            assert_eq!(duration(text).map(show_duration).as_deref(), Some(text));
        }
        for text in ["150MiB", "3GiB", "100B"] {
            assert_eq!(size(text).map(show_size).as_deref(), Some(text));
        }
    }
}
