//! Token configs: made from a template, imported, exported, deleted; and what a change means for their token.

use crate::state::Token;
use crate::store::Rows;
use crate::{AddError, Imported, Store, StoreError, TokenConfig, TokenId, now, seal};
use provider_template::{Entry, Flow, Library, Mistake, Order};
use std::collections::BTreeSet;

impl Store {
    /// All token configs, by name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn token_configs(&self) -> Result<Vec<TokenConfig>, StoreError> {
        self.read(|rows| rows.token_configs())
    }

    /// One token config.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn token_config(&self, name: &str) -> Result<Option<TokenConfig>, StoreError> {
        self.read(|rows| rows.token_config(name))
    }

    /// Makes a token config from a template; mistakes by field.
    ///
    /// # Errors
    /// Mistakes of the order, or a name that exists.
    pub async fn add_token_config(
        &self,
        library: &Library,
        template: &str,
        order: Order,
    ) -> Result<(), AddError> {
        let Some(found) = library.get(template) else {
            let why = format!("there is no template named {template}");
            return Err(AddError::Mistakes(vec![Mistake {
                field: "template".into(),
                why,
            }]));
        };
        let mut entry = found.order(order).map_err(AddError::Mistakes)?;
        entry
            .config
            .template_name
            .get_or_insert_with(|| template.to_owned());
        let config = TokenConfig {
            entry,
            template: Some(template.to_owned()),
            declared_in: None,
        };
        let added = self.write(move |rows| {
            if let Some(present) = rows.token_config(&config.entry.name)? {
                let origin = present
                    .declared_in
                    .map_or("made in the web page or on the command line".into(), |f| {
                        format!("declared in {f}")
                    });
                return Err(StoreError::NameTaken {
                    what: "token config",
                    name: config.entry.name,
                    origin,
                });
            }
            store_config(rows, None, &config, now()).map(drop)
        });
        Ok(added.await?)
    }

    /// Deletes a token config with its token, for good.
    ///
    /// # Errors
    /// Refused while a mailbox or relay uses it (names them), or when a file declares it.
    pub async fn delete_token_config(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |rows| {
            let config = rows.known_config(&name)?;
            if let Some(file) = config.declared_in {
                return Err(StoreError::DeclaredIn { name, file });
            }
            let by = rows.users_of(&name)?;
            if !by.is_empty() {
                return Err(StoreError::InUse { name, by });
            }
            rows.forget_aside(&name)?;
            rows.remove_token_config(&name).map(drop)
        })
        .await
    }

    /// Takes entries in, all or nothing; says per entry what was done. Without `overwrite`, entries whose name exists
    /// are left alone. An overwritten one keeps its token if client and endpoints are the same.
    ///
    /// # Errors
    /// A name twice in the document, an empty name, a change to what a file declares, or another template than the
    /// one the token config was made from.
    pub async fn import(
        &self,
        entries: Vec<Entry>,
        overwrite: bool,
    ) -> Result<Vec<(String, Imported)>, StoreError> {
        self.write(move |rows| {
            let mut names = BTreeSet::new();
            let mut done = Vec::with_capacity(entries.len());
            for entry in entries {
                if !names.insert(entry.name.clone()) {
                    return Err(StoreError::Invalid {
                        name: entry.name,
                        why: "it is in the document twice".into(),
                    });
                }
                refuse_unsafe(&entry)?;
                done.push((entry.name.clone(), import_one(rows, entry, overwrite)?));
            }
            Ok(done)
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
}

/// An address that would carry secrets in clear is refused before it is stored, not when it is first used.
fn refuse_unsafe(entry: &Entry) -> Result<(), StoreError> {
    let urls = entry.config.requests.iter();
    let open = urls.filter(|(_, request)| {
        !request.url.is_empty() && !provider_template::url_is_safe(&request.url)
    });
    match open.map(|(name, _)| name).next() {
        None => Ok(()),
        Some(request) => Err(StoreError::Invalid {
            name: format!("token config {}", entry.name),
            why: format!(
                "Requests.{request}.Request.URL must begin with https:// (http:// only on this machine)"
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
    // Exports for others carry no secret; bringing one back must not erase ours.
    if entry.config.client_secret.is_empty() && entry.config.client_id == old.entry.config.client_id
    {
        entry.config.client_secret = old.entry.config.client_secret.clone();
    }
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

/// Writes a config over the present one (if any) and moves its token along.
pub(crate) fn store_config(
    rows: &Rows<'_>,
    present: Option<TokenConfig>,
    config: &TokenConfig,
    now: i64,
) -> Result<Imported, StoreError> {
    let entry = &config.entry;
    let name = &entry.name;
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(StoreError::Invalid {
            name: "token config".into(),
            why: "its name is empty or unprintable".into(),
        });
    }
    let Some(old) = present else {
        rows.put_token_config(config)?;
        make_token(rows, config)?;
        return Ok(Imported::Added);
    };
    if old == *config {
        return Ok(Imported::Unchanged);
    }
    rows.put_token_config(config)?;
    for (id, _) in rows.tokens_without_secrets(name)? {
        move_token(rows, &id, &old, config, now)?;
    }
    make_token(rows, config)?;
    Ok(Imported::Changed)
}

/// The one token of a config that has one, unless it is there.
fn make_token(rows: &Rows<'_>, config: &TokenConfig) -> Result<(), StoreError> {
    let entry = &config.entry;
    let id = TokenId::of(&entry.name);
    if entry.config.flow.per_subject() || rows.token_if_any(&id)?.is_some() {
        return Ok(());
    }
    let needs_person = entry.config.flow.needs_person();
    let mut token = Token::new(needs_person);
    // Its file named it before: the consent given then still counts.
    if let Some(back) = rows.take_back(&id, &fingerprint(entry))? {
        token.client_changed(needs_person, Some(back));
    }
    rows.insert_token(&id, &token)
}

/// A token follows a change of its config: it goes on, or what it holds is kept aside.
fn move_token(
    rows: &Rows<'_>,
    id: &TokenId,
    old: &TokenConfig,
    config: &TokenConfig,
    now: i64,
) -> Result<(), StoreError> {
    let flow = config.entry.config.flow;
    let (before, after) = (fingerprint(&old.entry), fingerprint(&config.entry));
    let mut token = rows.token(id)?;
    let seen = token.version;
    if before == after {
        token.mended(flow.needs_person(), now);
        return rows.put_token(id, seen, &token);
    }
    let displaced = if flow.per_subject() == id.subject.is_empty() {
        // One token before and one for each user now, or the other way round.
        rows.remove_token(id)?;
        token.refresh.map(|refresh| refresh.secret)
    } else {
        let restored = rows.take_back(id, &after)?;
        let displaced = token.client_changed(flow.needs_person(), restored);
        rows.put_token(id, seen, &token)?;
        displaced
    };
    let why = "the token config names another client or endpoint";
    displaced.map_or(Ok(()), |secret| {
        rows.keep_aside(id, &before, &secret, now, why).map(drop)
    })
}

/// Whose grant a refresh token is: it works for this client at these token endpoints only. The authorisation
/// endpoint and the client secret may change without touching it.
pub(crate) fn fingerprint(entry: &Entry) -> String {
    let config = &entry.config;
    let refresh = config.requests.token_by_refresh_token.as_ref();
    let request = refresh
        .filter(|_| config.flow.needs_person())
        .or_else(|| config.first_request());
    let url = request.map_or("", |r| r.url.as_str());
    let issuer = config.postern.discovery.as_deref().unwrap_or_default();
    // A person's grant is the same, whichever way the person took.
    let flow = if config.flow.needs_person() {
        Flow::AuthorizationCode
    } else {
        config.flow
    };
    let account = config.postern.service_account.as_ref();
    let owner = match flow {
        Flow::Password => config.user.as_str(),
        Flow::ServiceAccount => account.map_or("", |account| &account.email),
        _ => "",
    };
    let mut parts = vec![flow.key(), &config.client_id, url, issuer];
    parts.extend(Some(owner).filter(|owner| !owner.is_empty()));
    seal::digest(&parts.join("\n"))
}
