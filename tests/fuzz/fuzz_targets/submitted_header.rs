//! The header section of a submitted message.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sender::fuzz::submitted_header(bytes));
