//! `postern`: the daemon and its command line.

mod cli;
mod config;
mod control;
#[cfg(feature = "demo")]
mod demo;
mod guard;
mod run;
mod sendmail;

use std::process::ExitCode;

fn main() -> ExitCode {
    guard::raise();
    match cli::parse() {
        Ok(command) => cli::carry_out(command),
        Err(code) => code,
    }
}
