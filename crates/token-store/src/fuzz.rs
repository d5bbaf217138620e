//! The parsers of strangers' bytes as functions of bytes alone: what the fuzz targets in `tests/fuzz` call, and the plain test run on every input of
//! their corpora.
//!
//! A function returns if all is well and panics if not. Not to panic is the least: where bytes arrive in packets the packets must
//! make no difference, and where a simpler way to the same result exists it must be the same.

pub use crate::exchange::fuzz::token_answer;

/// A target, by the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every target of this crate.
pub const TARGETS: [Target; 1] = [("token_answer", token_answer)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_of_the_corpora_is_read_without_fault() {
        for (name, target) in TARGETS {
            let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus");
            let inputs = std::fs::read_dir(format!("{corpus}/{name}")).expect(name);
            let mut count = 0;
            for input in inputs {
                target(&std::fs::read(input.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count > 0, "{name} has no corpus");
        }
    }
}
