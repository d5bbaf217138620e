//! `token_configs`: the short form of a token config, made from a provider template.

mod proof;

use provider_template::{Endpoints, Entry, Flow, Mistake, Notifications, Order, Secret};

use super::accounts::{Known, Names, secret, template_named};
use super::mistake::Place;
use super::reader::{Field, Reader, Section};

/// Reads every token config; the good ones are also what mailboxes and relays may name.
pub(super) fn read(root: &Section<'_>, known: &mut Known<'_>) -> Vec<(String, Entry)> {
    let Some(field) = root.get("token_configs") else {
        return Vec::new();
    };
    let mut names = Names::default();
    let mut read = Vec::new();
    for item in field
        .list("a list of token configs, each beginning with `- name: ...`")
        .unwrap_or_default()
    {
        let Some(section) = item.section("keys such as `name: support`") else {
            continue;
        };
        let name = names.read(&section, "token config");
        let made = token_config(section, name.as_deref(), known);
        if let Some(name) = name {
            let entry = made.as_ref().map(|(_, entry)| entry.clone());
            known.configs.insert(name, entry);
        }
        read.extend(made);
    }
    read
}

fn token_config(
    section: Section<'_>,
    name: Option<&str>,
    known: &Known<'_>,
) -> Option<(String, Entry)> {
    let template = section.require(
        "template",
        "a provider template; `postern token templates` lists them",
    );
    let variables = variables(&section);
    let proof = proof::read(&section, known);
    let client_id = client_id(&section);
    let client_secret = section
        .get("client_secret")
        .map_or(Some(Secret::default()), |field| {
            secret(&field, known.surroundings)
        });
    let scope = section.get("scope");
    let endpoints = endpoints(&section);
    let flow = section.get("flow");
    let valid = section
        .get("valid")
        .map_or(Some(true), |field| field.switch());
    let notify = section.get("notify");
    let places = Places::of(&section);
    section.finish();

    let template_name = template
        .as_ref()
        .and_then(|field| template_named(field, known));
    let notifications = notify.map_or(Some(None), |field| notifications(&field).map(Some));
    let scope = scope.map(|field| field.text("scopes, separated by spaces"));
    let flows = Flow::ALL.map(|flow| (flow.key(), flow));
    let wanted_flow = flow.as_ref().map(|field| field.one_of(&flows));
    if scope == Some(None) || wanted_flow == Some(None) {
        return None;
    }
    let template_name = template_name?;
    let template = known.library.get(template_name)?;
    let proof = proof?;
    let order = Order {
        name: name?.to_owned(),
        client_id: client_id?.to_owned(),
        client_secret: client_secret?,
        scope: scope.flatten().map(str::to_owned),
        variables: variables?,
        endpoints: endpoints?,
        valid: valid?,
        flow: wanted_flow.flatten(),
        private_key: proof.private_key,
        assertion: proof.assertion,
        service_account: proof.service_account,
        user: proof.user,
        password: proof.password,
        notifications: notifications?.map(|wanted| wanted.over(template.config.notifications)),
    };
    let entry = match template.order(order) {
        Ok(entry) => entry,
        Err(mistakes) => {
            for mistake in mistakes {
                places.report(&mistake);
            }
            return None;
        }
    };
    Some((template_name.to_owned(), entry))
}

/// Required, but for a service account, which is known by its address.
fn client_id<'a>(section: &Section<'a>) -> Option<&'a str> {
    let by_address = section.get("service_account").is_some();
    match section.get("client_id") {
        None if by_address => Some(""),
        _ => section
            .require(
                "client_id",
                "the client ID that the provider gave this registration",
            )?
            .text("a client ID"),
    }
}

fn variables(section: &Section<'_>) -> Option<Vec<(String, String)>> {
    let Some(field) = section.get("variables") else {
        return Some(Vec::new());
    };
    let inner =
        field.section("the template's variables, such as {TenantID: contoso.onmicrosoft.com}")?;
    let read: Vec<_> = inner
        .all()
        .map(|(key, value)| Some((key.text.clone(), value.text("a text")?.to_owned())))
        .collect();
    read.into_iter().collect()
}

fn endpoints(section: &Section<'_>) -> Option<Endpoints> {
    let Some(field) = section.get("endpoints") else {
        return Some(Endpoints::default());
    };
    let inner = field.section("keys such as authorize, token and discovery")?;
    let keys = [
        "authorize",
        "token",
        "device",
        "revoke",
        "introspect",
        "userinfo",
        "discovery",
    ];
    let urls = keys.map(|key| inner.get(key).map(|field| url(&field)));
    inner.finish();
    if urls.contains(&Some(None)) {
        return None;
    }
    let [
        authorize,
        token,
        device,
        revoke,
        introspect,
        userinfo,
        discovery,
    ] = urls.map(Option::flatten);
    Some(Endpoints {
        authorize,
        token,
        device,
        revoke,
        introspect,
        userinfo,
        discovery,
    })
}

/// What the file says of notices; None where it leaves the template's.
struct Wanted {
    token: Option<bool>,
    refresh: Option<bool>,
}

impl Wanted {
    fn over(&self, template: Notifications) -> Notifications {
        Notifications {
            expired_token: self.token.unwrap_or(template.expired_token),
            expired_refresh_token: self.refresh.unwrap_or(template.expired_refresh_token),
        }
    }
}

fn notifications(field: &Field<'_>) -> Option<Wanted> {
    let inner = field.section("the keys expired_token and expired_refresh_token")?;
    let [token, refresh] = ["expired_token", "expired_refresh_token"]
        .map(|key| inner.get(key).map(|field| field.switch()));
    inner.finish();
    if token == Some(None) || refresh == Some(None) {
        return None;
    }
    Some(Wanted {
        token: token.flatten(),
        refresh: refresh.flatten(),
    })
}

/// A token travels there, so it must be https, or stay on this machine.
fn url(field: &Field<'_>) -> Option<String> {
    let expected = "an https:// URL; http:// is for this machine only";
    let text = field.text(expected)?;
    if text.contains('@') {
        // Not quoted: what stands before it may be a password.
        field.mistake(format!("holds a user name; expected {expected}"));
        return None;
    }
    if !provider_template::url_is_safe(text) {
        field.expected(expected);
        return None;
    }
    Some(text.to_owned())
}

/// Where the template's own mistakes are shown: at the key that they are about.
struct Places<'a> {
    reader: &'a Reader,
    path: String,
    section_at: Place,
    given: Vec<(String, Place)>,
}

impl<'a> Places<'a> {
    fn of(section: &Section<'a>) -> Self {
        let mut given = Vec::new();
        for (key, field) in section.all() {
            given.push((key.text.clone(), key.at));
            for (inner, at) in field.entries() {
                given.push((format!("{}.{inner}", key.text), at));
            }
        }
        let (path, reader) = section.naming();
        let section_at = section.at();
        Self {
            reader,
            path,
            section_at,
            given,
        }
    }

    fn report(&self, mistake: &Mistake) {
        let key = key_of(&mistake.field);
        let parent = key.split('.').next().unwrap_or_default();
        let find = |wanted: &str| {
            self.given
                .iter()
                .find(|(given, _)| given == wanted)
                .map(|(_, at)| *at)
        };
        let at = find(&key)
            .or_else(|| find(parent))
            .unwrap_or(self.section_at);
        let key = format!("{}.{key}", self.path);
        self.reader.mistake(at, &key, &mistake.why);
    }
}

/// A template's field names are this file's keys already; what isn't one is said at the section itself.
fn key_of(field: &str) -> String {
    let known = [
        "name",
        "client_id",
        "client_secret",
        "client_certificate",
        "client_key",
        "service_account",
        "user",
        "password",
        "flow",
        "scope",
    ];
    let inner = ["variables.", "endpoints."];
    if known.contains(&field) || inner.iter().any(|prefix| field.starts_with(prefix)) {
        field.to_owned()
    } else {
        format!("template ({field})")
    }
}
