//! `postern run`: the daemon as the service manager knows it: ready, reloading, stopping, and the watchdog fed meanwhile.

use std::path::Path;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::exit::{Code, Failure};
use crate::config::{Config, Secrets};
use crate::run::{Gateway, Handed, Handle, StartError, Watch, log};

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(file: &Path) -> Result<(), Failure> {
    // Before the file is read: a change that comes meanwhile must be news.
    let watch = Watch::new(file);
    let config = Config::read(file, Secrets::Needed)?;
    log::init(config.log);
    for problem in &config.library.problems {
        tracing::warn!("{problem}; this provider template is left out");
    }
    // Before anything runs: a signal that comes early must not kill.
    let mut signals = Signals::new()?;
    let shutdown = CancellationToken::new();
    let handed = Handed::take().map_err(StartError::from)?;
    let mut gateway = Gateway::start_with(config, handed, shutdown.clone()).await?;
    announce(&gateway);
    notify(&[NotifyState::Ready, NotifyState::Status(gateway.summary())]);

    let handle = gateway.handle().clone();
    let fault = tokio::select! {
        () = signals.serve(&handle, watch) => None,
        fault = gateway.fault() => Some(fault),
    };
    if let Some(fault) = &fault {
        tracing::error!("{fault}; this is a defect of Postern, please report it");
    }

    notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
    tracing::info!("stopping: nothing new is accepted, what runs may end");
    shutdown.cancel();
    let feed = async {
        let Some(mut watchdog) = watchdog() else {
            return std::future::pending().await;
        };
        loop {
            watchdog.tick().await;
            notify(&[NotifyState::Watchdog]);
        }
    };
    tokio::select! {
        () = gateway.drain(waiting_for) => {}
        () = feed => {}
    }
    tracing::info!("stopped");
    match fault {
        None => Ok(()),
        // The service manager starts it again.
        Some(fault) => Err(Failure::new(Code::Software, fault)),
    }
}

fn announce(gateway: &Gateway) {
    tracing::info!(
        "postern {} runs: {}",
        env!("CARGO_PKG_VERSION"),
        gateway.summary()
    );
    for address in gateway.submission() {
        tracing::info!("replies are taken on {address}");
    }
    if let Some(page) = gateway.page() {
        tracing::info!("the admin page is {page}");
    }
}

fn waiting_for(names: &[String]) {
    let words = format!("still waiting for {}", names.join(", "));
    tracing::info!("{words}");
    notify(&[NotifyState::Status(&words)]);
}

/// Tells the service manager, where there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager was not told: {error}");
    }
}

/// Ticks twice within the time after which the service manager believes that we hang.
fn watchdog() -> Option<Interval> {
    let within: Duration = sd_notify::watchdog_enabled()?;
    let mut ticks = interval((within / 2).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(ticks)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Code::Software, format!("signals cannot be heard: {error}"))
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Follows SIGHUP and changes of the file, and feeds the watchdog, until SIGTERM or SIGINT.
    async fn serve(&mut self, handle: &Handle, mut watch: Watch) {
        let mut watchdog = watchdog();
        let mut tick = async || match &mut watchdog {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        };
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    watch.forget();
                    reload(handle).await;
                }
                () = watch.changed() => reload(handle).await,
                () = tick() => notify(&[NotifyState::Watchdog]),
            }
        }
    }
}

async fn reload(handle: &Handle) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
    let status = match handle.reload_file().await {
        Ok(_) => "reloaded".to_owned(),
        Err(error) => {
            // A line for each mistake: the journal shows the first line alone of a longer entry.
            error
                .to_string()
                .lines()
                .for_each(|line| tracing::error!("reload: {line}"));
            "running; the last reload failed, see the log".to_owned()
        }
    };
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}
