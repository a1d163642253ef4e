//! What systemd is told: ready, alive, stopping, and one line for people.
//!
//! Under anything else than systemd, or with no socket to tell it to, nothing happens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::report;
use crate::shutdown::Shutdown;

/// Time after which the service counts as started although the coordinator was not reached: a node must boot without it.
const START: Duration = Duration::from_secs(20);

static READY: AtomicBool = AtomicBool::new(false);
/// What people were told last, for after a reload.
static STATUS: Mutex<String> = Mutex::new(String::new());

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Keeps systemd's watchdog quiet for as long as this runtime turns, and says "ready" at last.
pub(super) fn watch(shutdown: &Shutdown) {
    let stop = shutdown.clone();
    // Half the time that systemd grants, as its manual advises.
    let period = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    shutdown.spawn(async move {
        let started = tokio::time::sleep(START);
        tokio::pin!(started);
        let mut beat = tokio::time::interval(period.unwrap_or(START).max(Duration::from_millis(100)));
        let mut waiting = true;
        loop {
            tokio::select! {
                _ = beat.tick() => if period.is_some() { notify(&[NotifyState::Watchdog]) },
                () = &mut started, if waiting => { waiting = false; ready("started; the coordinator was not reached yet"); }
                () = stop.stopping() => break,
            }
        }
    });
}

/// The daemon works.
pub(super) fn ready(text: &str) {
    if READY.swap(true, Ordering::Relaxed) {
        return;
    }
    remember(text);
    notify(&[NotifyState::Ready, NotifyState::Status(text)]);
}

fn remember(text: &str) {
    text.clone_into(&mut STATUS.lock().unwrap_or_else(PoisonError::into_inner));
}

/// A new configuration is being read. The time goes with it: newer systemds want it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration again")]),
        Err(error) => tracing::debug!(%error, "systemd was not told of the reload"),
    }
}

/// It is in force, or was refused for a reason.
pub(super) fn reloaded(refused: Option<&str>) {
    READY.store(true, Ordering::Relaxed);
    let mut text = STATUS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(reason) = refused {
        text = format!("{text}; the new configuration is refused: {}", report::brief(reason, 700));
    }
    notify(&[NotifyState::Ready, NotifyState::Status(&text)]);
}

/// One line on what it does.
pub(super) fn status(text: &str) {
    remember(text);
    notify(&[NotifyState::Status(text)]);
}

/// The daemon does not start, and why: `systemctl status` shows it for as long as the unit is not started again.
pub fn refused(reason: &str) {
    notify(&[NotifyState::Status(&format!("not started: {}", report::brief(reason, 700)))]);
}

/// The daemon ends.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}
