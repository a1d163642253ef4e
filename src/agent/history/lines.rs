//! The history as lines of JSON, oldest first, as a bundle holds it.
//!
//! Records are read from the file one after the other while the lines are read: averages for what is older than the short ring, then every
//! sample. The first line says what the fields are. No more than one line is held.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::Path;

use serde_json::json;

use super::ring::{Found, RingFile};
use super::sample::{Pace, Sample};
use super::{Extent, HistoryError};
use crate::clock::rfc3339;
use crate::protocol::history::{METRICS, Step, Timeline, tidy};

/// Bytes of the first line, and of another, about.
const HEAD: u64 = 8 << 10;
const LINE: u64 = 1500;

/// The samples of a file, oldest first, each time once.
#[derive(Debug)]
pub(super) struct Samples {
    ring: RingFile,
    short: Found,
    long: Found,
    /// Samples that are passed over, the oldest.
    passed: u64,
    /// The number that is next, and of which ring.
    next: (Pace, u64),
    /// The last sample that was handed out.
    tick: u64,
}

impl Samples {
    /// From the beginning; a file without a sample is none.
    pub(super) fn of(path: &Path) -> Result<Self, HistoryError> {
        let ring = RingFile::open(path)?;
        let look = |pace| ring.look(pace).map_err(HistoryError::io("read the history"));
        let (short, long) = (look(Pace::Short)?, look(Pace::Long)?);
        if short.newest == 0 && long.newest == 0 {
            return Err(HistoryError::Empty);
        }
        let mut samples = Self { ring, short, long, passed: 0, next: (Pace::Long, 0), tick: 0 };
        samples.rewind();
        Ok(samples)
    }

    /// From the beginning again; what was written meanwhile does not come.
    pub(super) fn rewind(&mut self) {
        self.tick = 0;
        self.next =
            (Pace::Long, self.long.newest - self.count(Pace::Long) + 1 + self.passed.min(self.count(Pace::Long)));
    }

    /// Slots that have been written.
    fn count(&self, pace: Pace) -> u64 {
        let extent = self.ring.extent();
        match pace {
            Pace::Short => self.short.newest.min(extent.short_slots.into()),
            Pace::Long => self.long.newest.min(extent.long_slots.into()),
        }
    }

    /// Passes over the oldest, so that no more than `most` are left.
    fn keep(&mut self, most: u64) {
        self.passed = (self.count(Pace::Long) + self.count(Pace::Short)).saturating_sub(most);
        self.rewind();
    }

    /// How often they were taken.
    pub(super) fn extent(&self) -> &Extent {
        self.ring.extent()
    }

    /// Records that are not whole.
    pub(super) fn damaged(&self) -> u64 {
        self.short.damaged + self.long.damaged
    }

    pub(super) fn next(&mut self) -> Option<Sample> {
        loop {
            let (pace, number) = self.next;
            let newest = if pace == Pace::Long { self.long.newest } else { self.short.newest };
            if number > newest {
                if pace == Pace::Short {
                    return None;
                }
                let passed = self.passed.saturating_sub(self.count(Pace::Long));
                self.next = (Pace::Short, self.short.newest - self.count(Pace::Short) + 1 + passed);
                continue;
            }
            self.next.1 += 1;
            let Some(sample) = self.ring.read(pace, number) else { continue };
            // An average is of use where the samples that it is made of are gone, all or some.
            let wanted = match pace {
                Pace::Long => self.short.newest == 0 || sample.ticks.0 < self.short.oldest_tick,
                Pace::Short => sample.ticks.0 > self.tick,
            };
            if wanted && sample.ticks.1 > self.tick {
                self.tick = sample.ticks.1;
                return Some(sample);
            }
        }
    }
}

/// Reads as lines of JSON.
#[derive(Debug)]
pub struct Lines {
    samples: Samples,
    timeline: Timeline,
    line: String,
    read: usize,
}

impl Lines {
    /// All lines of the history in this file.
    ///
    /// # Errors
    /// When there is no history, or nothing in it.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let samples = Samples::of(path)?;
        let line = head(&samples);
        Ok(Self { samples, timeline: Timeline::default(), line, read: 0 })
    }
}

impl Lines {
    /// Keeps the newest lines that will probably have room in so many bytes; whether any are passed over for that.
    pub fn keep(&mut self, bytes: u64) -> bool {
        self.samples.keep(bytes.saturating_sub(HEAD) / LINE);
        self.samples.passed > 0
    }

    /// Bytes that they will probably have.
    pub fn probable_bytes(&self) -> u64 {
        HEAD + LINE * (self.samples.count(Pace::Long) + self.samples.count(Pace::Short) - self.samples.passed)
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.line.len() {
            let Some(sample) = self.samples.next() else { return Ok(0) };
            let step = self.timeline.step(&sample.stamp);
            self.line.clear();
            self.read = 0;
            line(&mut self.line, &sample, &step);
        }
        let rest = &self.line.as_bytes()[self.read..];
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.read += n;
        Ok(n)
    }
}

fn head(samples: &Samples) -> String {
    let extent = samples.ring.extent();
    let mut fields = serde_json::Map::new();
    for (name, about) in FIELDS {
        fields.insert((*name).to_owned(), (*about).into());
    }
    for metric in METRICS {
        fields.insert(metric.name.to_owned(), metric.about.into());
        if let Some(suffix) = metric.suffix() {
            let word = if suffix == "_max" { "greatest" } else { "least" };
            let about = format!("{word} sample of it; only where a line is an average of samples");
            fields.insert(format!("{}{suffix}", metric.name), about.into());
        }
    }
    let ring = |every: std::time::Duration, slots: u32| json!({ "interval_seconds": every.as_secs_f64(), "kept_seconds": (every * slots).as_secs_f64() });
    let head = json!({
        "format": "sheaf-history/1",
        "about": "vitals of the node before the bundle, oldest first: averages first, then single samples; one JSON object a line",
        "averages": ring(extent.long, extent.long_slots),
        "samples": ring(extent.short, extent.short_slots),
        "damaged_records": samples.damaged(),
        "fields": fields,
    });
    format!("{head}\n")
}

/// Fields of a line beside what is measured.
const FIELDS: &[(&str, &str)] = &[
    ("at", "the node's clock at the end of the interval, RFC 3339"),
    ("uptime_seconds", "time since boot, which goes on whatever is done to the clock"),
    ("interval_seconds", "time that the line is about, up to `at`"),
    ("boot_id", "the boot's id, as the journal has it too"),
    ("event", "reboot or agent_start: what happened since the line before"),
    ("gap_seconds", "time before the interval of which nothing is known: the agent or the node did not run"),
    (
        "clock_set_seconds",
        "by how much the node's clock was set since the line before; `at` of older lines is by the clock of then",
    ),
    ("disks", "the local file systems with the least space or inodes left; looked at once for each average"),
];

fn line(out: &mut String, sample: &Sample, step: &Step) {
    let stamp = &sample.stamp;
    let boot = uuid::Uuid::from_u128(stamp.boot);
    let _ = write!(
        out,
        "{{\"at\":\"{}\",\"uptime_seconds\":{},\"interval_seconds\":{},\"boot_id\":\"{}\"",
        rfc3339(stamp.at_ms),
        seconds(stamp.uptime_ms as f64),
        seconds(stamp.span_ms as f64),
        boot.simple(),
    );
    if let Some(event) = step.event {
        let _ = write!(out, ",\"event\":{}", serde_json::to_string(&event).unwrap_or_default());
    }
    if let Some(gap) = step.gap_ms {
        let _ = write!(out, ",\"gap_seconds\":{}", seconds(gap as f64));
    }
    if let Some(set) = step.set_ms {
        let _ = write!(out, ",\"clock_set_seconds\":{}", seconds(set as f64));
    }
    let average = sample.ticks.0 != sample.ticks.1;
    for (place, metric) in METRICS.iter().enumerate() {
        number(out, metric.name, "", sample.values[place]);
        if let Some(suffix) = metric.suffix().filter(|_| average) {
            number(out, metric.name, suffix, sample.peaks[place]);
        }
    }
    mounts(out, sample);
    out.push_str("}\n");
}

fn mounts(out: &mut String, sample: &Sample) {
    out.push_str(",\"disks\":[");
    for (place, mounted) in sample.mounts.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let name = serde_json::to_string(&mounted.mount).unwrap_or_default();
        let _ = write!(out, "{comma}{{\"mount\":{name}");
        number(out, "used_percent", "", mounted.used_percent);
        number(out, "inodes_used_percent", "", mounted.inodes_used_percent);
        number(out, "free_kib", "", mounted.free_kib);
        out.push('}');
    }
    out.push(']');
}

/// What is not known is left out: JSON has no word for it.
fn number(out: &mut String, name: &str, suffix: &str, value: f32) {
    if value.is_finite() {
        let _ = write!(out, ",\"{name}{suffix}\":{}", tidy(value));
    }
}

fn seconds(ms: f64) -> f64 {
    ms / 1000.0
}
