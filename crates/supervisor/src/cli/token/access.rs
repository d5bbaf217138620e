//! Access tokens for other programs: fetchmail, isync, msmtp and mutt ask for one at each sign-in.

use std::path::Path;

use clap::{Args, ValueEnum};
use wire::sasl;

use super::TokenCommand;
use crate::cli::exit::{Code, Failure};
use crate::cli::office::{Office, doorbell};
use crate::cli::table;
use crate::config::peek;
use crate::control::{Handed, Question, ask_at_once};

#[derive(Debug, Args)]
pub(crate) struct Access {
    /// The token config's name.
    name: String,
    /// Who signs in with it; by default the only mailbox or relay user that does.
    #[arg(long, default_value = "", hide_default_value = true)]
    user: String,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Token)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The access token.
    Token,
    /// The initial response of SASL XOAUTH2, in base64.
    Xoauth2,
    /// The initial response of SASL OAUTHBEARER, in base64.
    Oauthbearer,
    /// Token, user and end as JSON.
    Json,
}

impl Access {
    fn question(&self) -> Question {
        Question::Access {
            config: self.name.clone(),
            user: self.user.clone(),
        }
    }

    fn print(&self, handed: &Handed) -> Result<(), Failure> {
        let payload = |make: fn(&str, &str) -> Result<String, sasl::SaslError>| {
            let missing = || {
                let words = format!(
                    "who signs in with {}? No mailbox or relay does, or several users do; --user says which",
                    self.name
                );
                Failure::new(Code::Usage, words)
            };
            let user = handed.user.as_deref().ok_or_else(missing)?;
            make(user, &handed.token).map_err(|error| Failure::new(Code::Data, error.to_string()))
        };
        match self.format {
            Format::Token => table::line(&handed.token),
            Format::Xoauth2 => table::line(&payload(sasl::xoauth2)?),
            Format::Oauthbearer => table::line(&payload(sasl::oauthbearer_anywhere)?),
            Format::Json => table::json(handed),
        }
    }

    fn print_answer(&self, answer: serde_json::Value) -> Result<(), Failure> {
        self.print(&serde_json::from_value(answer)?)
    }
}

/// Through a daemon that runs, without reading more of the configuration than where its socket is; None: with all care.
pub(crate) fn quickly(file: &Path, command: &TokenCommand) -> Option<Result<(), Failure>> {
    let TokenCommand::Access(order) = command else {
        return None;
    };
    let socket = peek::control_socket(file)?;
    let answer = ask_at_once(&socket, &order.question())?;
    let printed = answer
        .map_err(Failure::from)
        .and_then(|answer| order.print_answer(answer));
    Some(printed)
}

/// The same where nobody answered at once: the daemon starts, or there is none.
pub(super) async fn access(file: &Path, order: &Access) -> Result<(), Failure> {
    if let Some(client) = doorbell(file).await? {
        return order.print_answer(client.ask(&order.question()).await?);
    }
    let office = Office::open(file).await?;
    if let Some(client) = office.daemon() {
        return order.print_answer(client.ask(&order.question()).await?);
    }
    let tokens = office.tokens()?;
    let handed = Handed::of(&tokens, &order.name, order.user.clone()).await;
    let printed = handed
        .map_err(Failure::from)
        .and_then(|handed| order.print(&handed));
    // A request whose answer is still on its way may bring the next refresh token.
    tokens.land().await;
    printed
}
