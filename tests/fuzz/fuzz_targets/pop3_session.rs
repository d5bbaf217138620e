//! A whole session with a POP3 server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fetcher::fuzz::pop3_session(bytes));
