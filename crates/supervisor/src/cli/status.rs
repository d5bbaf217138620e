//! `postern status`: how every account and token fares, from the daemon; without one, what the databases know.

use std::path::Path;

use super::exit::{Code, Failure};
use super::office::{Office, answered, doorbell};
use super::{notices, table};
use crate::control::{Client, Question};
use crate::run::status::{self, AccountLine, Report, clock};

/// Prints the report; 69 when no daemon runs.
pub(crate) async fn status(file: &Path, json: bool) -> Result<(), Failure> {
    let report = match doorbell(file).await? {
        Some(client) => ask(&client).await?,
        None => report(&Office::open(file).await?).await?,
    };
    if json {
        table::json(&report)?
    } else {
        print(&report)?
    }
    if report.running {
        Ok(())
    } else {
        Err(Failure::silent(Code::Unavailable))
    }
}

/// The report from whoever knows.
pub(super) async fn report(office: &Office) -> Result<Report, Failure> {
    if let Some(client) = office.daemon() {
        return ask(client).await;
    }
    let spool = office.spool()?;
    status::report(&office.store()?, Some(&spool), None)
        .map_err(|error| Failure::new(Code::Io, error.to_string()))
}

async fn ask(client: &Client) -> Result<Report, Failure> {
    answered(client.ask(&Question::Status).await?)
}

fn print(report: &Report) -> Result<(), Failure> {
    match (report.process, report.since) {
        (Some(process), Some(since)) => {
            table::line(&format!(
                "postern {} runs since {} (process {process})",
                report.version,
                clock(since)
            ))?;
        }
        _ => table::line("the daemon does not run; this is what the databases know")?,
    }
    if !report.notices.is_empty() {
        table::line("\nWhat needs you")?;
        for notice in &report.notices {
            notices::print(notice)?;
        }
    }
    for (title, accounts) in [("Mailboxes", &report.mailboxes), ("Relays", &report.relays)] {
        if !accounts.is_empty() {
            table::line(&format!("\n{title}"))?;
            print_accounts(accounts)?;
        }
    }
    if !report.tokens.is_empty() {
        table::line("\nTokens")?;
        let text = |token: &serde_json::Value, key: &str| {
            token[key].as_str().unwrap_or_default().to_owned()
        };
        let rows: Vec<[String; 4]> = report
            .tokens
            .iter()
            .map(|token| {
                [
                    text(token, "config"),
                    token_state(token),
                    text(token, "token"),
                    text(token, "refresh_token"),
                ]
            })
            .collect();
        table::print(["NAME", "STATE", "ACCESS TOKEN", "REFRESH TOKEN"], &rows)?;
    }
    Ok(())
}

fn token_state(token: &serde_json::Value) -> String {
    if token["valid"] == false {
        return "switched off".to_owned();
    }
    let state = match token["state"].as_str() {
        Some("NeedsConsent" | "needs_consent") => "needs consent",
        Some("Ready" | "ready") => "ready",
        _ => "broken",
    };
    state.to_owned()
}

/// Mailboxes or relays as a table.
pub(super) fn print_accounts(accounts: &[AccountLine]) -> Result<(), Failure> {
    let rows: Vec<[String; 7]> = accounts
        .iter()
        .map(|account| {
            [
                account.name.clone(),
                account.user.clone(),
                account.waiting.to_string(),
                account.held.to_string(),
                account.done.to_string(),
                account.since.map(clock).unwrap_or_default(),
                account.words.clone(),
            ]
        })
        .collect();
    table::print(
        [
            "NAME",
            "USER",
            "WAITING",
            "HELD",
            "DONE",
            "SINCE",
            "CONDITION",
        ],
        &rows,
    )
}
