//! An IMAP server's bytes through the guard and the parser behind it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fetcher::fuzz::imap_guard(bytes));
