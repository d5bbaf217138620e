//! Which fields there are, with their labels and hints.

use provider_template::{Additions, Entry, Host, Library, Tls};
use token_store::TokenConfig;
use token_store::accounts::{Kind, Preset};

use super::{Block, Branch, Either, Group, Input, Look, Pick};

/// What exists and can be chosen.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    tokens: Vec<Pick>,
    templates: Vec<Pick>,
    mailboxes: Vec<Pick>,
}

impl Offers {
    pub(crate) fn new(configs: &[TokenConfig], library: &Library, mailboxes: Vec<String>) -> Self {
        let token = |config: &TokenConfig| {
            let title = config.template.as_deref().unwrap_or("no template");
            let name = &config.entry.name;
            pick(
                name,
                &format!("{name} ({title})"),
                &config.entry.config.postern,
            )
        };
        let template = |entry: &Entry| {
            let postern = &entry.config.postern;
            let title = postern.title.as_deref().unwrap_or(&entry.name);
            pick(&entry.name, title, postern)
        };
        let with_server = |entry: &&Entry| {
            let postern = &entry.config.postern;
            postern.imap.is_some() || postern.pop3.is_some() || postern.smtp.is_some()
        };
        Self {
            tokens: configs.iter().map(token).collect(),
            templates: library
                .templates
                .iter()
                .filter(with_server)
                .map(template)
                .collect(),
            mailboxes: mailboxes.iter().map(|name| plain(name, name)).collect(),
        }
    }
}

fn pick(value: &str, label: &str, postern: &Additions) -> Pick {
    let hosts = [
        ("imap", &postern.imap),
        ("pop3", &postern.pop3),
        ("smtp", &postern.smtp),
    ];
    let server = |(protocol, host): (&'static str, &Option<Host>)| {
        let Host { host, port, tls } = host.as_ref()?;
        let tls = match tls {
            Tls::Implicit => "implicit",
            Tls::Starttls => "starttls",
            Tls::None => "none",
        };
        Some((protocol, format!("{host} {port} {tls}")))
    };
    Pick {
        value: value.to_owned(),
        label: label.to_owned(),
        servers: hosts.into_iter().filter_map(server).collect(),
    }
}

fn plain(value: &str, label: &str) -> Pick {
    Pick {
        value: value.to_owned(),
        label: label.to_owned(),
        servers: Vec::new(),
    }
}

fn field(name: &'static str, label: &'static str, hint: &str) -> Input {
    Input {
        name,
        label,
        hint: hint.to_owned(),
        value: String::new(),
        mistake: None,
        required: false,
        look: Look::Line,
    }
}

impl Input {
    fn required(mut self) -> Self {
        self.required = true;
        self
    }

    fn look(mut self, look: Look) -> Self {
        self.look = look;
        self
    }

    fn value(mut self, value: &str) -> Self {
        value.clone_into(&mut self.value);
        self
    }
}

fn choice(name: &'static str, label: &'static str, hint: &str, picks: &[(&str, &str)]) -> Input {
    let picks = picks.iter().map(|(value, label)| plain(value, label));
    field(name, label, hint).look(Look::Choice(picks.collect()))
}

fn branch(value: &'static str, label: &'static str, inputs: Vec<Input>) -> Branch {
    Branch {
        value,
        label,
        inputs,
    }
}

fn either(name: &'static str, label: &'static str, chosen: &str, branches: Vec<Branch>) -> Block {
    Block::Either(Either {
        name,
        label,
        chosen: chosen.to_owned(),
        mistake: None,
        branches,
    })
}

fn group(title: &'static str, blocks: Vec<Block>) -> Group {
    Group {
        title,
        blocks,
        folded: false,
    }
}

fn folded(title: &'static str, inputs: Vec<Input>, more: Vec<Block>) -> Group {
    let inputs = inputs.into_iter().map(Block::One);
    Group {
        title,
        blocks: inputs.chain(more).collect(),
        folded: true,
    }
}

/// The form's fields, group by group.
pub(super) fn groups(kind: Kind, offers: &Offers) -> Vec<Group> {
    match kind {
        Kind::Mailbox => mailbox(offers),
        Kind::Relay => relay(offers),
    }
}

fn mailbox(offers: &Offers) -> Vec<Group> {
    let protocols = [("imap", "IMAP"), ("pop3", "POP3")];
    let hint =
        "IMAP where the server has it: new mail is noticed at once, and can be moved or marked.";
    let mut server = vec![Block::One(
        choice("protocol", "Protocol", hint, &protocols).value("imap"),
    )];
    server.extend(server_fields().map(Block::One));
    let hint = "A folder on each line. With Gmail leave it at INBOX: labels look like folders.";
    let folders = field("folders", "Folders", hint)
        .look(Look::Lines)
        .value("INBOX");
    server.push(Block::One(folders));
    vec![
        group(
            "Account",
            vec![
                Block::One(name("Unique. It cannot be changed later.")),
                Block::One(user(
                    "A shared mailbox’s own address, with the token of a user who may open it.",
                )),
            ],
        ),
        group("Sign-in", vec![sign_in(offers)]),
        group("Server", server),
        group("Delivery", vec![deliver(), after()]),
        folded("Advanced", mailbox_rest(), vec![failed()]),
    ]
}

fn relay(offers: &Offers) -> Vec<Group> {
    let hint =
        "Addresses, @domain, or * for all others; one on each line. No two relays may claim one.";
    let senders = field("senders", "Senders", hint)
        .look(Look::Lines)
        .required();
    vec![
        group(
            "Account",
            vec![
                Block::One(name("Unique. It cannot be changed later.")),
                Block::One(user(
                    "Where the sender is a shared address, the user whose token it is.",
                )),
            ],
        ),
        group("Sign-in", vec![sign_in(offers)]),
        group("Server", server_fields().map(Block::One).collect()),
        group("Replies", vec![Block::One(senders), bounces_to(offers)]),
        folded("Advanced", relay_rest(), Vec::new()),
    ]
}

fn name(hint: &str) -> Input {
    field("name", "Name", hint).required()
}

fn user(hint: &str) -> Input {
    field("user", "User", hint).required()
}

fn sign_in(offers: &Offers) -> Block {
    let with_none = |none: &str, picks: &[Pick]| {
        let first = std::iter::once(plain("", none));
        Look::Choice(first.chain(picks.iter().cloned()).collect())
    };
    let hint = if offers.tokens.is_empty() {
        "There is no token config yet: add one on the page Tokens."
    } else {
        "Host, port and TLS come from its template, unless they are given below."
    };
    let token = field("auth.token", "Token config", hint)
        .look(with_none("Choose one", &offers.tokens))
        .required();
    let password = field(
        "auth.password",
        "Password",
        "Stored sealed; it is never shown again.",
    )
    .look(Look::Secret)
    .required();
    let hint = "Gives host, port, TLS and what is peculiar to the provider.";
    let template =
        field("template", "Provider", hint).look(with_none("Another", &offers.templates));
    let chosen = if offers.tokens.is_empty() {
        ""
    } else {
        "token"
    };
    let branches = vec![
        branch("token", "OAuth2 token", vec![token]),
        branch("password", "Password", vec![password, template]),
    ];
    either("auth", "Authentication", chosen, branches)
}

fn server_fields() -> impl Iterator<Item = Input> {
    let ways = [
        ("", "The provider’s, or the usual one"),
        ("implicit", "TLS from the start"),
        ("starttls", "STARTTLS"),
        ("none", "None (this machine only)"),
    ];
    let usual = "Left empty, the provider’s.";
    [
        field("host", "Host", usual),
        field(
            "port",
            "Port",
            "Left empty, the provider’s, or the usual one.",
        ),
        choice("tls", "TLS", "", &ways),
    ]
    .into_iter()
}

fn deliver() -> Block {
    let hint = "The program’s absolute path on the first line, then one argument on each line. It is never given to a shell; the message is its standard input.";
    let command = field("deliver.command", "Command", hint)
        .look(Look::Lines)
        .required();
    let systems = Preset::ALL.map(|preset| (preset.as_str(), system(preset)));
    let hint = "What exit codes mean differs from system to system.";
    let preset = choice("deliver.preset", "Ticket system", hint, &systems).value("command");
    let directory = field(
        "deliver.directory",
        "Working directory",
        "Left empty, the daemon’s.",
    );
    let hint = "HOST:PORT on this machine, or a Unix socket’s path.";
    let lmtp = field("deliver.lmtp", "LMTP server", hint).required();
    let hint = "An address on each line. Left empty, the user, if that is an address.";
    let to = field("deliver.to", "Recipients", hint).look(Look::Lines);
    let hint = "https://, or http:// on this machine. A POST for each message, the exact bytes as its body.";
    let url = field("deliver.http.url", "URL", hint).required();
    let secret = field("deliver.http.secret", "Secret", "Signs each request.")
        .look(Look::Secret)
        .required();
    let ca = field(
        "deliver.http.ca_file",
        "CA file",
        "Trusted besides the system’s.",
    );
    let hint = "An absolute path; made if it is missing.";
    let maildir = field("deliver.maildir", "Maildir", hint).required();
    let branches = vec![
        branch("command", "A command", vec![command, preset, directory]),
        branch("lmtp", "LMTP", vec![lmtp, to]),
        branch("http", "HTTP", vec![url, secret, ca]),
        branch("maildir", "A maildir", vec![maildir]),
    ];
    either("deliver", "Messages go to", "command", branches)
}

fn system(preset: Preset) -> &'static str {
    match preset {
        Preset::Command => "Any other",
        Preset::Znuny => "Znuny, OTRS",
        Preset::Rt => "Request Tracker",
        Preset::Zammad => "Zammad",
        Preset::Osticket => "osTicket",
        Preset::Redmine => "Redmine",
    }
}

fn after() -> Block {
    let branches = vec![
        branch("delete", "is deleted", Vec::new()),
        branch("seen", "is marked as seen", Vec::new()),
        branch("keep", "stays as it is", Vec::new()),
        branch(
            "move",
            "is moved",
            vec![
                field("after.move", "To the folder", "").required(),
                field("after.create", "Make the folder if it is missing", "").look(Look::Tick),
            ],
        ),
    ];
    either(
        "after",
        "A delivered message in the mailbox",
        "delete",
        branches,
    )
}

fn failed() -> Block {
    let branches = vec![
        branch("keep", "stays where it is", Vec::new()),
        branch(
            "move",
            "is moved",
            vec![
                field("failed.move", "To the folder", "").required(),
                field("failed.create", "Make the folder if it is missing", "").look(Look::Tick),
            ],
        ),
    ];
    either("failed", "A held message in the mailbox", "keep", branches)
}

fn bounces_to(offers: &Offers) -> Block {
    let mailbox = field("bounces_to.mailbox", "Mailbox", "")
        .look(Look::Choice(offers.mailboxes.clone()))
        .required();
    let address = field("bounces_to.address", "Address", "").required();
    let branches = vec![
        branch("", "is held and shown", Vec::new()),
        branch(
            "mailbox",
            "is reported to a mailbox’s ticket system",
            vec![mailbox],
        ),
        branch("address", "is reported to an address", vec![address]),
    ];
    either(
        "bounces_to",
        "A reply that cannot be delivered",
        "",
        branches,
    )
}

const MECHANISMS: [(&str, &str); 5] = [
    ("auto", "By what the server offers"),
    ("xoauth2", "XOAUTH2"),
    ("oauthbearer", "OAUTHBEARER"),
    ("plain", "PLAIN"),
    ("login", "LOGIN"),
];

fn sasl() -> Input {
    choice("sasl", "SASL mechanism", "", &MECHANISMS).value("auto")
}

fn ca_file() -> Input {
    field(
        "tls_ca_file",
        "CA file",
        "A PEM file trusted for this server besides the system’s.",
    )
}

fn mailbox_rest() -> Vec<Input> {
    vec![
        field(
            "watch",
            "Watch",
            "idle, or a duration between polls such as 1m. Default: idle.",
        ),
        field(
            "poll",
            "Poll",
            "With idle, a poll all the same. Default: 5m.",
        ),
        field(
            "start_from",
            "Start from",
            "What the first fetch takes: all, now, or a date such as 2026-01-31. Default: all.",
        ),
        field(
            "max_size",
            "Largest message",
            "A larger one is held with its headers. Default: 150MiB.",
        ),
        field(
            "max_undelivered",
            "Most undelivered",
            "With so many waiting, fetching pauses. Default: 500.",
        ),
        field(
            "rate",
            "Rate",
            "Messages a minute for the ticket system, such as 60/min. Default: no limit.",
        ),
        field(
            "deliver.timeout",
            "Delivery timeout",
            "A delivery that takes longer is ended and tried again. Default: 10m.",
        ),
        field(
            "deliver.concurrency",
            "Deliveries at a time",
            "1 keeps the order. Default: 1, and 8 for a maildir.",
        ),
        field(
            "held_for",
            "Held for",
            "How long the spool keeps the body of a held message. Default: 30d.",
        ),
        field(
            "max_held",
            "Most held",
            "So much held mail the spool keeps. Default: 1GiB.",
        ),
        field(
            "max_received",
            "Most Received fields",
            "A message with more goes round in a loop, and is held. Default: 50.",
        ),
        sasl(),
        ca_file(),
    ]
}

fn relay_rest() -> Vec<Input> {
    vec![
        field(
            "connections",
            "Connections",
            "At the same time. Default: the provider’s limit, else 3.",
        ),
        field(
            "rate",
            "Rate",
            "Messages a minute, such as 30/min. Default: the provider’s limit, else none.",
        ),
        field(
            "keep_trying",
            "Keep trying",
            "A reply that still cannot be sent then is reported, or held. Default: 5d.",
        ),
        sasl(),
        ca_file(),
    ]
}
