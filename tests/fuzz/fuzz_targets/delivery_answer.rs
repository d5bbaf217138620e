//! Answers to a delivery by LMTP or HTTP.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fetcher::fuzz::delivery_answer(bytes));
