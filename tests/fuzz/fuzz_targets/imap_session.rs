//! A whole session with an IMAP server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fetcher::fuzz::imap_session(bytes));
