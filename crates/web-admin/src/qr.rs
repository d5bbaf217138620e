//! A QR code as inline SVG.

use askama::Template;
use askama::filters::HtmlSafe;
use qrcode::{Color, QrCode};

/// Modules of margin (ISO/IEC 18004): without it cameras don't find the corners.
const QUIET: usize = 4;

/// A code; black on white whatever the page's colours are.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    source = r##"<svg class="qr" viewBox="0 0 {{ side }} {{ side }}" role="img" aria-label="QR code: {{ label }}" shape-rendering="crispEdges"><rect width="{{ side }}" height="{{ side }}" fill="#fff"/><path d="{{ path }}" fill="#000"/></svg>"##,
    ext = "html"
)]
pub(crate) struct Qr {
    label: String,
    side: usize,
    path: String,
}
/// Escapes what it holds itself.
impl HtmlSafe for Qr {}

impl Qr {
    /// None for what is too long for one.
    pub(crate) fn new(text: &str, label: &str) -> Option<Self> {
        let code = QrCode::new(text).ok()?;
        let width = code.width();
        let colors = code.to_colors();
        let mut path = String::new();
        for (y, row) in colors.chunks(width).enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|a, b| a == b) {
                if run.first() == Some(&Color::Dark) {
                    let (left, top, len) = (x + QUIET, y + QUIET, run.len());
                    path.push_str(&format!("M{left} {top}h{len}v1h-{len}z"));
                }
                x += run.len();
            }
        }
        Some(Self {
            label: label.to_owned(),
            side: width + 2 * QUIET,
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dark_module_is_drawn_once_within_the_margin() {
        let text = "https://id.example/device?user_code=WDJB-MJHT";
        let qr = Qr::new(text, "the address").unwrap();
        assert_eq!(qr.side, 33 + 8, "version 4");
        let dark = QrCode::new(text).unwrap().to_colors();
        let dark = dark.iter().filter(|color| **color == Color::Dark).count();
        let lengths = qr.path.split('h').skip(1);
        let lengths = lengths.filter_map(|rest| rest.split_once('v')?.0.parse::<usize>().ok());
        assert_eq!(lengths.sum::<usize>(), dark);
        assert!(
            qr.path.starts_with("M4 4h7v1h-7z"),
            "the finder's upper edge"
        );
        assert!(Qr::new(&"x".repeat(5000), "").is_none());
    }

    #[test]
    fn the_label_is_escaped() {
        let html = Qr::new("x", "\"><script>").unwrap().render().unwrap();
        assert!(!html.contains("<script>"), "{html}");
    }
}
