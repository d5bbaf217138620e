//! The text of one message by POP3.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fetcher::fuzz::pop3_unstuff(bytes));
