//! A whole connection to a relay.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sender::fuzz::relay_session(bytes));
