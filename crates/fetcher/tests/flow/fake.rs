//! A small IMAP server on loopback that keeps folders in memory, writes down what it is asked, and lies on demand.

mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};

use peer::Peer;

/// One message on the server.
#[derive(Clone, Default)]
pub(crate) struct Mail {
    pub(crate) bytes: Vec<u8>,
    pub(crate) flags: BTreeSet<String>,
    /// RFC822.SIZE as the server tells it, if not the truth.
    pub(crate) size: Option<usize>,
    /// INTERNALDATE.
    pub(crate) date: String,
    /// So many fetches answer with nothing in the body.
    pub(crate) empty: usize,
    /// So many fetches end after so many bytes.
    pub(crate) cut: Option<(usize, usize)>,
    /// X-GM-MSGID.
    pub(crate) gm: u64,
    /// Its body is refused with a NO.
    pub(crate) refused: bool,
    /// The connection is closed in the middle of its body.
    pub(crate) breaks: bool,
}

#[derive(Default)]
pub(crate) struct Folder {
    pub(crate) uidvalidity: u32,
    pub(crate) next: u32,
    pub(crate) mails: BTreeMap<u32, Mail>,
    pub(crate) read_only: bool,
    /// A special use, such as `\\Trash`.
    pub(crate) special: &'static str,
}

/// Before a command that begins so, this happens.
pub(crate) type Interference = (&'static str, fn(&mut State));

pub(crate) struct State {
    pub(crate) capabilities: String,
    pub(crate) folders: BTreeMap<String, Folder>,
    /// Commands since the start, without tags.
    pub(crate) log: Vec<String>,
    /// Commands that begin so are answered so (after the tag), that many times.
    pub(crate) refuse: Vec<(&'static str, &'static str, usize)>,
    /// Connections so far.
    pub(crate) connections: usize,
    /// Connections open now, and the most there were at once.
    pub(crate) open: usize,
    pub(crate) most_open: usize,
    /// A command that begins so is never answered; `GREETING` is the time before the first.
    pub(crate) hang: Option<&'static str>,
    /// HIGHESTMODSEQ of every folder, told where there is one.
    pub(crate) modseq: Option<u64>,
    /// What happens to the mailbox right before a command that begins so; once.
    pub(crate) before: Vec<Interference>,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// A server with an empty INBOX.
    pub(crate) fn start(capabilities: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            capabilities: if capabilities.starts_with("IMAP4") {
                capabilities.to_owned()
            } else {
                format!("IMAP4rev1 {capabilities}")
            },
            folders: BTreeMap::new(),
            log: Vec::new(),
            refuse: Vec::new(),
            connections: 0,
            open: 0,
            most_open: 0,
            hang: None,
            modseq: None,
            before: Vec::new(),
        };
        let fake = Self {
            port,
            state: Arc::new(Mutex::new(state)),
        };
        fake.add_folder("INBOX", 1000);
        let state = fake.state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = state.clone();
                {
                    let mut state = state.lock().unwrap();
                    state.connections += 1;
                    state.open += 1;
                    state.most_open = state.most_open.max(state.open);
                }
                std::thread::spawn(move || {
                    // A connection that ends is no failure of the server.
                    let _ = Peer::new(stream, state.clone()).and_then(|mut peer| peer.serve());
                    state.lock().unwrap().open -= 1;
                });
            }
        });
        fake
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn add_folder(&self, name: &str, uidvalidity: u32) {
        let folder = Folder {
            uidvalidity,
            next: 1,
            ..Folder::default()
        };
        self.state().folders.insert(name.to_owned(), folder);
    }

    /// Puts a message into INBOX; gives its UID.
    pub(crate) fn add(&self, bytes: &[u8]) -> u32 {
        self.add_mail(Mail {
            bytes: bytes.to_vec(),
            date: "01-Jan-2026 10:00:00 +0000".into(),
            ..Mail::default()
        })
    }

    pub(crate) fn add_mail(&self, mail: Mail) -> u32 {
        self.add_to("INBOX", mail)
    }

    pub(crate) fn add_to(&self, folder: &str, mail: Mail) -> u32 {
        let mut state = self.state();
        let folder = state.folders.get_mut(folder).unwrap();
        let uid = folder.next;
        folder.next += 1;
        folder.mails.insert(uid, mail);
        uid
    }

    /// Gives a folder another UIDVALIDITY, and each message another UID.
    pub(crate) fn renumber(&self, folder: &str, uidvalidity: u32) {
        let mut state = self.state();
        let folder = state.folders.get_mut(folder).unwrap();
        folder.uidvalidity = uidvalidity;
        folder.mails = std::mem::take(&mut folder.mails)
            .into_iter()
            .map(|(uid, mail)| (uid + 100, mail))
            .collect();
        folder.next += 100;
    }

    /// UIDs and flags in a folder.
    pub(crate) fn look(&self, folder: &str) -> Vec<(u32, Vec<String>)> {
        let state = self.state();
        let mails = state.folders[folder].mails.iter();
        mails
            .map(|(uid, mail)| (*uid, mail.flags.iter().cloned().collect()))
            .collect()
    }

    /// Commands that begin with one of these words.
    pub(crate) fn asked(&self, words: &[&str]) -> Vec<String> {
        let state = self.state();
        state
            .log
            .iter()
            .filter(|line| words.iter().any(|w| line.starts_with(w)))
            .cloned()
            .collect()
    }
}
