//! What is stuffed here is what our own listener reads back, and no text can end its message early.
use crate::listen::{LineEnds, Unstuffer};
use proptest::prelude::*;
use wire::smtp::Stuffer;

fn stuffed(text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut stuffer = Stuffer::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([text.len()]) {
        stuffer.stuff(&text[from..to], &mut out);
        from = to;
    }
    stuffer.finish(&mut out);
    out
}

fn unstuffed(wire: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut unstuffer = Unstuffer::new();
    let mut text = Vec::new();
    let mut from = 0;
    while from < wire.len() {
        let chunk = &wire[from..wire.len().min(from + size)];
        let part = unstuffer.next(chunk);
        text.extend(part.cr.then_some(b'\r'));
        text.extend_from_slice(&chunk[part.text]);
        from += part.used;
        if part.end {
            let mut line_ends = LineEnds::default();
            let whole = line_ends.are_whole(&text) && !line_ends.is_left_open();
            return (from == wire.len() && whole).then_some(text);
        }
    }
    None
}

proptest! {
    /// Lines made of the bytes that matter, cut anywhere: what is stuffed is what is read back.
    #[test]
    fn stuffing_and_unstuffing_is_the_identity(
        lines in prop::collection::vec("[.a \u{e9}]{0,4}", 0..12),
        cut in 1usize..9,
        size in 1usize..9,
    ) {
        let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let cuts: Vec<usize> = (0..text.len()).step_by(cut).collect();
        let wire = stuffed(text.as_bytes(), &cuts);
        prop_assert_eq!(unstuffed(&wire, size), Some(text.into_bytes()));
    }

    /// Whatever bytes a message has, the wire has one end, at its end, and no bare line end before it.
    #[test]
    fn no_text_can_end_its_message_early(text in prop::collection::vec(prop::sample::select(b"\r\n.a".to_vec()), 0..40), size in 1usize..9) {
        let wire = stuffed(&text, &[]);
        prop_assert!(unstuffed(&wire, size).is_some());
    }
}
