//! A seeded random walk over everything that touches a token, against an endpoint that rotates, loses answers and kills a family of
//! refresh tokens when a spent one returns: whatever happens, a refresh token that was delivered and lives is still ours.

use crate::support::Rig;
use oauth2::url::Url;
use std::collections::HashMap;
use std::time::Duration;
use token_store::{CallbackAnswer, Secret, SignIn, Tokens};

/// In the plain run, and with `POSTERN_TEST_LONG=1`.
const STEPS: usize = 5_000;
const LONG: usize = 100_000;
/// Token configs, each a client of its own.
const CONFIGS: [&str; 3] = ["a", "b", "c"];
const CALLBACK: &str = "http://localhost:8025/oauth2/callback";

/// The walk: the store under test, and what can be known from outside.
struct Walk {
    rig: Rig,
    luck: fastrand::Rng,
    /// For messages.
    step: usize,
    seed: u64,
    consents: usize,
    checked: usize,
}

#[tokio::test]
async fn no_walk_over_refreshes_edits_consents_and_crashes_loses_a_living_refresh_token_or_sends_a_spent_one()
 {
    let seed = std::env::var("POSTERN_TEST_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let long = std::env::var_os("POSTERN_TEST_LONG").is_some();
    println!("POSTERN_TEST_SEED={seed}");
    let mut walk = Walk::new(seed).await;
    for step in 0..if long { LONG } else { STEPS } {
        walk.step = step;
        let config = CONFIGS[walk.luck.usize(..CONFIGS.len())];
        walk.step(config).await;
        walk.check(config).await;
    }
    println!(
        "{} steps, {} times a living refresh token was to be held and was, {} consents after a loss nobody can help",
        walk.step + 1,
        walk.checked,
        walk.consents
    );
    assert!(walk.checked > walk.step / 2, "hardly anything was checked");
}

impl Walk {
    async fn new(seed: u64) -> Self {
        let rig = Rig::new().await;
        {
            let mut world = rig.endpoint.world();
            world.rotate = true;
            world.punish_reuse = true;
        }
        let walk = Self {
            rig,
            luck: fastrand::Rng::with_seed(seed),
            step: 0,
            seed,
            consents: 0,
            checked: 0,
        };
        for config in CONFIGS {
            walk.import(config, |_| {}).await;
            let planted = walk.rig.endpoint.world().plant();
            let seeded = walk.rig.tokens.seed(config, Secret::new(planted)).await;
            seeded.unwrap();
        }
        walk
    }

    /// Imports a config over itself, changed so.
    async fn import(&self, config: &str, change: impl FnOnce(&mut provider_template::Entry)) {
        let mut entry = self.rig.entry(config);
        entry.config.client_id = client(config);
        change(&mut entry);
        self.rig.import(entry).await;
    }

    /// A person signs in.
    async fn consent(&self, config: &str) {
        let tokens = &self.rig.tokens;
        let url = tokens.begin(config, CALLBACK, "s", SignIn::Anybody).await;
        let url = Url::parse(&url.unwrap()).unwrap();
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let code = self.rig.endpoint.world().code_for(&query["code_challenge"]);
        let answer = CallbackAnswer {
            state: Some(query["state"].clone()),
            code: Some(code),
            ..CallbackAnswer::default()
        };
        tokens.complete("s", answer).await.unwrap();
    }

    /// One random event.
    async fn step(&mut self, config: &str) {
        match self.luck.u8(0..12) {
            0 => drop(self.rig.tokens.refresh(config).await),
            1 => self.rejected_by_many(config).await,
            2 => self.consent(config).await,
            3 => {
                self.rig.endpoint.world().withhold_refresh = true;
                self.consent(config).await;
                self.rig.endpoint.world().withhold_refresh = false;
            }
            4 => self.refused(config).await,
            5 => {
                // The config goes to another client and comes back.
                self.import(config, |entry| entry.config.client_id = "another".into())
                    .await;
                self.import(config, |_| {}).await;
            }
            6 => {
                let scope = format!("mail {}", self.luck.u8(..));
                self.import(config, |entry| entry.config.scope = scope)
                    .await;
            }
            7 => {
                // A change of client while the answer is under way, and back.
                let refreshing = self.rig.tokens.refresh(config);
                let importing =
                    self.import(config, |entry| entry.config.client_id = "another".into());
                drop(tokio::join!(refreshing, importing));
                self.import(config, |_| {}).await;
            }
            8 => {
                // An asker that gives up; its flight goes on.
                let patience = Duration::from_micros(self.luck.u64(0..800));
                drop(tokio::time::timeout(patience, self.rig.tokens.refresh(config)).await);
                self.rig.tokens.land().await;
                self.rig.tokens = self.rig.beside();
            }
            9 => {
                self.import(config, |entry| entry.valid = false).await;
                drop(self.rig.tokens.refresh(config).await);
                self.import(config, |_| {}).await;
            }
            10 => self.crash(config).await,
            _ => {
                self.rig.endpoint.world().lose = 1;
                drop(self.rig.tokens.refresh(config).await);
                self.rig.endpoint.world().lose = 0;
            }
        }
    }

    /// A mail server refuses the token; many sessions find out at once.
    async fn rejected_by_many(&mut self, config: &str) {
        let Ok(token) = self.rig.tokens.access(config).await else {
            return;
        };
        self.rig.tokens.rejected(&token).await.unwrap();
        let before = self.rig.endpoint.count();
        let asks = (0..20).map(|_| self.rig.tokens.access(config));
        futures_util::future::join_all(asks).await;
        let requests = self.rig.endpoint.count() - before;
        assert!(requests <= 1, "{}: {requests} requests", self.place());
    }

    /// The endpoint talks nonsense, or refuses though the token lives.
    async fn refused(&mut self, config: &str) {
        let answers = [
            (400, r#"{"error":"invalid_grant"}"#),
            (401, r#"{"error":"invalid_client"}"#),
            (200, "<html>"),
            (503, ""),
            (200, r#"{"access_token":""}"#),
        ];
        let (status, body) = answers[self.luck.usize(0..answers.len())];
        let canned = (status, String::new(), body.to_owned());
        self.rig.endpoint.world().canned.push_back(canned);
        let answer = self.rig.tokens.refresh(config).await;
        self.rig.endpoint.world().canned.clear();
        assert!(answer.is_err(), "{}", self.place());
    }

    /// A process dies somewhere between its request and its commit.
    async fn crash(&mut self, config: &str) {
        let (tokens, moment): (Tokens, _) = (
            self.rig.beside(),
            Duration::from_micros(self.luck.u64(0..4000)),
        );
        let name = config.to_owned();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let task = runtime.spawn(async move { tokens.refresh(&*name).await });
        let ended = tokio::time::timeout(moment, task).await.is_ok();
        // What it was doing ends where it is; its files and locks are closed.
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(5)))
            .await
            .unwrap();
        self.rig.tokens = self.rig.beside();
        if !ended {
            // Whether the answer was kept nobody knows from outside; with a provider like this one only consent helps.
            self.rig.endpoint.world().forget_deliveries(&client(config));
        }
    }

    /// What was delivered and lives must be held: it refreshes. Else a person helps, and the walk goes on.
    async fn check(&mut self, config: &str) {
        let must = {
            let world = self.rig.endpoint.world();
            let delivered = world.delivered.get(&client(config));
            delivered.is_some_and(|token| world.living.contains(token))
        };
        let held = self.rig.tokens.refresh(config).await;
        let again = std::mem::take(&mut self.rig.endpoint.world().presented_again);
        assert!(again.is_empty(), "{}: sent again: {again:?}", self.place());
        if must {
            assert!(held.is_ok(), "{}: {held:?}", self.place());
            self.checked += 1;
        } else if held.is_err() {
            self.consent(config).await;
            self.consents += 1;
        }
    }

    fn place(&self) -> String {
        format!("POSTERN_TEST_SEED={}, step {}", self.seed, self.step)
    }
}

fn client(config: &str) -> String {
    format!("client-{config}")
}
