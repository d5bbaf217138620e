//! Everything that listens, bound before anything runs.

use std::io::Error;
use std::sync::Arc;

use provider_template::Library;
use sender::{Entrance, Listen, SocketFile};

use super::{Handed, StartError};
use crate::config::{Config, Web};
use crate::control;

/// The bound listeners.
pub(super) struct Doors {
    pub(super) submission: Vec<Entrance>,
    pub(super) web: Option<web_admin::Listener>,
    pub(super) control: control::Listener,
    public_url: Option<String>,
}

/// What the admin page is told of the configuration.
pub(super) struct Page {
    pub(super) public_url: String,
    pub(super) redirect_path: String,
    pub(super) proxies: web_admin::Proxies,
    pub(super) library: Arc<Library>,
}

impl Doors {
    pub(super) async fn bind(config: &Config, mut handed: Handed) -> Result<Self, StartError> {
        let mut submission = Vec::new();
        for rules in &config.submission {
            let listener = listener(&rules.listen, rules.socket, &mut handed).await;
            let listener = listener.map_err(|e| refused("submission", &rules.listen, e))?;
            submission.push(Entrance::new(listener, rules.clone())?);
        }
        let (mut web, mut public_url) = (None, None);
        if let Some(section) = &config.web {
            let (listener, url) = bind_page(section, &mut handed)
                .await
                .map_err(|e| refused("the admin page", &section.listen, e))?;
            (web, public_url) = (Some(listener), Some(url));
        }
        handed.finish()?;
        let path = &config.control_socket;
        let control = control::Listener::bind(path)
            .map_err(|e| refused("the control socket", &Listen::Unix(path.clone()), e))?;
        Ok(Self {
            submission,
            web,
            control,
            public_url,
        })
    }

    /// What the page is told, where there is one.
    pub(super) fn page_parts(&self, config: &Config) -> Option<Page> {
        let web = config.web.as_ref()?;
        Some(Page {
            public_url: self.public_url.clone()?,
            redirect_path: web.redirect_path.clone(),
            proxies: web.proxies.clone(),
            library: config.library.clone(),
        })
    }

    /// Where replies are taken: port 0 is a real one here.
    pub(super) fn submission_addresses(&self) -> Vec<Listen> {
        let listeners = self.submission.iter().map(Entrance::listener);
        listeners.filter_map(|l| l.address().ok()).collect()
    }
}

/// The service manager's socket, or one of our own.
async fn listener(
    listen: &Listen,
    file: SocketFile,
    handed: &mut Handed,
) -> std::io::Result<sender::Listener> {
    match handed.claim(listen) {
        Some(listener) => Ok(listener),
        None => sender::Listener::bind(listen, file).await,
    }
}

/// The page's listener and its address for browsers.
async fn bind_page(
    section: &Web,
    handed: &mut Handed,
) -> std::io::Result<(web_admin::Listener, String)> {
    let configured = section.public_url.clone();
    match listener(&section.listen, SocketFile::default(), handed).await? {
        sender::Listener::Tcp(listener) => {
            let own = format!("http://{}", listener.local_addr()?);
            let url = configured.unwrap_or(own);
            Ok((web_admin::Listener::Tcp(listener), url))
        }
        // The configuration asks for public_url beside a Unix socket.
        sender::Listener::Unix(listener) => {
            let url = configured.unwrap_or_default();
            Ok((web_admin::Listener::Unix(listener), url))
        }
    }
}

fn refused(what: &'static str, listen: &Listen, source: Error) -> StartError {
    let address = listen.to_string();
    StartError::Bind {
        what,
        address,
        source,
    }
}
