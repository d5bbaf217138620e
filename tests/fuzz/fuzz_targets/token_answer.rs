//! An answer of a token endpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| token_store::fuzz::token_answer(bytes));
