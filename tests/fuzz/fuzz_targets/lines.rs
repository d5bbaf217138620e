//! Lines of any length, in packets of any size.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::fuzz::lines(bytes));
