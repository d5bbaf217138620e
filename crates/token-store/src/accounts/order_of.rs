//! An account as the keys of the configuration file: what a form shows, what an edit begins with, what `show` prints.

use super::{
    After, Auth, BouncesTo, Care, Definition, Deliver, Failed, Given, Mailbox, Order, Protocol,
    Relay, Sasl, StartFrom, TicketCommand, Watch, Way, show_duration, show_size,
};
use crate::{Store, StoreError};
use jiff::Timestamp;
use provider_template::{Additions, Host, Library, Tls};

impl Store {
    /// The order that would make this account, secrets included.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn order_of(&self, account: &Definition, library: &Library) -> Result<Order, StoreError> {
        let config = match account.auth() {
            Auth::Token(config) => self.token_config(config)?.map(|config| config.entry),
            Auth::Password(_) => None,
        };
        let template = account.template().and_then(|name| library.get(name));
        let provider = config.as_ref().or(template);
        let provider = provider.map(|entry| &entry.config.postern);
        Ok(match account {
            Definition::Mailbox(mailbox) => Order::of_mailbox(mailbox, provider),
            Definition::Relay(relay) => Order::of_relay(relay, provider),
        })
    }
}

impl Order {
    /// A mailbox, its secrets included. `provider` is what its token config or template says: what comes from there is left
    /// to it, so that it may change there.
    fn of_mailbox(mailbox: &Mailbox, provider: Option<&Additions>) -> Self {
        // Taken apart by name, so that a new field can't be forgotten here.
        let Mailbox {
            name,
            template,
            protocol,
            host,
            port,
            tls,
            tls_ca_file,
            user,
            auth,
            sasl,
            folders,
            max_undelivered,
            watch,
            poll,
            start_from,
            max_size,
            deliver,
            after,
            care,
            paused,
            idle_minutes: _,
            trash_on_delete: _,
            pop3_two_line_auth: _,
            declared_in: _,
        } = mailbox;
        let mut order = Self::default();
        order.set_text("name", name);
        let (protocol, usual) = match protocol {
            Protocol::Imap => ("imap", provider.and_then(|p| p.imap.as_ref())),
            Protocol::Pop3 => ("pop3", provider.and_then(|p| p.pop3.as_ref())),
        };
        order.set_text("protocol", protocol);
        order.server((host, *port, *tls), usual);
        order.option("template", template.as_ref());
        let ca_file = tls_ca_file.as_ref().map(|path| path.display());
        order.option("tls_ca_file", ca_file);
        order.sign_in(user, auth, *sasl);
        order.set("folders", Given::List(folders.clone()));
        order.set_text("max_undelivered", max_undelivered.to_string());
        let watch = match watch {
            Watch::Idle => "idle".to_owned(),
            Watch::Every(pause) => show_duration(*pause),
        };
        order.set_text("watch", watch);
        order.set_text("poll", show_duration(*poll));
        order.set_text("start_from", start_words(*start_from));
        order.set_text("max_size", show_size(*max_size));
        order.deliver(deliver);
        match after {
            After::Delete => order.set_text("after", "delete"),
            After::Seen => order.set_text("after", "seen"),
            After::Keep => order.set_text("after", "keep"),
            After::Move { folder, create } => order.folder("after", folder, *create),
        }
        order.care(care);
        order.paused(*paused);
        order
    }

    /// A relay, likewise.
    fn of_relay(relay: &Relay, provider: Option<&Additions>) -> Self {
        let Relay {
            name,
            template,
            host,
            port,
            tls,
            tls_ca_file,
            user,
            auth,
            sasl,
            senders,
            connections,
            rate,
            keep_trying,
            bounces_to,
            fallback,
            send_as,
            recipients,
            messages_per_connection,
            no_initial_response: _,
            paused,
            declared_in: _,
        } = relay;
        let limits = provider.map(|p| p.limits.clone()).unwrap_or_default();
        let mut order = Self::default();
        order.set_text("name", name);
        order.server((host, *port, *tls), provider.and_then(|p| p.smtp.as_ref()));
        order.option("template", template.as_ref());
        let ca_file = tls_ca_file.as_ref().map(|path| path.display());
        order.option("tls_ca_file", ca_file);
        order.sign_in(user, auth, *sasl);
        order.set("senders", Given::List(senders.clone()));
        let usual = limits.smtp_connections.map(|n| n as usize);
        if usual != Some(*connections) {
            order.set_text("connections", connections.to_string());
        }
        if *rate != limits.smtp_rate {
            order.option("rate", rate.map(|rate| format!("{rate}/min")));
        }
        let usual = |limit: Option<u32>| limit.map(|n| n as usize);
        if *recipients != usual(limits.smtp_recipients_per_message) {
            order.option("recipients", *recipients);
        }
        if *messages_per_connection != usual(limits.smtp_messages_per_connection) {
            order.option("messages_per_connection", *messages_per_connection);
        }
        order.option("fallback", fallback.as_ref());
        order.option("send_as", send_as.as_ref());
        order.set_text("keep_trying", show_duration(*keep_trying));
        match bounces_to {
            Some(BouncesTo::Mailbox(mailbox)) => order.set_text("bounces_to.mailbox", mailbox),
            Some(BouncesTo::Address(address)) => order.set_text("bounces_to.address", address),
            None => {}
        }
        order.paused(*paused);
        order
    }

    fn option(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.set_text(key, value.to_string());
        }
    }

    fn server(&mut self, (host, port, tls): (&String, u16, Tls), usual: Option<&Host>) {
        if usual.is_some_and(|usual| (&usual.host, usual.port, usual.tls) == (host, port, tls)) {
            return;
        }
        self.set_text("host", host);
        self.set_text("port", port.to_string());
        let tls = match tls {
            Tls::Implicit => "implicit",
            Tls::Starttls => "starttls",
            Tls::None => "none",
        };
        self.set_text("tls", tls);
    }

    fn sign_in(&mut self, user: &str, auth: &Auth, sasl: Sasl) {
        self.set_text("user", user);
        match auth {
            Auth::Token(config) => self.set_text("auth.token", config),
            Auth::Password(password) => {
                self.set("auth.password", Given::Secret(password.clone()));
            }
        }
        let sasl = match sasl {
            Sasl::Auto => "auto",
            Sasl::Xoauth2 => "xoauth2",
            Sasl::Oauthbearer => "oauthbearer",
            Sasl::Plain => "plain",
            Sasl::Login => "login",
        };
        self.set_text("sasl", sasl);
    }

    fn deliver(&mut self, deliver: &Deliver) {
        match &deliver.way {
            Way::Command(TicketCommand {
                command,
                preset,
                directory,
            }) => {
                self.set("deliver.command", Given::List(command.clone()));
                self.set_text("deliver.preset", preset.as_str());
                let directory = directory.as_ref().map(|path| path.display());
                self.option("deliver.directory", directory);
            }
            Way::Lmtp(lmtp) => {
                self.set_text("deliver.lmtp", lmtp.server.to_string());
                self.set("deliver.to", Given::List(lmtp.to.clone()));
            }
            Way::Http(http) => {
                self.set_text("deliver.http.url", &http.url);
                self.set("deliver.http.secret", Given::Secret(http.secret.clone()));
                let ca_file = http.ca_file.as_ref().map(|path| path.display());
                self.option("deliver.http.ca_file", ca_file);
            }
            Way::Maildir(folder) => {
                self.set_text("deliver.maildir", folder.display().to_string());
            }
        }
        self.set_text("deliver.timeout", show_duration(deliver.timeout));
        self.set_text("deliver.concurrency", deliver.concurrency.to_string());
    }

    fn folder(&mut self, key: &str, folder: &str, create: bool) {
        self.set_text(&format!("{key}.move"), folder);
        self.set_text(&format!("{key}.create"), create.to_string());
    }

    fn care(&mut self, care: &Care) {
        let Care {
            failed,
            held_for,
            max_held,
            rate,
            max_received,
        } = care;
        match failed {
            Failed::Keep => self.set_text("failed", "keep"),
            Failed::Move { folder, create } => self.folder("failed", folder, *create),
        }
        self.set_text("held_for", show_duration(*held_for));
        self.set_text("max_held", show_size(*max_held));
        self.option("rate", rate.map(|rate| format!("{rate}/min")));
        self.set_text("max_received", max_received.to_string());
    }

    fn paused(&mut self, paused: bool) {
        if paused {
            self.set_text("paused", "true");
        }
    }
}

/// `all`, `now`, or the date.
fn start_words(from: StartFrom) -> String {
    match from {
        StartFrom::All => "all".to_owned(),
        StartFrom::Now => "now".to_owned(),
        StartFrom::Date(midnight) => Timestamp::from_second(midnight)
            .map(|at| at.strftime("%Y-%m-%d").to_string())
            .unwrap_or_else(|_| "all".to_owned()),
    }
}
