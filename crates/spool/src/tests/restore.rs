//! Mailboxes that change their UIDVALIDITY, come back from a backup, or give UIDs twice: known bytes are not delivered again, unknown
//! ones are, as often as they are there, and no acknowledgement hits another message.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;

type Content = Vec<u8>;

/// What a server keeps of a folder.
#[derive(Clone)]
struct Folder {
    uidvalidity: u32,
    next: u32,
    mails: BTreeMap<u32, Content>,
}

/// A folder, its backup, a ticket system that counts, and a session's way with the spool.
struct World {
    rng: Rng,
    bench: Bench,
    folder: Folder,
    backup: Folder,
    /// Taken in since UIDs last lost their meaning: how often each content.
    now: BTreeMap<Content, u32>,
    /// The most that was ever taken in of each between two such moments: so many tickets are right.
    most: BTreeMap<Content, u32>,
    tickets: BTreeMap<Content, u32>,
    serial: u32,
    /// The last UIDVALIDITY that was given; none is given twice.
    uidvalidity: u32,
    restores: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let folder = Folder {
            uidvalidity: 1,
            next: 1,
            mails: BTreeMap::new(),
        };
        Self {
            rng: Rng::with_seed(seed),
            bench: Bench::new(),
            backup: folder.clone(),
            folder,
            now: BTreeMap::new(),
            most: BTreeMap::new(),
            tickets: BTreeMap::new(),
            serial: 0,
            uidvalidity: 1,
            restores: 0,
        }
    }

    async fn step(&mut self) {
        match self.rng.u8(0..100) {
            0..35 => self.arrive(),
            35..55 => self.fetch(0.8).await,
            55..80 => self.deliver().await,
            80..87 => self.backup = self.folder.clone(),
            87..91 => self.renumber().await,
            91..96 => self.restore().await,
            96..98 => {
                let next = Bench::new();
                self.bench = std::mem::replace(&mut self.bench, next).reopen();
            }
            // All within the days in which old mail may still be put back.
            _ => self.bench.hands.pass(self.rng.u64(1..3_600)),
        }
    }

    /// One in four has the very bytes of another one, which may be long gone.
    fn arrive(&mut self) {
        let contents: Vec<&Content> = self.most.keys().collect();
        let twin = self.rng.u8(0..4) == 0 && !contents.is_empty();
        let content = if twin {
            contents[self.rng.usize(0..contents.len())].clone()
        } else {
            self.serial += 1;
            format!("Subject: {}\r\n\r\n", self.serial).into_bytes()
        };
        self.folder.mails.insert(self.folder.next, content);
        self.folder.next += self.rng.u32(1..3);
    }

    /// What a session does after SELECT.
    async fn select(&mut self) {
        let Folder {
            uidvalidity, next, ..
        } = self.folder;
        let spool = &self.bench.spool;
        let highest = spool.highest_uid("support", "INBOX", uidvalidity).unwrap();
        if highest.is_some_and(|highest| highest >= next) {
            spool
                .uids_reused("support", "INBOX", uidvalidity)
                .await
                .unwrap();
        }
    }

    async fn fetch(&mut self, go_on: f64) {
        let Folder { uidvalidity, .. } = self.folder;
        let uids: Vec<u32> = self.folder.mails.keys().copied().collect();
        let unknown = self
            .bench
            .spool
            .unknown("support", "INBOX", uidvalidity, &uids)
            .unwrap();
        for uid in unknown {
            let content = self.folder.mails[&uid].clone();
            self.bench.take_in(&key(uidvalidity, uid), &content).await;
            let now = self.now.entry(content.clone()).or_default();
            *now += 1;
            let most = self.most.entry(content).or_default();
            *most = (*most).max(*now);
            if self.rng.f64() > go_on {
                return;
            }
        }
        let spool = &self.bench.spool;
        spool
            .drop_stale("support", "INBOX", uidvalidity)
            .await
            .unwrap();
    }

    /// Delivers a few, and deletes what is delivered; by UID, as a session would.
    async fn deliver(&mut self) {
        let limit = self.rng.usize(1..6);
        let claims = self.bench.spool.claim_in("support", limit, LEASE).await;
        for claim in claims.unwrap() {
            let content = self.bench.read(claim.message).await;
            *self.tickets.entry(content).or_default() += 1;
            self.bench.settle(claim.delivery, delivered()).await;
        }
        let uidvalidity = self.folder.uidvalidity;
        let due = self
            .bench
            .spool
            .to_acknowledge("support", "INBOX", uidvalidity)
            .unwrap();
        for (message, uid) in &due {
            let meant = self.bench.read(*message).await;
            if let Some(deleted) = self.folder.mails.remove(uid) {
                assert_eq!(deleted, meant, "UID {uid} was another message's");
            }
        }
        let messages = due.into_iter().map(|(message, _)| message).collect();
        self.bench.spool.acknowledged(messages).await.unwrap();
    }

    /// The server lost its list of UIDs: the same mails, other numbers, another order.
    async fn renumber(&mut self) {
        let mut contents: Vec<_> = std::mem::take(&mut self.folder.mails)
            .into_values()
            .collect();
        self.rng.shuffle(&mut contents);
        self.uidvalidity += 1;
        self.folder = Folder {
            uidvalidity: self.uidvalidity,
            next: contents.len() as u32 + 1,
            mails: (1..).zip(contents).collect(),
        };
        self.now.clear();
        self.select().await;
    }

    /// The backup comes back: under a new UIDVALIDITY as it should be, or with all its numbers.
    async fn restore(&mut self) {
        self.restores += 1;
        self.folder = self.backup.clone();
        if self.rng.bool() {
            return self.renumber().await;
        }
        self.now.clear();
        // An earlier UIDVALIDITY comes back with its numbers, and its keys mean what they meant.
        self.select().await;
        self.recount();
    }

    /// What stands under the folder's keys already.
    fn recount(&mut self) {
        let database = self.bench.dir.path().join("spool.db");
        let conn = rusqlite::Connection::open(database).unwrap();
        let mut statement = conn
            .prepare("SELECT sha256, count(*) FROM seen WHERE uidvalidity = ? GROUP BY sha256")
            .unwrap();
        let counted: BTreeMap<Vec<u8>, u32> = statement
            .query_map([self.folder.uidvalidity], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap()
            .map(|row| row.unwrap())
            .collect();
        for content in self.most.keys() {
            if let Some(count) = counted.get(&sha(content)[..]) {
                self.now.insert(content.clone(), *count);
            }
        }
    }

    async fn check(&mut self) {
        self.fetch(1.0).await;
        for _ in 0..200 {
            self.deliver().await;
            self.fetch(1.0).await;
            if self.bench.spool.queue(None).unwrap().is_empty() {
                break;
            }
        }
        assert_eq!(self.bench.spool.queue(None).unwrap().len(), 0);
        assert_eq!(self.tickets, self.most);
        let here: Vec<u32> = self.folder.mails.keys().copied().collect();
        let uidvalidity = self.folder.uidvalidity;
        let unknown = self
            .bench
            .spool
            .unknown("support", "INBOX", uidvalidity, &here)
            .unwrap();
        assert_eq!(unknown, [], "nothing that is there was passed over");
    }
}

fn sha(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

#[tokio::test]
async fn whatever_becomes_of_a_mailbox_each_message_makes_as_many_tickets_as_there_were_of_it() {
    let mut restores = 0;
    for seed in 0..8 {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.step().await;
        }
        world.check().await;
        restores += world.restores;
    }
    assert!(restores > 20, "{restores}");
}

#[tokio::test]
async fn a_mailbox_that_goes_back_and_keeps_its_uidvalidity_loses_nothing_and_doubles_nothing() {
    let bench = Bench::new();
    for (uid, bytes) in [(1, b"backed up"), (2, b"never was")] {
        bench.take_in(&key(1, uid), bytes).await;
    }
    let claims = bench.claim_in().await;
    bench.settle(claims[0].delivery, delivered()).await;
    bench.settle(claims[1].delivery, delivered()).await;
    let acknowledge = || bench.spool.to_acknowledge("support", "INBOX", 1).unwrap();
    assert_eq!(acknowledge().len(), 2);
    // UIDNEXT is 2 again, and UID 2 is about to be another message.
    assert_eq!(
        bench.spool.highest_uid("support", "INBOX", 1).unwrap(),
        Some(2)
    );
    bench
        .spool
        .uids_reused("support", "INBOX", 1)
        .await
        .unwrap();
    assert_eq!(acknowledge(), [], "no UID of before is touched");
    assert_eq!(
        bench.spool.unknown("support", "INBOX", 1, &[1, 2]).unwrap(),
        [1, 2]
    );
    assert_eq!(bench.take_in(&key(1, 1), b"backed up").await, Taken::Known);
    assert!(matches!(
        bench.take_in(&key(1, 2), b"brand new").await,
        Taken::New(_)
    ));
    assert_eq!(acknowledge(), [(claims[0].message, 1)]);
    assert_eq!(
        bench.spool.drop_stale("support", "INBOX", 1).await.unwrap(),
        1
    );
    let fresh = bench.claim_in().await.remove(0);
    assert_eq!(bench.read(fresh.message).await, b"brand new");
    // Once more, with a claim in the hands of a command.
    bench
        .spool
        .uids_reused("support", "INBOX", 1)
        .await
        .unwrap();
    bench.settle(fresh.delivery, retry()).await;
    bench.hands.pass(100);
    assert_eq!(bench.claim_in().await.len(), 1);
}

#[tokio::test]
async fn the_very_bytes_of_an_old_message_are_a_new_one_once_nobody_puts_old_mail_back_any_more() {
    let bench = Bench::new();
    bench.take_in(&key(1, 1), b"alarm").await;
    bench.take_in(&key(1, 2), b"other").await;
    let whole = async |uidvalidity| {
        bench
            .spool
            .drop_stale("support", "INBOX", uidvalidity)
            .await
            .unwrap()
    };
    whole(1).await;
    bench.hands.pass(100 * 86_400);
    // A move to another server, with mail put back over some days.
    assert_eq!(bench.take_in(&key(2, 1), b"alarm").await, Taken::Known);
    whole(2).await;
    bench.hands.pass(6 * 86_400);
    whole(2).await;
    assert_eq!(bench.take_in(&key(2, 2), b"other").await, Taken::Known);
    bench.take_in(&key(1, 3), b"left behind").await;
    bench.hands.pass(2 * 86_400);
    assert!(
        matches!(
            bench.take_in(&key(2, 3), b"left behind").await,
            Taken::New(_)
        ),
        "it came long after"
    );
    // And back to the first server: its mail is known, though its time was long ago.
    assert_eq!(bench.take_in(&key(1, 7), b"alarm").await, Taken::Known);
}

#[tokio::test]
async fn a_maildrop_that_names_its_messages_anew_is_known_by_its_bytes_however_late() {
    let bench = Bench::new();
    let listed = async |names: [&str; 2]| {
        let named = |name: &str| Named {
            name: Some(name.as_bytes().to_vec()),
            left_out: false,
        };
        let listing = names.map(named).to_vec();
        let found = bench.spool.recognise_names("support", listing).await;
        found.unwrap().messages
    };
    for (numbered, bytes) in listed(["a", "b"]).await.iter().zip([b"one", b"two"]) {
        let key = Key::of_maildrop("support", numbered.uid);
        assert!(matches!(bench.take_in(&key, bytes).await, Taken::New(_)));
    }
    bench.spool.drop_stale("support", "INBOX", 0).await.unwrap();
    bench.hands.pass(100 * 86_400);
    bench.spool.drop_stale("support", "INBOX", 0).await.unwrap();
    for (numbered, bytes) in listed(["x", "y"]).await.iter().zip([b"one", b"two"]) {
        assert!(!numbered.known);
        let key = Key::of_maildrop("support", numbered.uid);
        assert_eq!(bench.take_in(&key, bytes).await, Taken::Known);
    }
}
