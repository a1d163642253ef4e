//! The history while the daemon runs: a sample each few seconds, whether a coordinator is there or not.
//!
//! The meter gives samples, the ring file takes them. All of it is done on a thread that may hang with a disk, one sample at a time, so that
//! the daemon goes on where a disk does not; the samples of that time are missing, and the history shows it. Where the file cannot
//! be made, the history is off, which is said once, and tried again now and then.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::setup::Setup;
use crate::agent::history::ring::Opening;
use crate::agent::history::{self, Extent, HistoryError, Recorder};
use crate::agent::source::meter::Meter;
use crate::agent::source::patience::Patient;
use crate::clock::Clock;
use crate::report;
use crate::shutdown::Shutdown;

/// Time after which a file that could not be made is tried again.
const AGAIN: Duration = Duration::from_secs(600);
/// Time that the last average has to be written when the daemon stops.
const LAST: Duration = Duration::from_secs(1);

/// Records until the daemon stops; begins anew when a reload changes how.
pub(super) async fn record(shared: Arc<Shared>) {
    let mut changes = shared.setup.subscribe();
    loop {
        let setup = Arc::clone(&changes.borrow_and_update());
        let on = setup.config.history.record;
        let recording = on.then(|| Box::new(Recording::new(&setup)));
        turn(recording, setup.config.history.short, &shared.shutdown, changed(&mut changes, &setup)).await;
        if shared.shutdown.is_stopping() {
            return;
        }
    }
}

/// Waits for a setup with which another history is recorded.
async fn changed(changes: &mut watch::Receiver<Arc<Setup>>, before: &Setup) {
    let same = |now: &Arc<Setup>| {
        let (now, before) = (&now.config, &before.config);
        now.history == before.history
            && now.host_root == before.host_root
            && now.limits.mount_wait == before.limits.mount_wait
    };
    // The daemon holds the other end for as long as it runs.
    let _ = changes.wait_for(|now| !same(now)).await;
}

/// Takes samples until the daemon stops or `changed` is over.
async fn turn(
    recording: Option<Box<Recording>>,
    every: Duration,
    shutdown: &Shutdown,
    changed: impl Future<Output = ()>,
) {
    let mut ended = std::pin::pin!(async {
        tokio::select! {
            () = changed => {}
            () = shutdown.stopping() => {}
        }
    });
    let Some(mut recording) = recording else { return ended.await };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut ended => break,
        }
        let work = spawn_blocking(move || {
            recording.tick();
            recording
        });
        tokio::select! {
            done = work => match done {
                Ok(back) => recording = back,
                Err(error) => {
                    tracing::error!(%error, "the history ends here");
                    return ended.await;
                }
            },
            // It may hang with the disk; then it ends with the process.
            () = shutdown.stopping() => return,
        }
    }
    let _ = tokio::time::timeout(LAST, spawn_blocking(move || recording.end())).await;
}

/// The meter and the file, where there is one.
struct Recording {
    meter: Meter,
    clock: Clock,
    file: PathBuf,
    extent: Extent,
    recorder: Option<Recorder>,
    /// When a file is tried next.
    open_at: Instant,
    /// When disks are looked at next.
    look_at: Instant,
    /// What went wrong last: the same is said once.
    wrong: String,
}

impl Recording {
    fn new(setup: &Setup) -> Self {
        let (config, now) = (&setup.config, Instant::now());
        let meter = Meter::new(setup.host.clone(), Patient::with_mounts(config.limits.mount_wait));
        let (extent, file) = (config.history.extent(), history::file(&config.state_dir));
        let (clock, wrong) = (Clock::system(), String::new());
        Self { meter, clock, file, extent, recorder: None, open_at: now, look_at: now, wrong }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.recorder.is_none() {
            if now < self.open_at {
                return;
            }
            self.open_at = now + AGAIN;
            self.open();
        }
        let Some(recorder) = &mut self.recorder else { return };
        if now >= self.look_at {
            // Half an interval early: no tick comes exactly in time.
            self.look_at = now + self.extent.long.saturating_sub(self.extent.short / 2);
            self.meter.look_around();
        }
        let Some(sample) = self.meter.sample(self.clock.now_ms()) else { return };
        let written = recorder.take(sample);
        self.said(written.err().map(|source| HistoryError::Io { doing: "write a sample", source }));
    }

    fn open(&mut self) {
        let opened = Recorder::open(&self.file, self.extent);
        let file = self.file.display();
        match opened {
            Ok((recorder, opening)) => {
                match opening {
                    Opening::Continued => {}
                    Opening::Begun => tracing::info!(%file, bytes = self.extent.bytes(), "history begun"),
                    Opening::BegunAnew(why, aside) => {
                        let aside = aside.display();
                        tracing::warn!(%file, reason = why, %aside, "the history was set aside and begun anew");
                    }
                }
                self.recorder = Some(recorder);
                self.said(None);
            }
            Err(error) => self.said(Some(error)),
        }
    }

    /// Says what goes wrong when it begins to, and when it ends.
    fn said(&mut self, wrong: Option<HistoryError>) {
        let wrong = wrong.map(|error| report::chain(&error)).unwrap_or_default();
        if wrong != self.wrong {
            let file = self.file.display();
            if wrong.is_empty() {
                tracing::info!(%file, "the history is recorded again");
            } else {
                tracing::warn!(%file, reason = wrong, "the history is not recorded; all else goes on");
            }
            self.wrong = wrong;
        }
    }

    fn end(&mut self) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.finish()
        {
            tracing::debug!(%error, "the last average was not written");
        }
    }
}
