//! Random operations, restarts, kills and power cuts against a plain model: nothing lost, nothing
//! doubled but what was inside a named window.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;

type Content = Vec<u8>;

/// A mailbox, a ticket system and a relay that remember everything, around a real spool.
struct World {
    rng: Rng,
    bench: Bench,
    /// `after: keep`, with twins; else `after: delete`. A twin that was never fetched cannot be told
    /// from one that was delivered and deleted, once both have lost their UIDs.
    keeps: bool,
    uidvalidity: u32,
    next_uid: u32,
    mailbox: BTreeMap<u32, Content>,
    /// How often each content ever arrived in the mailbox.
    arrived: BTreeMap<Content, u32>,
    /// How often the ticket system took each.
    tickets: BTreeMap<Content, u32>,
    /// Kills between the ticket command's exit and the commit, per content.
    in_window: BTreeMap<Content, u32>,
    /// Accepted replies: per (content, recipient), how often the relay took it and may have more
    /// than once.
    replies: BTreeMap<(Content, String), (u32, u32)>,
    serial: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            bench: Bench::new(),
            keeps: seed % 2 == 1,
            uidvalidity: 1,
            next_uid: 1,
            mailbox: BTreeMap::new(),
            arrived: BTreeMap::new(),
            tickets: BTreeMap::new(),
            in_window: BTreeMap::new(),
            replies: BTreeMap::new(),
            serial: 0,
        }
    }

    async fn step(&mut self) {
        match self.rng.u32(0..100) {
            0..20 => self.arrive(),
            20..35 => self.fetch(0.8).await,
            35..55 => self.deliver(0.9).await,
            55..65 => self.acknowledge(0.9).await,
            65..75 => self.reply().await,
            75..88 => self.relay(0.9).await,
            88..90 => self.change_uidvalidity(),
            90..92 => drop(self.bench.spool.retry(None).await.unwrap()),
            92..94 => self.restart(),
            94..96 => self.kill(false),
            96..98 => self.kill(true),
            _ => self.bench.hands.pass(self.rng.u64(1..7_200)),
        }
        self.nothing_is_lost();
    }

    /// One in four is a twin of a mail that is in the mailbox, one in eight is large.
    fn arrive(&mut self) {
        self.serial += 1;
        let twin = self.keeps && self.rng.u8(0..4) == 0 && !self.mailbox.is_empty();
        let content = if twin {
            let at = self.rng.usize(0..self.mailbox.len());
            self.mailbox.values().nth(at).unwrap().clone()
        } else {
            self.content()
        };
        *self.arrived.entry(content.clone()).or_default() += 1;
        self.mailbox.insert(self.next_uid, content);
        self.next_uid += self.rng.u32(1..4);
    }

    fn content(&mut self) -> Content {
        let mut content = format!("Subject: {}\r\n\r\n", self.serial).into_bytes();
        if self.rng.u8(0..8) == 0 {
            content.resize(300_000, self.serial as u8);
        }
        content
    }

    fn key(&self, uid: u32) -> Key {
        key(self.uidvalidity, uid)
    }

    /// Fetches what is unknown; with some chance the session ends after each message.
    async fn fetch(&mut self, go_on: f64) {
        let uids: Vec<u32> = self.mailbox.keys().copied().collect();
        let unknown = self
            .bench
            .spool
            .unknown("support", "INBOX", self.uidvalidity, &uids)
            .unwrap();
        for uid in unknown {
            let content = self.mailbox[&uid].clone();
            self.bench.take_in(&self.key(uid), &content).await;
            if self.rng.f64() > go_on {
                return;
            }
        }
        self.bench
            .spool
            .drop_stale("support", "INBOX", self.uidvalidity)
            .await
            .unwrap();
    }

    /// Claims a few, hands them over, and settles; with some chance the process is killed after the
    /// command took it and before that is recorded.
    async fn deliver(&mut self, live: f64) {
        let claims = self
            .bench
            .spool
            .claim_in("support", self.rng.usize(1..5), LEASE)
            .await
            .unwrap();
        for claim in claims {
            let content = self.bench.read(claim.message).await;
            assert_eq!(
                sha(&content),
                claim.sha256,
                "what is delivered is what was fetched"
            );
            let outcome = self.outcome();
            if outcome == delivered() {
                *self.tickets.entry(content.clone()).or_default() += 1;
                if self.rng.f64() > live {
                    *self.in_window.entry(content).or_default() += 1;
                    self.kill(false);
                    return;
                }
            }
            self.bench.settle(claim.delivery, outcome).await;
        }
    }

    fn outcome(&mut self) -> Outcome {
        match self.rng.u8(0..10) {
            0 => retry(),
            1 => refused(),
            2 => blocked(),
            _ => delivered(),
        }
    }

    /// Deletes or keeps in the mailbox what is delivered; may be killed before that is recorded.
    async fn acknowledge(&mut self, live: f64) {
        let waiting = self
            .bench
            .spool
            .to_acknowledge("support", "INBOX", self.uidvalidity)
            .unwrap();
        if !self.keeps {
            for (_, uid) in &waiting {
                self.mailbox.remove(uid);
            }
        }
        if self.rng.f64() > live {
            return self.kill(false);
        }
        let messages = waiting.into_iter().map(|(message, _)| message).collect();
        self.bench.spool.acknowledged(messages).await.unwrap();
    }

    async fn reply(&mut self) {
        self.serial += 1;
        let content = self.content();
        let recipients = ["a@x.example", "b@x.example", "c@x.example"];
        let recipients = &recipients[..self.rng.usize(1..4)];
        self.bench.take_out("relay", recipients, &content).await;
        for recipient in recipients {
            self.replies
                .insert((content.clone(), (*recipient).to_owned()), (0, 0));
        }
    }

    async fn relay(&mut self, live: f64) {
        for claim in self.bench.spool.claim_out("relay", 3, LEASE).await.unwrap() {
            let content = self.bench.read(claim.message).await;
            assert_eq!(
                sha(&content),
                claim.sha256,
                "what is sent is what was accepted"
            );
            for recipient in claim.recipients {
                let reply = self
                    .replies
                    .get_mut(&(content.clone(), recipient.address))
                    .unwrap();
                let outcome = match self.rng.u8(0..12) {
                    0 => retry(),
                    1 => refused(),
                    2 => blocked(),
                    3 => {
                        // The relay took it, or not, and nobody knows.
                        reply.0 += u32::from(self.rng.bool());
                        reply.1 += 1;
                        in_doubt()
                    }
                    _ => {
                        reply.0 += 1;
                        if self.rng.f64() > live {
                            reply.1 += 1;
                            return self.kill(false);
                        }
                        delivered()
                    }
                };
                self.bench.settle(recipient.delivery, outcome).await;
            }
        }
    }

    /// The same mails under new numbers, in another order.
    fn change_uidvalidity(&mut self) {
        self.uidvalidity += 1;
        let mut contents: Vec<_> = std::mem::take(&mut self.mailbox).into_values().collect();
        self.rng.shuffle(&mut contents);
        self.mailbox = (1..).zip(contents).collect();
        self.next_uid = self.mailbox.len() as u32 + 1;
    }

    fn restart(&mut self) {
        let next = Bench::new();
        self.bench = std::mem::replace(&mut self.bench, next).reopen();
    }

    /// The process is gone. A power cut also tears bodies that nobody waited for.
    fn kill(&mut self, power_cut: bool) {
        let dir = copy(self.bench.dir.path());
        if power_cut {
            self.tear(dir.path());
        }
        let hands = self.bench.hands.clone();
        let spool = Spool::open_at(dir.path(), hands.clock()).unwrap();
        self.bench = Bench { dir, hands, spool };
    }

    fn tear(&mut self, dir: &Path) {
        let conn = rusqlite::Connection::open(dir.join("spool.db")).unwrap();
        let mut statement = conn
            .prepare("SELECT file FROM message WHERE file IS NOT NULL AND NOT durable")
            .unwrap();
        let files: Vec<String> = statement
            .query_map((), |row| row.get(0))
            .unwrap()
            .map(|file| file.unwrap())
            .collect();
        for file in files {
            let path = dir.join("spool").join(file);
            match self.rng.u8(0..4) {
                0 => std::fs::write(path, vec![0; 300_000]).unwrap(),
                1 => std::fs::write(path, b"begun").unwrap(),
                2 => std::fs::remove_file(path).unwrap(),
                _ => {}
            }
        }
    }

    /// What left the mailbox was taken by the ticket system as often as it left.
    fn nothing_is_lost(&self) {
        let (recount, kept) = super::tally::recounted(self.bench.dir.path());
        assert_eq!(recount, kept, "the backlog");
        let mut here: BTreeMap<&Content, u32> = BTreeMap::new();
        for content in self.mailbox.values() {
            *here.entry(content).or_default() += 1;
        }
        for (content, arrived) in &self.arrived {
            let left = arrived - here.get(content).copied().unwrap_or_default();
            let tickets = self.tickets.get(content).copied().unwrap_or_default();
            assert!(tickets >= left, "lost: {} left, {tickets} tickets", left);
        }
    }

    /// Works off everything, with people retrying what is held.
    async fn drain(&mut self) {
        for _ in 0..500 {
            self.fetch(1.0).await;
            self.deliver(1.0).await;
            self.acknowledge(1.0).await;
            self.relay(1.0).await;
            let worked_off = self.bench.spool.queue(None).unwrap().is_empty();
            if worked_off && (self.keeps || self.mailbox.is_empty()) {
                return;
            }
            self.bench.hands.pass(3_600);
            self.bench.spool.retry(None).await.unwrap();
        }
        panic!(
            "{} mails left, and {:#?}",
            self.mailbox.len(),
            self.bench.spool.queue(None).unwrap()
        );
    }

    fn check(&self) {
        for (content, arrived) in &self.arrived {
            let tickets = self.tickets.get(content).copied().unwrap_or_default();
            let window = self.in_window.get(content).copied().unwrap_or_default();
            assert!(
                (*arrived..=arrived + window).contains(&tickets),
                "{arrived} arrived, {tickets} tickets, {window} kills in the window"
            );
        }
        for ((_, recipient), (taken, window)) in &self.replies {
            assert!(
                (1..=1 + window).contains(taken) || (*taken == 0 && *window > 0),
                "{recipient}: taken {taken} times, {window} in the window"
            );
        }
        let (recount, kept) = super::tally::recounted(self.bench.dir.path());
        assert_eq!(recount, kept, "the backlog");
        assert!(
            self.bench.files().is_empty() || self.bench.count("SELECT count(*) FROM message") == 0
        );
    }
}

async fn live_through(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.step().await;
        }
        world.drain().await;
        world.check();
    }
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_whatever_happens_when_mail_is_deleted_after_delivery() {
    live_through((0..8).step_by(2)).await;
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_whatever_happens_when_mail_stays_in_its_folder() {
    live_through((1..8).step_by(2)).await;
}

fn sha(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}
