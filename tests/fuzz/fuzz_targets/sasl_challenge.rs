//! The error challenge of a server that refuses a token.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::fuzz::sasl_challenge(bytes));
