//! The gateway as a whole: the real binary against real servers, and the house rules no compiler checks.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a step that fails is the test's failure, and what it prints is its report"
)]

mod harness;

mod admin_accounts;
mod admin_browser;
mod admin_page;
mod admin_queue;
mod backups;
mod bounces;
mod busy;
mod clients;
mod deliveries;
mod disk_out;
mod documents;
mod faults;
mod full_maildir;
mod held;
mod house;
mod imap_limits;
mod keys;
mod kills;
mod kills_load;
mod lifecycle;
mod notices;
mod outgoing_bytes;
mod pace;
mod queue_out;
mod real_imap;
mod real_pop3;
mod real_relay;
mod secrets;
mod sendmail;
mod sent_folder;
mod service;
mod sinks;
mod submission;
mod submission_clients;
mod throttled;
mod windows;
mod windows_pop3;
