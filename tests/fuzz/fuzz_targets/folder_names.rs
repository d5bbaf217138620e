//! Names of folders, ours and a server's.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fetcher::fuzz::folder_names(bytes));
