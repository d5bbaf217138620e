//! What a submission client sends after DATA.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sender::fuzz::smtp_data(bytes));
