//! Pressure: a collection pauses between two sources while the node has too much to do.
//!
//! The kernel's pressure files (`/proc/pressure`, below the host's root) are read at most once a second, and only while something is
//! collected; without them nothing happens. Pauses are bounded all together, so that a node that is never well is collected all the same:
//! such a node is what bundles are for. It changes nothing on the node.

use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::agent::host::Host;
use crate::agent::source::measure;
use crate::agent::source::vitals::pressure;
use crate::clock::{Clock, rfc3339};
use crate::protocol::agents::Pressure as Reading;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How soon a stop is noticed in a pause.
const TICK: Duration = Duration::from_millis(50);

/// What counts of a reading.
type Share = fn(&Reading) -> f64;

/// When to pause: shares of the last ten seconds in percent, 0 for never.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PressureLimits {
    /// Some task waited for a processor; a collection has the lowest priority there anyway, and busy processors are what many bundles
    /// are wanted for, so it is 0.
    pub cpu: f64,
    /// All tasks waited for a disk; a collection alone brings it about on a slow disk, so it is high.
    pub io: f64,
    /// All tasks waited for memory.
    pub memory: f64,
    /// Time that one collection pauses at most, all pauses together.
    #[serde(deserialize_with = "measure::de_wait")]
    pub pause: Duration,
}

impl Default for PressureLimits {
    fn default() -> Self {
        Self { cpu: 0.0, io: 90.0, memory: 20.0, pause: Duration::from_secs(60) }
    }
}

impl PressureLimits {
    /// What is beyond its limit.
    fn beyond(&self, host: &Host) -> Option<String> {
        let readings = pressure(host);
        let kinds: [(&str, &str, f64, Share); 3] = [
            ("cpu", "some", self.cpu, |reading| reading.some10),
            ("io", "full", self.io, |reading| reading.full10),
            ("memory", "full", self.memory, |reading| reading.full10),
        ];
        kinds.into_iter().find_map(|(kind, who, limit, share)| {
            let now = share(readings.get(kind)?);
            let is_beyond = limit > 0.0 && now >= limit;
            is_beyond.then(|| format!("{kind} pressure: {who} avg10 is {now} %, the limit {limit} %"))
        })
    }
}

/// One collection's pauses.
pub(in crate::agent) struct Pauses<'a> {
    host: &'a Host,
    limits: PressureLimits,
    /// Told that a pause begins: why, and how long it is at most.
    tell: &'a mut dyn FnMut(&str, Duration),
    looked: Option<Instant>,
    paused: Duration,
    /// Each of them, as the bundle has it.
    told: Vec<Pause>,
    look: Duration,
}

/// Where a bundle has a collection's pauses.
pub(super) const PATH: &str = "vitals/pauses.json";
/// Pauses of one collection that are told of: each lasts a second at least, as long as all may last minutes.
const TOLD: usize = 1000;

/// A pause, as the bundle has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Pause {
    /// When it began, RFC 3339.
    at: String,
    /// How long it was, milliseconds.
    ms: u64,
    /// What was beyond which limit.
    why: String,
}

impl<'a> Pauses<'a> {
    pub(in crate::agent) fn new(
        host: &'a Host,
        limits: PressureLimits,
        tell: &'a mut dyn FnMut(&str, Duration),
    ) -> Self {
        Self { host, limits, tell, looked: None, paused: Duration::ZERO, told: Vec::new(), look: LOOK }
    }

    /// Why there should be a pause now.
    pub(super) fn due(&mut self) -> Option<String> {
        let late = self.paused >= self.limits.pause || self.looked.is_some_and(|looked| looked.elapsed() < self.look);
        if late {
            return None;
        }
        self.looked = Some(Instant::now());
        self.limits.beyond(self.host)
    }

    /// Waits until the node is better, the time is used up, or `stop` says so. It blocks.
    pub(super) fn pause(&mut self, why: &str, stop: &CancellationToken) {
        let left = self.limits.pause.saturating_sub(self.paused);
        (self.tell)(why, left);
        let (began, at) = (Instant::now(), rfc3339(Clock::system().now_ms()));
        let mut looked = began;
        while began.elapsed() < left && !stop.is_cancelled() {
            thread::sleep(TICK.min(self.look));
            if looked.elapsed() >= self.look {
                looked = Instant::now();
                if self.limits.beyond(self.host).is_none() {
                    break;
                }
            }
        }
        self.looked = Some(Instant::now());
        self.paused += began.elapsed();
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.told.len() < TOLD {
            self.told.push(Pause { at, ms, why: why.to_owned() });
        }
        tracing::info!(why, paused_ms = ms, "collection paused");
    }

    /// All pauses for people who have nothing but the bundle; `None` where there were none.
    pub(super) fn json(&self) -> Option<String> {
        let all = serde_json::json!({ "paused_ms": self.paused_ms(), "pauses": self.told });
        (!self.told.is_empty()).then(|| format!("{all:#}\n"))
    }

    /// Milliseconds of all pauses.
    pub(super) fn paused_ms(&self) -> u64 {
        u64::try_from(self.paused.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(root: &std::path::Path, kind: &str, some: f64, full: f64) {
        let folder = root.join("proc/pressure");
        fs::create_dir_all(&folder).expect("folders");
        let line = |who: &str, share: f64| format!("{who} avg10={share:.2} avg60=0.00 avg300=0.00 total=0\n");
        fs::write(folder.join(kind), line("some", some) + &line("full", full)).expect("written");
    }

    #[test]
    fn a_pause_lasts_until_the_pressure_is_gone_and_not_longer_than_all_may() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let host = Host::open(root.path()).expect("opened");
        let limits = PressureLimits { cpu: 95.0, pause: Duration::from_secs(3600), ..PressureLimits::default() };
        let stop = CancellationToken::new();
        let mut told = Vec::new();
        let mut tell = |why: &str, _: Duration| {
            told.push(why.to_owned());
            // The one who is told is the one who makes it better.
            write(root.path(), "memory", 0.0, 0.0);
        };
        let mut pauses = Pauses::new(&host, limits, &mut tell);
        pauses.look = Duration::from_millis(1);
        assert_eq!(pauses.due(), None, "no pressure files, no pauses");
        write(root.path(), "cpu", 94.0, 0.0);
        write(root.path(), "memory", 99.0, 19.0);
        thread::sleep(pauses.look);
        assert_eq!(pauses.due(), None, "below the limits");
        write(root.path(), "memory", 99.0, 20.0);
        thread::sleep(pauses.look);
        let why = pauses.due().expect("beyond");
        pauses.pause(&why, &stop);
        assert_eq!(pauses.told.len(), 1);
        let paused = pauses.paused;
        assert!(paused > Duration::ZERO && paused < Duration::from_secs(3600), "{paused:?}");
        // Time that is used up is used up, however bad it is.
        write(root.path(), "cpu", 100.0, 0.0);
        pauses.limits.pause = paused + Duration::from_millis(20);
        thread::sleep(pauses.look);
        let why = pauses.due().expect("beyond");
        pauses.pause(&why, &stop);
        assert!(pauses.paused >= pauses.limits.pause);
        write(root.path(), "cpu", 100.0, 0.0);
        thread::sleep(pauses.look);
        assert_eq!(pauses.due(), None);
        assert_eq!(told[0], "memory pressure: full avg10 is 20 %, the limit 20 %");
        assert_eq!(told[1], "cpu pressure: some avg10 is 100 %, the limit 95 %");
    }

    #[test]
    fn a_stop_ends_a_pause() {
        let root = tempfile::tempdir().expect("a temporary folder");
        write(root.path(), "io", 0.0, 100.0);
        let host = Host::open(root.path()).expect("opened");
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let mut tell = move |_: &str, _: Duration| stopping.cancel();
        let limits = PressureLimits { cpu: 95.0, pause: Duration::from_secs(3600), ..PressureLimits::default() };
        let mut pauses = Pauses::new(&host, limits, &mut tell);
        let why = pauses.due().expect("beyond");
        pauses.pause(&why, &stop);
        assert!(pauses.paused < Duration::from_secs(60));
    }
}
