//! A small chart of counts over time, as inline SVG.

use askama::Template;
use askama::filters::HtmlSafe;

/// Height of the highest bar.
const HEIGHT: u64 = 40;
/// Width of a bar with its gap.
const STEP: usize = 10;

/// Bars, the newest on the right.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    source = r#"<svg class="chart" viewBox="0 0 {{ width }} 42" preserveAspectRatio="none" role="img" aria-label="{{ label }}">{% for bar in bars %}<rect x="{{ bar.x }}" y="{{ bar.y }}" width="8" height="{{ bar.height }}"><title>{{ bar.words }}</title></rect>{% endfor %}</svg>"#,
    ext = "html"
)]
pub(crate) struct Chart {
    label: String,
    width: usize,
    bars: Vec<Bar>,
}
/// Escapes what it holds itself.
impl HtmlSafe for Chart {}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bar {
    x: usize,
    y: u64,
    height: u64,
    words: String,
}

/// What a bar stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Hour,
    Day,
}

impl Unit {
    fn ago(self, n: usize) -> String {
        match (self, n) {
            (Self::Hour, 0) => "this hour".to_owned(),
            (Self::Hour, n) => format!("{n} h ago"),
            (Self::Day, 0) => "the last 24 hours".to_owned(),
            (Self::Day, n) => format!("{n} d ago"),
        }
    }
}

impl Chart {
    /// Counts, the oldest first; `what` is for those who don't see it.
    pub(crate) fn new(what: &str, counts: &[u64], unit: Unit) -> Self {
        let most = counts.iter().copied().max().unwrap_or_default();
        let all: u64 = counts.iter().sum();
        let bars = counts.iter().enumerate().map(|(at, count)| {
            // A single message is seen beside a thousand; nothing is a line at the foot.
            let height = match *count {
                0 => 1,
                n => (n * HEIGHT / most.max(1)).max(2),
            };
            Bar {
                x: at * STEP,
                y: HEIGHT + 1 - height,
                height,
                words: format!("{}: {count}", unit.ago(counts.len() - 1 - at)),
            }
        });
        Self {
            label: format!("{what}: {all} in all, {most} at most"),
            width: counts.len() * STEP,
            bars: bars.collect(),
        }
    }
}

/// Sums of 24 hours each, the last one up to now.
pub(crate) fn days(hours: &[u64]) -> Vec<u64> {
    let mut days: Vec<u64> = hours.rchunks(24).map(|day| day.iter().sum()).collect();
    days.reverse();
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_fills_the_chart_and_the_smallest_is_still_seen() {
        let chart = Chart::new("In", &[0, 1, 1000], Unit::Hour);
        let heights: Vec<u64> = chart.bars.iter().map(|bar| bar.height).collect();
        assert_eq!(heights, [1, 2, 40]);
        assert_eq!(chart.bars[2].y, 1);
        assert_eq!(chart.bars[0].words, "2 h ago: 0");
        assert_eq!(chart.bars[2].words, "this hour: 1000");
        assert_eq!(chart.label, "In: 1001 in all, 1000 at most");
        assert_eq!(Chart::new("In", &[], Unit::Day).bars, []);
    }

    #[test]
    fn days_are_counted_back_from_now() {
        let hours: Vec<u64> = (0..50).map(|_| 1).collect();
        assert_eq!(days(&hours), [2, 24, 24]);
    }
}
