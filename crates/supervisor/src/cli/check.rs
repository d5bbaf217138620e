//! `postern check`: everything that can be known before mail flows: file, tokens, accounts, folders, commands. Nothing is changed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use token_store::accounts::{Auth, Definition, Kind, Relay};
use token_store::{TokenId, Tokens};

use super::exit::{Code, Failure};
use super::office::Office;
use super::table;
use crate::config::{Config, Notices, Secrets};
use crate::control::Question;
use crate::run;
use crate::run::testing::{self, Found};

/// Prints every step with its mark; 1 when one of them failed.
pub(crate) async fn check(file: &Path) -> Result<(), Failure> {
    let config = Config::read(file, Secrets::Needed)?;
    let mut sheet = Sheet::default();
    let accounts = config.declared.mailboxes.len() + config.declared.relays.len();
    sheet.good(&format!(
        "{}: no mistakes, {}",
        config.file.display(),
        table::count(accounts, "account")
    ))?;
    sheet.about_file(&config)?;

    let office = Office::look(file).await?;
    let tokens = office.tokens()?;
    let store = tokens.store();
    let signs_in = config.submission.iter().any(|rules| rules.sign_in);
    if signs_in && store.list_submitters()?.is_empty() {
        sheet.remark("a submission listener wants clients to sign in, and there is no user; make one with `postern submission user add`")?;
    }
    sheet.tokens(&office, &tokens).await?;
    for kind in [Kind::Mailbox, Kind::Relay] {
        for found in store.accounts(kind)? {
            sheet.account(&found.definition, &tokens, None).await?;
        }
    }
    sheet.notices(&config.notices, &store.relays()?)?;
    sheet.end()
}

/// `postern mailbox test` and `postern relay test`: one account alone.
pub(crate) async fn account(
    office: &Office,
    kind: Kind,
    name: &str,
    to: Option<&str>,
) -> Result<(), Failure> {
    let tokens = office.tokens()?;
    let found = super::account::named(tokens.store(), kind, name)?.definition;
    if let Auth::Token(config) = found.auth() {
        let user = match &found {
            Definition::Mailbox(mailbox) => &mailbox.user,
            Definition::Relay(relay) => &relay.user,
        };
        // The daemon alone refreshes it; what is wrong with it is a step of the test.
        let id = tokens.token_id(config, user)?;
        let _ = access(office, &tokens, &id).await;
    }
    let mut sheet = Sheet::default();
    sheet.account(&found, &tokens, to).await?;
    sheet.end()
}

/// The marks so far.
#[derive(Default)]
struct Sheet {
    faults: usize,
    remarks: usize,
}

impl Sheet {
    fn good(&mut self, words: &str) -> Result<(), Failure> {
        table::line(&format!("✓ {}", table::one_line(words)))
    }

    fn bad(&mut self, what: &str, why: &str) -> Result<(), Failure> {
        self.faults += 1;
        table::line(&format!(
            "✗ {}: {}",
            table::one_line(what),
            table::one_line(why)
        ))
    }

    /// Works, and could be better.
    fn remark(&mut self, words: &str) -> Result<(), Failure> {
        self.remarks += 1;
        table::line(&format!("! {}", table::one_line(words)))
    }

    /// Every step of an account's test, printed as it ends.
    async fn account(
        &mut self,
        account: &Definition,
        tokens: &Tokens,
        to: Option<&str>,
    ) -> Result<(), Failure> {
        let title = format!("{} {}", account.kind().word(), account.name());
        let mut printed = Ok(());
        let mut tell = |what: String, found: Found| {
            if printed.is_ok() {
                printed = self.step(&format!("{title}: {what}"), found);
            }
        };
        testing::test(account, tokens, to, &mut tell).await;
        printed
    }

    fn step(&mut self, what: &str, found: Result<String, String>) -> Result<(), Failure> {
        match found {
            Ok(found) => self.good(&format!("{what}: {found}")),
            Err(why) => self.bad(what, &why),
        }
    }

    fn about_file(&mut self, config: &Config) -> Result<(), Failure> {
        for problem in &config.library.problems {
            self.remark(&format!("{problem}; this provider template is left out"))?;
        }
        let mode = std::fs::metadata(&config.file)?.permissions().mode();
        if mode & 0o004 != 0 && config.literal_secrets {
            self.remark(&format!(
                "{} holds a secret and every user can read it; chmod o-r, or use {{file: PATH}}",
                config.file.display()
            ))?;
        }
        Ok(())
    }

    /// Remarks on each token config, and whether it gives a token.
    async fn tokens(&mut self, office: &Office, tokens: &Tokens) -> Result<(), Failure> {
        for config in tokens.store().token_configs()? {
            let name = &config.entry.name;
            let title = format!("token config {name}");
            for mistake in config.entry.mistakes() {
                self.bad(&format!("{title}: {}", mistake.field), &mistake.why)?;
            }
            for remark in config.entry.remarks() {
                self.remark(&format!("{title}: {remark}"))?;
            }
            if !config.entry.valid {
                self.remark(&format!("{title} is switched off"))?;
                continue;
            }
            let ids = tokens.store().tokens_in_use(name)?;
            if ids.is_empty() {
                self.remark(&format!("{title} is used by no mailbox and no relay"))?;
            }
            for id in ids {
                match access(office, tokens, &id).await {
                    Ok(()) => self.good(&format!("token config {id}: gives an access token"))?,
                    Err(why) => self.bad(&format!("token config {id}"), &why)?,
                }
            }
        }
        Ok(())
    }

    /// Whether the channels of notices can work; telling one is for `postern notices test`.
    fn notices(&mut self, channels: &Notices, relays: &[Relay]) -> Result<(), Failure> {
        if let Some(program) = channels.command.first() {
            self.step("notices.command", program_at(program))?;
        }
        if channels.mail_to.is_empty() {
            return Ok(());
        }
        if relays.is_empty() {
            let why = "no relay is configured that they could go through";
            return self.bad("notices.mail_to", why);
        }
        match &channels.mail_from {
            Some(from) if !relays.iter().any(|relay| run::notices::serves(relay, from)) => {
                let words = format!(
                    "notices.mail_from: no relay serves {from}; notices go out in a relay's own name instead"
                );
                self.remark(&words)
            }
            _ => self.good(&format!("notices.mail_to: {}", channels.mail_to.join(", "))),
        }
    }

    fn end(self) -> Result<(), Failure> {
        let remarks = match self.remarks {
            0 => String::new(),
            count => format!(", {}", table::count(count, "remark")),
        };
        match self.faults {
            0 => table::line(&format!("everything answers{remarks}")),
            faults => {
                table::line(&format!("{}{remarks}", table::count(faults, "fault")))?;
                Err(Failure::silent(Code::Failed))
            }
        }
    }
}

fn program_at(path: &str) -> Result<String, String> {
    let found = std::fs::metadata(path).map_err(|error| format!("{path}: {error}"))?;
    match found.is_file() && found.permissions().mode() & 0o111 != 0 {
        true => Ok(path.to_owned()),
        false => Err(format!("{path} is not an executable file")),
    }
}

/// Whether a token gives access. Through the daemon where one runs: only one process may use a refresh token.
async fn access(office: &Office, tokens: &Tokens, id: &TokenId) -> Result<(), String> {
    let Some(client) = office.daemon() else {
        let access = tokens.access(id).await;
        return access.map(drop).map_err(|error| error.to_string());
    };
    let question = Question::Access {
        config: id.config.clone(),
        user: id.subject.clone(),
    };
    let access = client.ask(&question).await;
    access.map(drop).map_err(|error| error.to_string())
}
