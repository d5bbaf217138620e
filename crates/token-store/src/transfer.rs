//! Token configs, and tokens where asked for, on their way between installations: export and import.

pub mod sealed;

use crate::configs::{fingerprint, store_config};
use crate::state::{Refresh, State};
use crate::store::Rows;
use crate::{Imported, Secret, Store, StoreError, TokenConfig, TokenId, now};
use provider_template::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// What is carried over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parcel {
    /// Token configs.
    pub entries: Vec<Entry>,
    /// Refresh tokens of these, or of token configs that are there already.
    pub tokens: Vec<Carried>,
}

/// A refresh token on its way. The access token stays behind: a new one is had with this.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// Whose it is.
    pub id: TokenId,
    /// The refresh token.
    pub refresh_token: Secret,
    /// When it was given, in milliseconds since 1970.
    pub obtained_at: Option<i64>,
    /// When it ends, in milliseconds since 1970; `None`: not known.
    pub expires_at: Option<i64>,
    /// Who signed in, as far as the provider told.
    pub identity: Option<String>,
}

/// What became of a token that came along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrived {
    /// There was none before.
    Taken,
    /// It took the place of another, which is kept aside.
    Replaced,
    /// It was the same already.
    Same,
    /// Its token config, or its present token, was left alone.
    LeftAlone,
    /// The present token works and was had later: that one stays, also where overwriting was asked for.
    Older,
}

/// What an import did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Per token config, in the document's order.
    pub entries: Vec<(String, Imported)>,
    /// Per token, in the document's order.
    pub tokens: Vec<(TokenId, Arrived)>,
}

impl Arrivals {
    /// The token configs that are not what they were, or whose token is not.
    #[must_use]
    pub fn changed(&self) -> BTreeSet<String> {
        let entries = self.entries.iter();
        let entries = entries
            .filter(|(_, done)| matches!(done, Imported::Added | Imported::Changed))
            .map(|(name, _)| name.clone());
        let tokens = self.tokens.iter();
        let tokens = tokens
            .filter(|(_, done)| matches!(done, Arrived::Taken | Arrived::Replaced))
            .map(|(id, _)| id.config.clone());
        entries.chain(tokens).collect()
    }
}

/// The name that an export has, here as elsewhere.
#[must_use]
pub fn file_name(now: jiff::Timestamp) -> String {
    now.strftime("PosternTokenConfigs_%Y%m%d_%H%M%S.yml")
        .to_string()
}

impl Store {
    /// Takes entries in, all or nothing; says per entry what was done. Without `overwrite`, entries whose name exists
    /// are left alone. An overwritten one keeps its token if client and endpoints are the same.
    ///
    /// # Errors
    /// As [`Store::take_in`].
    pub async fn import(
        &self,
        entries: Vec<Entry>,
        overwrite: bool,
    ) -> Result<Vec<(String, Imported)>, StoreError> {
        let parcel = Parcel {
            entries,
            tokens: Vec::new(),
        };
        Ok(self.take_in(parcel, overwrite, false).await?.entries)
    }

    /// Takes token configs and tokens in, all or nothing; says of each what was done, or with `try_only` would be done. Without
    /// `overwrite`, token configs whose name exists are left alone, and so are refresh tokens that are there; with it, those that
    /// lose their place are kept aside. One that works never gives way to an older one: with a provider that rotates, the older has been
    /// used up, and using it again would end the whole grant.
    ///
    /// # Errors
    /// A name twice in the document, an empty name, an address that carries secrets in clear, a change to what a file declares, another
    /// template than the one the token config was made from, a token without a token config, or one that its flow has no use for.
    pub async fn take_in(
        &self,
        parcel: Parcel,
        overwrite: bool,
        try_only: bool,
    ) -> Result<Arrivals, StoreError> {
        self.write(move |rows| {
            if !try_only {
                return take_in(rows, parcel, overwrite);
            }
            rows.connection.execute_batch("SAVEPOINT try_only")?;
            let arrivals = take_in(rows, parcel, overwrite);
            rows.connection
                .execute_batch("ROLLBACK TO try_only; RELEASE try_only")?;
            arrivals
        })
        .await
    }

    /// Entries by name order, secrets included; `None`: all.
    ///
    /// # Errors
    /// When a name doesn't exist.
    pub fn export(&self, names: Option<&[String]>) -> Result<Vec<Entry>, StoreError> {
        self.read(|rows| {
            let Some(names) = names else {
                return Ok(rows
                    .token_configs()?
                    .into_iter()
                    .map(|config| config.entry)
                    .collect());
            };
            let sorted: BTreeSet<&String> = names.iter().collect();
            sorted
                .into_iter()
                .map(|name| rows.known_config(name).map(|config| config.entry))
                .collect()
        })
    }

    /// The refresh tokens of token configs, by name order; `None`: of all.
    ///
    /// # Errors
    /// When a name doesn't exist.
    pub fn export_tokens(&self, names: Option<&[String]>) -> Result<Vec<Carried>, StoreError> {
        let configs: BTreeSet<String> = match names {
            Some(names) => names.iter().cloned().collect(),
            None => {
                let all = self.token_configs()?.into_iter();
                all.map(|config| config.entry.name).collect()
            }
        };
        self.read(|rows| {
            let mut carried = Vec::new();
            for name in &configs {
                rows.known_config(name)?;
                for (id, _) in rows.tokens_without_secrets(name)? {
                    let token = rows.token(&id)?;
                    carried.extend(token.refresh.map(|refresh| Carried {
                        id,
                        refresh_token: refresh.secret,
                        obtained_at: Some(refresh.obtained_at),
                        expires_at: refresh.expires_at,
                        identity: token.identity,
                    }));
                }
            }
            Ok(carried)
        })
    }
}

fn take_in(rows: &Rows<'_>, parcel: Parcel, overwrite: bool) -> Result<Arrivals, StoreError> {
    let mut done: BTreeMap<String, Imported> = BTreeMap::new();
    let mut arrivals = Arrivals::default();
    for entry in parcel.entries {
        if done.contains_key(&entry.name) {
            return Err(StoreError::Invalid {
                name: entry.name,
                why: "it is in the document twice".into(),
            });
        }
        refuse_unsafe(&entry)?;
        let name = entry.name.clone();
        let imported = import_one(rows, entry, overwrite)?;
        done.insert(name.clone(), imported);
        arrivals.entries.push((name, imported));
    }
    for carried in parcel.tokens {
        let left_alone = done.get(&carried.id.config) == Some(&Imported::LeftAlone);
        let id = carried.id.clone();
        let arrived = if left_alone {
            Arrived::LeftAlone
        } else {
            take_token(rows, carried, overwrite)?
        };
        arrivals.tokens.push((id, arrived));
    }
    Ok(arrivals)
}

/// A refresh token as it may be stored: one word.
pub(crate) fn refresh_word(config: &str, text: &Secret) -> Result<Secret, StoreError> {
    let text = text.expose().trim();
    if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(StoreError::Invalid {
            name: config.to_owned(),
            why: "a refresh token is one word without spaces or line ends".into(),
        });
    }
    Ok(Secret::new(text))
}

fn take_token(rows: &Rows<'_>, carried: Carried, overwrite: bool) -> Result<Arrived, StoreError> {
    let id = carried.id;
    let entry = rows.known_config(&id.config)?.entry;
    let flow = entry.config.flow;
    if !flow.has_refresh_token() || flow.per_subject() == id.subject.is_empty() {
        return Err(StoreError::Invalid {
            name: format!("the token of {id}"),
            why: format!(
                "its token config has the flow {}, which has no such token",
                flow.key()
            ),
        });
    }
    let secret = refresh_word(&id.config, &carried.refresh_token)?;
    let mut token = match rows.token_if_any(&id)? {
        Some(_) => rows.token(&id)?,
        None => {
            rows.insert_token(&id, &crate::state::Token::new(flow.needs_person()))?;
            rows.token(&id)?
        }
    };
    match &token.refresh {
        Some(present) if present.secret == secret => return Ok(Arrived::Same),
        Some(_) if !overwrite => return Ok(Arrived::LeftAlone),
        Some(present) if token.state == State::Ready && is_older(carried.obtained_at, present) => {
            return Ok(Arrived::Older);
        }
        _ => {}
    }
    let (seen, now) = (token.version, now());
    let displaced = token.seeded(secret, now);
    if let Some(refresh) = &mut token.refresh {
        // A date to come would be a clock that went wrong, there or here.
        refresh.obtained_at = carried.obtained_at.filter(|at| *at <= now).unwrap_or(now);
        refresh.expires_at = carried.expires_at;
    }
    token.identity = carried.identity;
    rows.put_token(&id, seen, &token)?;
    let Some(old) = displaced else {
        return Ok(Arrived::Taken);
    };
    let why = "another refresh token was imported";
    rows.keep_aside(&id, &fingerprint(&entry), &old, now, why)?;
    Ok(Arrived::Replaced)
}

/// Rotations of a grant with a fixed end all carry the time of its beginning: another token of the same time is no newer one.
fn is_older(obtained_at: Option<i64>, present: &Refresh) -> bool {
    obtained_at.is_some_and(|at| at <= present.obtained_at)
}

/// An address that would carry secrets in clear is refused before it is stored, not when it is first used.
fn refuse_unsafe(entry: &Entry) -> Result<(), StoreError> {
    let postern = &entry.config.postern;
    let requests = entry.config.requests.iter();
    let requests = requests
        .map(|(name, request)| (format!("Requests.{name}.Request.URL"), request.url.as_str()));
    let further = postern.endpoints.iter();
    let further = further.map(|(key, url)| (format!("Postern.Endpoints.{key}"), url));
    let issuer = postern.discovery.as_deref();
    let issuer = issuer.map(|url| ("Postern.Discovery".to_owned(), url));
    let mut open = requests
        .chain(further)
        .chain(issuer)
        .filter(|(_, url)| !url.is_empty() && !provider_template::url_is_safe(url));
    match open.next() {
        None => Ok(()),
        Some((key, _)) => Err(StoreError::Invalid {
            name: format!("token config {}", entry.name),
            why: format!(
                "{key} must be an https:// URL (http:// only on this machine), without a user name or blanks in it"
            ),
        }),
    }
}

fn import_one(rows: &Rows<'_>, mut entry: Entry, overwrite: bool) -> Result<Imported, StoreError> {
    let present = rows.token_config(&entry.name)?;
    let Some(old) = &present else {
        let config = TokenConfig {
            template: entry.config.template_name.clone(),
            entry,
            declared_in: None,
        };
        return store_config(rows, None, &config, now());
    };
    if !overwrite {
        return Ok(Imported::LeftAlone);
    }
    keep_secrets(&mut entry, &old.entry);
    let template = entry
        .config
        .template_name
        .clone()
        .or_else(|| old.template.clone());
    if let (Some(before), Some(after)) = (&old.template, &template)
        && before != after
    {
        let why = format!(
            "it was made from the template {before}, which can't be changed to {after}; \
             import it under another name, or delete it first"
        );
        return Err(StoreError::Invalid {
            name: entry.name,
            why,
        });
    }
    let config = TokenConfig {
        entry,
        template,
        declared_in: old.declared_in.clone(),
    };
    if let Some(file) = old.declared_in.clone().filter(|_| config != *old) {
        return Err(StoreError::DeclaredIn {
            name: config.entry.name,
            file,
        });
    }
    store_config(rows, present, &config, now())
}

/// Exports for others carry no secret; bringing one back must not erase ours.
fn keep_secrets(entry: &mut Entry, old: &Entry) {
    let (new, old) = (&mut entry.config, &old.config);
    if new.client_id != old.client_id {
        return;
    }
    if new.client_secret.is_empty() {
        new.client_secret = old.client_secret.clone();
    }
    let same_signer = new.postern.assertion == old.postern.assertion
        && new.postern.service_account == old.postern.service_account;
    if new.private_key.is_empty() && same_signer {
        new.private_key = old.private_key.clone();
    }
    if new.password.is_empty() && new.user == old.user {
        new.password = old.password.clone();
    }
}
