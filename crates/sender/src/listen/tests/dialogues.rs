//! Random dialogues, right and wrong, cut anywhere: each reply is one that the model allows, and in the spool is what it says.
use super::model::{House, Message, Model, PASSWORD, PLAIN, USER};
use super::scripted::{cut, replies, shared_by};
use super::*;

/// Dialogues at a time: their commits share a sync.
const TOGETHER: u64 = 50;
/// Dialogues in one spool, so that it stays small.
const IN_ONE_SPOOL: u64 = 2_000;
/// Small, so that dialogues often go beyond it.
const LIMIT: u16 = 600;

const LINES: [&str; 55] = [
    "EHLO client.example",
    "ehlo [127.0.0.1]",
    "HELO old.example",
    "EHLO",
    "MAIL FROM:<a@helpdesk.example>",
    "mail from:<Desk@HELPDESK.example> size=100 body=8bitmime",
    "MAIL FROM:<a@helpdesk.example> RET=HDRS ENVID=q+2b1",
    "MAIL FROM:<a@helpdesk.example> SMTPUTF8 RET=FULL",
    "MAIL FROM:<jörg@münchen.example> SMTPUTF8",
    "MAIL FROM:<jörg@münchen.example>",
    "MAIL FROM:<>",
    "MAIL FROM: <x@elsewhere.example>",
    "MAIL FROM:<a@helpdesk.example> SIZE=601",
    "MAIL FROM:<a@helpdesk.example> SIZE=99999999999999999999",
    "MAIL FROM:<a@helpdesk.example> SIZE=1k",
    "MAIL FROM:<a@helpdesk.example> BODY=BINARYMIME",
    "MAIL FROM:<a@helpdesk.example> RET=FULL RET=FULL",
    "MAIL FROM:<a@helpdesk.example> ENVID=+0A",
    "MAIL FROM:<a@helpdesk.example> NOTIFY=NEVER",
    "MAIL FROM:<a..b@helpdesk.example>",
    "MAIL FROM:a@helpdesk.example",
    "MAIL",
    "RCPT TO:<b.TAG@example.org>",
    "RCPT TO:<c.TAG@example.org> NOTIFY=SUCCESS,DELAY",
    "RCPT TO:<c.TAG@example.org> NOTIFY=NEVER",
    "rcpt to:<d.TAG@example.org> ORCPT=rfc822;old+2bd@example.org notify=failure",
    "RCPT TO:<b.TAG@example.org> ORCPT=rfc822;b@example.org",
    "RCPT TO:<jörg.TAG@example.org>",
    "RCPT TO:<e.TAG@example.org> NOTIFY=NEVER,DELAY",
    "RCPT TO:<e.TAG@example.org> ORCPT=e@example.org",
    "RCPT TO:<e.TAG@example.org> RET=FULL",
    "RCPT TO:<e.TAG@>",
    "RCPT TO:<>",
    "RCPT TO:<postmaster>",
    "RCPT",
    "DATA",
    "DATA now",
    "RSET",
    "RSET x",
    "NOOP",
    "NOOP anything",
    "VRFY b",
    "HELP",
    "EXPN list",
    "STARTTLS",
    "MAIL FROM:<a@helpdesk.example> AUTH=<>",
    "AUTH PLAIN",
    "ETRN x",
    "GET / HTTP/1.1",
    "BDAT 0",
    "BDAT 0 LAST",
    "BDAT",
    ".",
    "",
    "..",
];

const TEXTS: [&str; 14] = [
    "Subject: x\r\n\r\nbody\r\n",
    "From: a@helpdesk.example\r\n\r\nbody\r\n",
    "From: b@elsewhere.example\r\nSubject: x\r\n\r\nbody\r\n",
    "Subject: grün\r\n\r\nplain\r\n",
    "Subject: x\r\n\r\ngrün\r\n",
    "Subject: x\r\n\r\n..two\r\n...three\r\n",
    "Subject: x\r\n\r\nno end",
    "Subject: x\r\n\r\none\n.\nMAIL FROM:<evil@helpdesk.example>\r\n",
    "Subject: x\r\n\r\none\r.\rtwo\r\n",
    "Subject: x\r\n\r\n\0\r\n",
    "just text\r\n",
    "MAIL FROM:<evil@helpdesk.example>\r\nRCPT TO:<v.TAG@example.org>\r\nDATA\r\n",
    "\r",
    "",
];

/// Puts a dialogue together.
struct Writer {
    luck: fastrand::Rng,
    stream: Vec<u8>,
}

impl Writer {
    /// All that a client says, with a tag in its recipients that no other dialogue has.
    fn dialogue(seed: u64) -> Vec<u8> {
        let mut writer = Self {
            luck: fastrand::Rng::with_seed(seed),
            stream: Vec::new(),
        };
        if writer.luck.u8(..10) > 0 {
            writer.line("EHLO client.example");
        }
        if writer.luck.bool() {
            writer.sign_in();
        }
        for _ in 0..writer.luck.u8(1..12) {
            writer.step();
        }
        if writer.luck.bool() {
            writer.line("QUIT");
            writer.step();
        }
        // A wrong password costs a second each, by design; they have tests of their own.
        let signs_in = memchr::memmem::find(&writer.stream, b"AUTH").is_some();
        if !signs_in && writer.luck.u8(..3) == 0 {
            writer.spoil();
        }
        let text = memchr::memmem::find_iter(&writer.stream, "TAG").collect::<Vec<_>>();
        let mut stream = Vec::new();
        let mut from = 0;
        for at in text {
            stream.extend_from_slice(&writer.stream[from..at]);
            // As long as the word it replaces, for the chunks' sake.
            stream.extend_from_slice(tag(seed).as_bytes());
            from = at + 3;
        }
        stream.extend_from_slice(&writer.stream[from..]);
        stream
    }

    fn line(&mut self, line: &str) {
        self.stream.extend_from_slice(line.as_bytes());
        self.stream.extend_from_slice(b"\r\n");
    }

    fn step(&mut self) {
        match self.luck.u8(..11) {
            0..4 => self.whole(),
            4..8 => {
                let line = LINES[self.luck.usize(..LINES.len())];
                self.line(line);
                if line == "DATA" {
                    self.text();
                }
            }
            8 => self.chunk(),
            9 => self.sign_in(),
            _ => self.noise(),
        }
    }

    /// Right, half-way, or not at all.
    fn sign_in(&mut self) {
        let ways: [&[&str]; 9] = [
            &["AUTH PLAIN", PLAIN],
            &["AUTH PLAIN", "*"],
            &["AUTH PLAIN !"],
            &["AUTH LOGIN", USER, PASSWORD],
            &["AUTH LOGIN", USER, "*"],
            &["AUTH LOGIN", "!"],
            &["AUTH CRAM-MD5"],
            &["AUTH"],
            &["auth plain AHpudW55AHNlY3JldC13b3Jk"],
        ];
        // Half of them with success.
        let way = match self.luck.bool() {
            true => ways[8],
            false => ways[self.luck.usize(..ways.len())],
        };
        for line in way {
            self.line(line);
        }
    }

    /// A transaction as a client means it.
    fn whole(&mut self) {
        let mail = LINES[self.luck.usize(4..12)];
        self.line(mail);
        for _ in 0..self.luck.u8(1..4) {
            let recipient = LINES[self.luck.usize(22..28)];
            self.line(recipient);
        }
        if self.luck.bool() {
            self.line("DATA");
            return self.text();
        }
        for _ in 0..self.luck.u8(..3) {
            self.chunk();
        }
        self.line("BDAT 0 LAST");
    }

    fn any_text(&mut self) -> String {
        let text = TEXTS[self.luck.usize(..TEXTS.len())].to_owned();
        match self.luck.u8(..8) {
            // Around the limit, and far beyond it.
            0 => text + &"long\r\n".repeat(self.luck.usize(90..110)),
            1 => text + &"x".repeat(usize::from(LIMIT) * 2) + "\r\n",
            _ => text,
        }
    }

    fn text(&mut self) {
        let text = self.any_text();
        let stuffed = match self.luck.u8(..8) {
            0 => text,
            _ => text.replace("\r\n.", "\r\n.."),
        };
        self.stream.extend_from_slice(stuffed.as_bytes());
        let ends = [
            "\r\n.\r\n",
            "\r\n.\r\n",
            ".\r\n",
            "\n.\n",
            "\r.\r",
            "\n.\r\n",
            "\r\n.\n",
        ];
        let end = match stuffed.ends_with("\r\n") && self.luck.u8(..4) > 0 {
            true => ".\r\n",
            false => ends[self.luck.usize(..ends.len())],
        };
        self.stream.extend_from_slice(end.as_bytes());
        if self.luck.u8(..4) > 0 {
            self.stream.extend_from_slice(b"\r\n.\r\n");
        }
    }

    fn chunk(&mut self) {
        let text = self.any_text();
        let octets = match self.luck.u8(..10) {
            0 => text.len() + self.luck.usize(1..5),
            1 => text.len().saturating_sub(self.luck.usize(1..5)),
            _ => text.len(),
        };
        let last = [" LAST", "", " last", " LAST now"][self.luck.usize(..4)];
        self.line(&format!("BDAT {octets}{last}"));
        self.stream.extend_from_slice(text.as_bytes());
    }

    fn noise(&mut self) {
        let size = match self.luck.u8(..5) {
            0 => self.luck.usize(2_040..2_060),
            _ => self.luck.usize(..20),
        };
        let bytes: Vec<u8> = match self.luck.bool() {
            true => vec![b'n'; size],
            false => (0..size).map(|_| self.luck.u8(..)).collect(),
        };
        self.stream.extend_from_slice(&bytes);
        let ends = ["\r\n", "\r\n", "\n", "\r", "\r\r\n"];
        self.stream
            .extend_from_slice(ends[self.luck.usize(..ends.len())].as_bytes());
    }

    /// Damages what stands there, a byte at a time.
    fn spoil(&mut self) {
        for _ in 0..self.luck.u8(1..4) {
            let at = self.luck.usize(..self.stream.len());
            let byte = b"\r\n. \0<>:A"[self.luck.usize(..9)];
            match self.luck.u8(..4) {
                0 => self.stream.truncate(at.max(1)),
                1 => drop(self.stream.remove(at)),
                2 => self.stream.insert(at, byte),
                _ => self.stream[at] = byte,
            }
            if self.stream.is_empty() {
                self.stream.push(byte);
            }
        }
    }
}

/// Three characters, one of 46,656 in turn.
fn tag(seed: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    [seed / 1296, seed / 36, seed]
        .map(|n| char::from(DIGITS[usize::try_from(n % 36).expect("a digit")]))
        .iter()
        .collect()
}

/// How a stream reaches the server: in one piece, byte by byte, line by line, or at random.
fn packets(stream: &[u8], luck: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    match luck.u8(..6) {
        0 => cut(stream, []),
        1 => cut(stream, 0..stream.len()),
        2 => cut(stream, memchr::memchr_iter(b'\n', stream).map(|at| at + 1)),
        _ => {
            let mut places: Vec<usize> = (0..luck.usize(1..12))
                .map(|_| luck.usize(..=stream.len()))
                .collect();
            places.sort_unstable();
            cut(stream, places)
        }
    }
}

/// The kinds of listeners, the most usual more than once.
async fn desks(folder: &tempfile::TempDir, spool: &Spool) -> Vec<(Arc<Shared>, House)> {
    let users = post(folder, spool.clone()).users;
    let password = Secret::new("secret-word");
    let set = users.set_submitter("znuny", password, None).await;
    set.expect("a user");
    let house = House {
        max_size: LIMIT.into(),
        bare_newlines: BareNewlines::Refuse,
        sign_in: false,
        starttls: false,
        public: false,
    };
    let (starttls, sign_in, public) = (true, true, true);
    let bare_newlines = BareNewlines::Repair;
    let houses = [
        house,
        house,
        House {
            bare_newlines,
            ..house
        },
        House { starttls, ..house },
        House { sign_in, ..house },
        House { sign_in, ..house },
        House {
            sign_in,
            starttls,
            public,
            ..house
        },
    ];
    let certificates = tls::Files::new();
    let desk = |house: House| {
        let rules = Rules {
            max_size: LIMIT.into(),
            bare_newlines: house.bare_newlines,
        };
        let tls = match house.starttls {
            true => door::Offer::Starttls(certificates.certificate()),
            false => door::Offer::None,
        };
        let door = Door {
            tls,
            is_public: house.public,
            sign_in: house.sign_in,
        };
        let users = house.sign_in.then(|| users.clone());
        (shared_by(spool, rules, door, users), house)
    };
    houses.map(desk).into()
}

/// One dialogue; what of it must be in the spool.
async fn dialogue(seed: u64, (shared, house): (Arc<Shared>, House)) -> Vec<Message> {
    let stream = Writer::dialogue(seed);
    let mut luck = fastrand::Rng::with_seed(seed);
    let heard = replies(&shared, packets(&stream, &mut luck)).await;
    let shown = format!("dialogue {seed}: {}\n{heard:#?}", stream.escape_ascii());
    let model = Model::new(&stream, heard, house);
    let judged = std::panic::catch_unwind(|| model.judge());
    judged.unwrap_or_else(|_| panic!("{shown}"))
}

/// What the dialogues have left in the spool since the last look.
async fn spooled(spool: &Spool) -> Vec<Message> {
    let hours = Duration::from_secs(24 * 3600);
    let claims = spool.claim_out("support", 100_000, hours).await;
    let mut found = Vec::new();
    for claim in claims.expect("claims") {
        let (_, text) = text_of(spool, &claim).await;
        let recipients: Vec<_> = claim
            .recipients
            .into_iter()
            .map(|r| (r.address, r.notify.map(|n| n.to_string()), r.orcpt))
            .collect();
        found.push(Message {
            sender: claim.sender,
            recipients,
            text: String::from_utf8_lossy(&text).into_owned(),
            ret: claim.ret.map(|ret| ret.as_str().to_owned()),
            envid: claim.envid,
            eight_bit: claim.eight_bit,
            smtputf8: claim.smtputf8,
        });
    }
    found.sort();
    found
}

/// Shows no more than the difference.
fn assert_same(found: &[Message], expected: &[Message], seed: u64) {
    let without = |some: &[Message], others: &[Message]| -> Vec<Message> {
        let more = |one: &&Message| {
            let count = |all: &[Message]| all.iter().filter(|other| other == one).count();
            count(some) > count(others)
        };
        some.iter().filter(more).cloned().collect()
    };
    assert_eq!(
        without(found, expected),
        without(expected, found),
        "of the dialogues before {seed}"
    );
}

/// `POSTERN_TEST_LONG=1` has 100,000 of them; `POSTERN_TEST_SEED` begins elsewhere.
#[tokio::test]
async fn random_dialogues_are_answered_and_stored_as_the_model_says() {
    let long = std::env::var_os("POSTERN_TEST_LONG").is_some();
    let count: u64 = if long { 100_000 } else { 2_000 };
    let begin = std::env::var("POSTERN_TEST_SEED").ok();
    let begin: u64 = begin.and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let (mut seed, mut taken) = (begin, 0);
    while seed < begin + count {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path()).expect("a spool");
        let desks = desks(&folder, &spool).await;
        for _ in 0..IN_ONE_SPOOL / TOGETHER {
            let mut dialogues = JoinSet::new();
            for _ in 0..TOGETHER {
                let desk = &desks[usize::try_from(seed).expect("a seed") % desks.len()];
                dialogues.spawn(dialogue(seed, desk.clone()));
                seed += 1;
            }
            let mut expected = Vec::new();
            while let Some(ended) = dialogues.join_next().await {
                expected.extend(ended.expect("the dialogue is as the model says"));
            }
            taken += expected.len();
            expected.sort();
            assert_same(&spooled(&spool).await, &expected, seed);
        }
        spool.close().await;
    }
    // The dialogues would prove little if the listener took none of them.
    assert!(
        taken as u64 > count / 4,
        "{taken} messages of {count} dialogues"
    );
}
