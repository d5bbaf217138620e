//! Token configs: made from a template, changed, deleted; and what a change means for their token.

use crate::exchange::one_line;
use crate::state::{RefreshLife, Token};
use crate::store::Rows;
use crate::{AddError, Edited, Imported, Store, StoreError, TokenConfig, TokenId, now, seal};
use provider_template::{Edit, Entry, Flow, Library, Mistake, Order};

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

    /// Changes a token config; mistakes by field. Says whether its refresh token goes on: it does while client and token endpoints
    /// are the same, and is kept aside otherwise.
    ///
    /// # Errors
    /// Mistakes of the edit, an unknown name, or one that a file declares.
    pub async fn edit_token_config(&self, name: &str, edit: Edit) -> Result<Edited, AddError> {
        let name = name.to_owned();
        let done = self.write(move |rows| {
            let old = rows.known_config(&name)?;
            if let Some(file) = old.declared_in {
                return Err(StoreError::DeclaredIn { name, file });
            }
            let config = match old.entry.edited(edit) {
                Ok(entry) => TokenConfig {
                    entry,
                    ..old.clone()
                },
                Err(mistakes) => return Ok(Err(mistakes)),
            };
            let same_grant = fingerprint(&old.entry) == fingerprint(&config.entry);
            let had_token = rows.token_if_any(&TokenId::of(&name))?;
            let had_token = had_token.is_some_and(|token| token.refresh.is_some());
            let changed = store_config(rows, Some(old), &config, now())?;
            Ok(Ok(match changed {
                Imported::Unchanged => Edited::Unchanged,
                _ if same_grant || !had_token => Edited::Changed,
                _ => Edited::TokenAside,
            }))
        });
        done.await?.map_err(AddError::Mistakes)
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
                return Err(StoreError::InUse {
                    what: "token config",
                    name,
                    by,
                });
            }
            rows.forget_aside(&name)?;
            rows.remove_token_config(&name).map(drop)
        })
        .await
    }
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
        let scopes = (&*old.entry.config.scope, &*config.entry.config.scope);
        token.mended(flow.needs_person(), scopes, now);
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
    let (url, issuer) = token_url(entry);
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

/// Where a config's tokens are refreshed: the endpoint, or else the issuer to discover it from.
fn token_url(entry: &Entry) -> (&str, &str) {
    let config = &entry.config;
    let refresh = config.requests.token_by_refresh_token.as_ref();
    let request = refresh
        .filter(|_| config.flow.needs_person())
        .or_else(|| config.first_request());
    let url = request.map_or("", |r| r.url.as_str());
    let issuer = config.postern.discovery.as_deref().unwrap_or_default();
    (url, issuer)
}

/// How long the provider keeps a refresh token, as far as the config knows.
pub(crate) fn refresh_life(entry: &Entry) -> RefreshLife {
    let ours = &entry.config.postern;
    RefreshLife::of_days(ours.refresh_idle_life, ours.refresh_life)
}

/// What the refreshes of a config wait for together: host and path of its token endpoint.
pub(crate) fn endpoint(entry: &Entry) -> String {
    let (url, issuer) = token_url(entry);
    let url = if url.is_empty() { issuer } else { url };
    let bare = url.split_once("://").map_or(url, |(_, bare)| bare);
    let end = bare.find(['?', '#']).unwrap_or(bare.len());
    one_line(&bare[..end])
}
