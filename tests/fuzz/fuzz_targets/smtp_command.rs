//! One command of a submission client.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sender::fuzz::smtp_command(bytes));
