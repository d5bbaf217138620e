//! Replies of an SMTP or LMTP server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::fuzz::smtp_reply(bytes));
