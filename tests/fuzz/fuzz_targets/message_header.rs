//! The header section of a fetched message.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fetcher::fuzz::message_header(bytes));
