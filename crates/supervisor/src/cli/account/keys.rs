//! Arguments that are keys of the configuration file, and the order that they make.

use clap::Args;
use token_store::accounts::{Given, Order};

use super::{HTTP_SECRET, PASSWORD};
use crate::cli::exit::{Code, Failure};

/// What mailboxes and relays have in common.
#[derive(Debug, Default, Args)]
pub(crate) struct Keys {
    /// The name to sign in with; a shared mailbox's own address.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// The token config to sign in with. Without it a password is asked for, or read from standard input.
    #[arg(long, value_name = "TOKEN_CONFIG")]
    token: Option<String>,
    /// With a password: the provider template that gives host, port and TLS; `postern token templates` lists them.
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "token")]
    template: Option<String>,
    /// The server's host name. Default: the template's.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Its port. Default: the template's, or the protocol's.
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// implicit, starttls, or none (this machine only).
    #[arg(long, value_name = "HOW")]
    tls: Option<String>,
    /// Any other key of the configuration file, such as `tls_ca_file=/etc/ssl/own.pem`; repeated, a list.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

/// Where a mailbox's messages go.
#[derive(Debug, Default, Args)]
pub(crate) struct Delivery {
    /// Deliver by LMTP: HOST:PORT on this machine, or a socket's path.
    #[arg(long, value_name = "SERVER", conflicts_with_all = ["http", "maildir", "command"])]
    lmtp: Option<String>,
    /// With LMTP: for whom; may be repeated. Default: the mailbox's user.
    #[arg(long, value_name = "ADDRESS")]
    to: Vec<String>,
    /// Deliver by HTTP POST to this URL; the secret that signs each request is asked for.
    #[arg(long, value_name = "URL", conflicts_with_all = ["maildir", "command"])]
    http: Option<String>,
    /// Deliver into this maildir.
    #[arg(long, value_name = "PATH", conflicts_with = "command")]
    maildir: Option<String>,
    /// Which ticket system the command belongs to: znuny, rt, zammad, osticket, redmine or command.
    #[arg(long, value_name = "SYSTEM")]
    preset: Option<String>,
    /// Deliver on the standard input of this command: the program's absolute path, then its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((PASSWORD | HTTP_SECRET, _)) => {
            Err("a secret is never an argument; it is asked for".to_owned())
        }
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Keys whose value is a list however many items it has.
const LISTS: [&str; 4] = ["folders", "senders", "deliver.command", "deliver.to"];

impl Keys {
    /// Puts what was given into the order.
    pub(crate) fn put(&self, order: &mut Order) -> Result<(), Failure> {
        put(order, "user", self.user.as_ref());
        put(order, "auth.token", self.token.as_ref());
        put(order, "template", self.template.as_ref());
        put(order, "host", self.host.as_ref());
        put(order, "port", self.port.as_ref());
        put(order, "tls", self.tls.as_ref());
        for (key, value) in &self.set {
            let all = self.set.iter().filter(|(other, _)| other == key);
            let values: Vec<String> = all.map(|(_, value)| value.clone()).collect();
            if LISTS.contains(&key.as_str()) {
                put_list(order, key, &values);
            } else if values.len() == 1 {
                order.set_text(key, value);
            } else {
                let why = format!("--set {key} is given more than once, and it is no list");
                return Err(Failure::new(Code::Usage, why));
            }
        }
        Ok(())
    }
}

impl Delivery {
    /// Puts what was given into the order.
    pub(crate) fn put(&self, order: &mut Order) {
        put_list(order, "deliver.command", &self.command);
        put(order, "deliver.lmtp", self.lmtp.as_ref());
        put_list(order, "deliver.to", &self.to);
        put(order, "deliver.http.url", self.http.as_ref());
        put(order, "deliver.maildir", self.maildir.as_ref());
        put(order, "deliver.preset", self.preset.as_ref());
    }
}

/// Gives a key its value, where there is one.
pub(crate) fn put(order: &mut Order, key: &str, value: Option<&String>) {
    if let Some(value) = value {
        order.set_text(key, value);
    }
}

/// Gives a key its list, where there is one.
pub(crate) fn put_list(order: &mut Order, key: &str, values: &[String]) {
    if !values.is_empty() {
        order.set(key, Given::List(values.to_vec()));
    }
}
