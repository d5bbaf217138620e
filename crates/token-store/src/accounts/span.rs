//! Durations and sizes as the configuration file has them; pure.

use std::time::Duration;

/// A duration in its largest whole unit: `500ms`, `30s`, `10m`, `2h`, `5d`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (each, unit) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ] {
        if millis >= each && millis.is_multiple_of(each) {
            return format!("{}{unit}", millis / each);
        }
    }
    format!("{millis}ms")
}

/// A size in its largest whole unit: `100B`, `64KiB`, `150MiB`, `3GiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    for (each, unit) in [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= each && bytes.is_multiple_of(each) {
            return format!("{}{unit}", bytes / each);
        }
    }
    format!("{bytes}B")
}
