//! A node's vitals over time: what is measured, and how a long history becomes the few points that a screen can show.
//!
//! Samples come from a node's ring buffer, or from a bundle's `vitals/history.ndjson`; [`Points`] makes one [`History`] of them, which
//! travels as the answer to [`super::questions::Question::History`]. Time is counted along the samples themselves ([`Timeline`]), so that
//! a clock that was set, a reboot and a pause show as what they are. Nothing here reads a file or a clock.

use serde::{Deserialize, Serialize};

use crate::report;

/// Points of an answer at most.
pub const POINTS: usize = 500;
/// Marks of an answer at most; the latest stay.
const MARKS: usize = 64;
/// Mounts of an answer at most.
const MOUNTS: usize = 8;
/// A clock that moved by less than this against the time since boot was corrected, not set.
const SET_MS: u64 = 2000;

/// Of many values in a row, the one that shows a fault: it is kept beside their average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peak {
    /// None: it hardly changes.
    Not,
    /// The greatest.
    Most,
    /// The least.
    Least,
}

/// One thing that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, which ends in its unit.
    pub name: &'static str,
    /// What it is, for whoever reads a bundle.
    pub about: &'static str,
    /// What is kept beside the average.
    pub peak: Peak,
}

impl Metric {
    /// What the name of the peak ends in.
    pub fn suffix(&self) -> Option<&'static str> {
        match self.peak {
            Peak::Not => None,
            Peak::Most => Some("_max"),
            Peak::Least => Some("_min"),
        }
    }
}

macro_rules! metrics {
    ($($key:ident $name:literal $peak:ident $about:literal,)*) => {
        /// What is measured, by its place in a sample. Places never change: samples are kept across releases.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Key {
            $(#[doc = $about] $key,)*
        }

        /// Everything that is measured, in the order of [`Key`].
        pub const METRICS: &[Metric] = &[$(Metric { name: $name, about: $about, peak: Peak::$peak },)*];
    };
}

metrics! {
    CpuUser "cpu_user_percent" Most "share of all processors' time in programs, nice ones included",
    CpuSystem "cpu_system_percent" Most "share in the kernel, interrupts included",
    CpuIowait "cpu_iowait_percent" Most "share idle while a task waited for a disk",
    CpuSteal "cpu_steal_percent" Most "share that the hypervisor gave to others",
    Load "load_1min" Most "load average of one minute",
    MemoryTotal "memory_total_kib" Not "memory of the node",
    MemoryAvailable "memory_available_kib" Least "memory that programs can have without swapping",
    SwapTotal "swap_total_kib" Not "swap of the node",
    SwapUsed "swap_used_kib" Most "swap in use",
    PressureCpu "pressure_cpu_some_percent" Most "share of time in which some task waited for a processor",
    PressureIo "pressure_io_some_percent" Most "share of time in which some task waited for a disk",
    PressureIoFull "pressure_io_full_percent" Most "share of time in which all tasks that could run waited for a disk",
    PressureMemory "pressure_memory_some_percent" Most "share of time in which some task waited for memory",
    PressureMemoryFull "pressure_memory_full_percent" Most "share of time in which all tasks that could run waited for memory",
    DiskUsed "disk_used_percent" Most "space used on the fullest local file system",
    DiskInodes "disk_inodes_used_percent" Most "inodes used on the local file system with the fewest left",
    DiskRead "disk_read_bytes_per_second" Most "bytes read from all disks",
    DiskWrite "disk_write_bytes_per_second" Most "bytes written to all disks",
    DiskReads "disk_reads_per_second" Most "read requests to all disks",
    DiskWrites "disk_writes_per_second" Most "write requests to all disks",
    DiskBusy "disk_busy_percent" Most "share of time in which the busiest disk had something to do",
    NetworkReceived "network_received_bytes_per_second" Most "bytes received on all network devices",
    NetworkSent "network_sent_bytes_per_second" Most "bytes sent on all network devices",
    NetworkFaults "network_faults_per_second" Most "packets dropped or damaged, both ways, on all network devices",
    Tasks "tasks" Most "processes and their threads",
    Running "tasks_running" Most "tasks that run or wait for a processor",
    Blocked "tasks_blocked" Most "tasks that wait for a disk and cannot be interrupted",
    Forks "forks_per_second" Most "processes and threads that were started",
    AgentRss "agent_rss_kib" Most "memory of the agent itself",
}

/// When a sample was taken, by the node's clock and by the time since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The node's clock, milliseconds since 1970.
    pub at_ms: i64,
    /// Milliseconds since boot.
    pub uptime_ms: u64,
    /// Milliseconds that the sample is about, up to that time.
    pub span_ms: u64,
    /// The boot's id.
    pub boot: u128,
    /// Whether the agent took no sample before it since it started.
    pub first: bool,
}

/// What happened between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The node was booted.
    Reboot,
    /// The agent was started.
    AgentStart,
    /// The node's clock was set.
    ClockSet,
    /// No samples were taken for a while.
    Gap,
    /// An event of a later version.
    #[serde(other)]
    Unknown,
}

/// The step from one sample to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds from the end of the one to the end of the other, as far as that can be told.
    pub by_ms: u64,
    /// Whether the node was booted, or the agent started, in between.
    pub event: Option<Event>,
    /// Milliseconds that no sample is about, when they are many.
    pub gap_ms: Option<u64>,
    /// Milliseconds by which the clock was set, when it was.
    pub set_ms: Option<i64>,
}

/// Counts the time along samples, oldest first. Within a boot it goes by the time since boot, whatever the clock says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeline {
    last: Option<Stamp>,
    /// Milliseconds from the first sample's beginning to the last one's end.
    pub elapsed_ms: u64,
}

impl Timeline {
    /// Goes on to the next sample.
    pub fn step(&mut self, next: &Stamp) -> Step {
        let Some(last) = self.last.replace(*next) else {
            self.elapsed_ms = next.span_ms;
            return Step { event: next.first.then_some(Event::AgentStart), ..Step::default() };
        };
        let by_clock = next.at_ms.saturating_sub(last.at_ms);
        let mut step = Step::default();
        if last.boot == next.boot {
            step.by_ms = next.uptime_ms.saturating_sub(last.uptime_ms);
            step.event = next.first.then_some(Event::AgentStart);
            let moved = by_clock.saturating_sub_unsigned(step.by_ms);
            // A thousandth is more than any clock that is looked after drifts.
            step.set_ms = (moved.unsigned_abs() >= SET_MS.max(step.by_ms / 1000)).then_some(moved);
        } else {
            // Nothing but the clock goes on through a reboot; it may have been set.
            step.by_ms = u64::try_from(by_clock).unwrap_or(0).max(next.span_ms);
            step.event = Some(Event::Reboot);
        }
        let gap = step.by_ms.saturating_sub(next.span_ms);
        step.gap_ms = (gap >= 1000 && gap > next.span_ms / 2).then_some(gap);
        self.elapsed_ms = self.elapsed_ms.saturating_add(step.by_ms);
        step
    }
}

/// A node's history, as it answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The clock at the newest sample, milliseconds since 1970.
    pub newest_ms: i64,
    /// Milliseconds between two points.
    pub step_ms: u64,
    /// Names of what is measured, in the order of a point's values.
    pub metrics: Vec<String>,
    /// Oldest first; a time without samples has none.
    pub points: Vec<Point>,
    /// What happened meanwhile, oldest first.
    #[serde(default)]
    pub marks: Vec<Mark>,
    /// The fullest local file systems now.
    #[serde(default)]
    pub mounts: Vec<Mounted>,
    /// Samples that were damaged, and are left out.
    #[serde(default)]
    pub damaged: u64,
}

/// The samples of one step of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The clock at its last sample, milliseconds since 1970.
    pub at_ms: i64,
    /// Milliseconds from its last sample to the newest of all, by the time since boot.
    pub ago_ms: u64,
    /// Averages, in the order of [`History::metrics`].
    pub values: Vec<Option<f32>>,
    /// What stood out, see [`Peak`]; in the same order.
    pub peaks: Vec<Option<f32>>,
}

/// Something that happened between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The clock at the next sample, milliseconds since 1970.
    pub at_ms: i64,
    /// Milliseconds from then to the newest sample.
    pub ago_ms: u64,
    /// What.
    pub event: Event,
    /// By how much the clock was set, or how long there were no samples; milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_ms: Option<i64>,
}

/// A local file system in a sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mounted {
    /// Where it is mounted.
    pub mount: String,
    /// Space used.
    pub used_percent: f32,
    /// Inodes used.
    pub inodes_used_percent: f32,
    /// Space left.
    pub free_kib: f32,
}

impl History {
    /// What comes from outside, within the bounds that a screen has.
    pub fn bounded(mut self) -> Self {
        self.metrics.truncate(2 * METRICS.len());
        self.metrics.iter_mut().for_each(|name| *name = report::brief(name, 80));
        self.points.truncate(POINTS);
        for point in &mut self.points {
            point.values.truncate(self.metrics.len());
            point.peaks.truncate(self.metrics.len());
        }
        self.marks.truncate(MARKS);
        self.mounts.truncate(MOUNTS);
        self.mounts.iter_mut().for_each(|mounted| mounted.mount = report::brief(&mounted.mount, 256));
        self
    }
}

/// Makes a history of samples: the last ones, in steps of the same length. Its memory is that of the points, however many samples there are.
pub struct Points {
    timeline: Timeline,
    /// Where on the timeline the points end; the first begins as many steps before.
    until_ms: u64,
    step_ms: u64,
    at: Vec<Bucket>,
    marks: Vec<Mark>,
    newest_ms: i64,
}

#[derive(Clone)]
struct Bucket {
    /// The clock, and how long that is ago.
    last: Option<(i64, u64)>,
    sums: [(f64, f64); METRICS.len()],
    peaks: [f32; METRICS.len()],
}

impl Points {
    /// `whole_ms` is what a [`Timeline`] counts over all samples, which come each `every_ms` at best; the points are about the last
    /// `since_ms` of it.
    pub fn new(whole_ms: u64, every_ms: u64, since_ms: u64, points: usize) -> Self {
        let span = since_ms.clamp(1, whole_ms.max(1));
        let step_ms = span.div_ceil(points.clamp(1, POINTS) as u64).max(every_ms).max(1);
        let empty = Bucket { last: None, sums: [(0.0, 0.0); METRICS.len()], peaks: [f32::NAN; METRICS.len()] };
        let at = vec![empty; usize::try_from(span.div_ceil(step_ms)).unwrap_or(POINTS)];
        Self { timeline: Timeline::default(), until_ms: whole_ms, step_ms, at, marks: Vec::new(), newest_ms: 0 }
    }

    /// The next sample, oldest first; what is not measured is not a number.
    pub fn add(&mut self, stamp: &Stamp, values: &[f32], peaks: &[f32]) {
        let step = self.timeline.step(stamp);
        self.newest_ms = stamp.at_ms;
        let ago = self.until_ms.saturating_sub(self.timeline.elapsed_ms);
        let whole = self.step_ms.saturating_mul(self.at.len() as u64);
        if ago >= whole {
            return;
        }
        self.mark(stamp, &step);
        // It is part of each point that it fills by half, or that is half of it: none is left out, none gets its neighbour's.
        let (began, long) = (ago.saturating_add(stamp.span_ms).min(whole), stamp.span_ms.min(self.step_ms));
        for place in ago / self.step_ms..=began.saturating_sub(1).max(ago) / self.step_ms {
            let (end, begin) = (ago.max(place * self.step_ms), began.min((place + 1) * self.step_ms));
            let shared = begin.saturating_sub(end);
            let back = self.at.len() - 1 - place as usize;
            if 2 * shared >= long {
                let last = (stamp.at_ms.saturating_sub_unsigned(end - ago), end);
                self.at[back].add(last, shared, values, peaks);
            }
        }
    }

    fn mark(&mut self, stamp: &Stamp, step: &Step) {
        let ago_ms = self.until_ms.saturating_sub(self.timeline.elapsed_ms);
        let mark = |event, by_ms| Mark { at_ms: stamp.at_ms, ago_ms, event, by_ms };
        let gap = step.gap_ms.map(|gap| i64::try_from(gap).unwrap_or(i64::MAX));
        self.marks.extend(step.set_ms.map(|by| mark(Event::ClockSet, Some(by))));
        match step.event {
            Some(event) => self.marks.push(mark(event, gap)),
            None => self.marks.extend(gap.map(|gap| mark(Event::Gap, Some(gap)))),
        }
        let spare = self.marks.len().saturating_sub(MARKS);
        self.marks.drain(..spare);
    }

    /// The history.
    pub fn finish(self, mounts: Vec<Mounted>, damaged: u64) -> History {
        let Self { step_ms, at, marks, newest_ms, .. } = self;
        let point = |bucket: Bucket| {
            let (at_ms, ago_ms) = bucket.last?;
            let values = bucket.sums.map(|(sum, weight)| (weight > 0.0).then(|| tidy((sum / weight) as f32)));
            let peaks = std::array::from_fn::<_, { METRICS.len() }, _>(|place| {
                let peak =
                    Some(bucket.peaks[place]).filter(|peak| peak.is_finite() && METRICS[place].peak != Peak::Not);
                peak.map(tidy)
            });
            Some(Point { at_ms, ago_ms, values: values.to_vec(), peaks: peaks.to_vec() })
        };
        let metrics = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
        History {
            newest_ms,
            step_ms,
            metrics,
            points: at.into_iter().filter_map(point).collect(),
            marks,
            mounts,
            damaged,
        }
    }
}

impl Bucket {
    fn add(&mut self, last: (i64, u64), shared_ms: u64, values: &[f32], peaks: &[f32]) {
        self.last = Some(last);
        let weight = (shared_ms as f64).max(1.0);
        for (place, metric) in METRICS.iter().enumerate() {
            let (value, peak) = (values.get(place), peaks.get(place));
            let Some(value) = value.copied().filter(|value| value.is_finite()) else { continue };
            self.sums[place].0 += f64::from(value) * weight;
            self.sums[place].1 += weight;
            let peak = peak.copied().filter(|peak| peak.is_finite()).unwrap_or(value);
            self.peaks[place] = metric.worse(self.peaks[place], peak);
        }
    }
}

impl Metric {
    /// Of two values the one that stands out more; what is not a number never does.
    pub fn worse(&self, one: f32, other: f32) -> f32 {
        // `max` and `min` give the number where the other is none.
        match self.peak {
            Peak::Not => one,
            Peak::Most => one.max(other),
            Peak::Least => one.min(other),
        }
    }
}

/// As fine as anyone reads: two digits after the point, none from a hundred on.
pub fn tidy(value: f32) -> f32 {
    if value.abs() >= 100.0 { value.round() } else { (value * 100.0).round() / 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(at_s: i64, uptime_s: u64) -> Stamp {
        Stamp { at_ms: at_s * 1000, uptime_ms: uptime_s * 1000, span_ms: 10_000, boot: 1, first: false }
    }

    #[test]
    fn names_are_unique_and_stand_where_their_keys_say() {
        let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(METRICS[Key::AgentRss as usize].name, "agent_rss_kib");
        assert_eq!(METRICS[Key::MemoryAvailable as usize].suffix(), Some("_min"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
    }

    #[test]
    fn a_clock_that_is_set_moves_no_sample() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.step(&stamp(1000, 50)), Step::default());
        assert_eq!(timeline.step(&stamp(1010, 60)).set_ms, None);
        assert_eq!(timeline.step(&stamp(4620, 70)), Step { by_ms: 10_000, set_ms: Some(3_600_000), ..Step::default() });
        assert_eq!(timeline.step(&stamp(30, 80)).set_ms, Some(-4_600_000));
        assert_eq!(timeline.step(&stamp(41, 90)).set_ms, None, "a second is a correction");
        assert_eq!(timeline.elapsed_ms, 50_000);
    }

    #[test]
    fn reboots_and_pauses_show() {
        let mut timeline = Timeline::default();
        timeline.step(&stamp(1000, 50));
        let step = timeline.step(&Stamp { first: true, ..stamp(1100, 150) });
        assert_eq!((step.event, step.gap_ms), (Some(Event::AgentStart), Some(90_000)));
        let step = timeline.step(&Stamp { boot: 2, first: true, ..stamp(1400, 30) });
        assert_eq!((step.event, step.gap_ms, step.set_ms), (Some(Event::Reboot), Some(290_000), None));
        // After a reboot the clock may be anywhere: no time is made up.
        let step = timeline.step(&Stamp { boot: 3, ..stamp(5, 30) });
        assert_eq!((step.event, step.by_ms, step.gap_ms), (Some(Event::Reboot), 10_000, None));
        let step = timeline.step(&Stamp { uptime_ms: 0, ..stamp(15, 0) });
        assert_eq!((step.event, step.by_ms), (Some(Event::Reboot), 10_000));
        assert_eq!(timeline.step(&stamp(i64::MIN / 1000, 0)).by_ms, 0, "nothing overflows");
        assert_eq!(timeline.elapsed_ms, 430_000);
    }

    fn history(samples: &[(Stamp, f32)], since_s: u64, points: usize) -> History {
        let mut timeline = Timeline::default();
        samples.iter().for_each(|(stamp, _)| {
            timeline.step(stamp);
        });
        let mut made = Points::new(timeline.elapsed_ms, 10_000, since_s * 1000, points);
        for (stamp, value) in samples {
            let mut values = [f32::NAN; METRICS.len()];
            (values[Key::Load as usize], values[Key::MemoryAvailable as usize]) = (*value, *value);
            made.add(stamp, &values, &[]);
        }
        made.finish(Vec::new(), 0)
    }

    #[test]
    fn points_keep_averages_and_what_stands_out() {
        let samples: Vec<(Stamp, f32)> = (1..=60).map(|n| (stamp(1000 + n * 10, n as u64 * 10), n as f32)).collect();
        let made = history(&samples, 600, 6);
        assert_eq!((made.points.len(), made.step_ms, made.newest_ms), (6, 100_000, 1_600_000));
        let (load, memory) = (Key::Load as usize, Key::MemoryAvailable as usize);
        let last = &made.points[5];
        assert_eq!((last.ago_ms, last.at_ms), (0, 1_600_000));
        assert_eq!((last.values[load], last.peaks[load], last.peaks[memory]), (Some(55.5), Some(60.0), Some(51.0)));
        assert_eq!(last.values[Key::Tasks as usize], None);
        assert_eq!((made.points[0].ago_ms, made.points[0].values[load]), (500_000, Some(5.5)));
        assert!(made.marks.is_empty());
        let loads = |made: &History| made.points.iter().map(|point| point.values[load]).collect::<Vec<_>>();
        assert_eq!(
            loads(&history(&samples, 30, 500)),
            [Some(58.0), Some(59.0), Some(60.0)],
            "no more points than samples"
        );
        assert_eq!(loads(&history(&samples, 1 << 40, 1)), [Some(30.5)]);
        assert_eq!(history(&[], 600, 10), History { step_ms: 10_000, metrics: made.metrics, ..History::default() });
    }

    #[test]
    fn a_long_sample_fills_its_points_and_a_gap_stays_one() {
        let long = |at_s, value| (Stamp { span_ms: 60_000, ..stamp(at_s, at_s as u64) }, value);
        // An average that is some milliseconds late, a pause of two minutes, then single samples.
        let mut late = long(120, 2.0);
        late.0.uptime_ms += 30;
        let mut samples = vec![long(60, 1.0), late];
        samples.extend((24..=30).map(|n| (stamp(n * 10, n as u64 * 10), 3.0)));
        let made = history(&samples, 600, 500);
        let by_ago: Vec<(u64, f32)> = made
            .points
            .iter()
            .map(|point| (point.ago_ms / 10_000, point.values[Key::Load as usize].expect("a load")))
            .collect();
        let ago = |value: f32| -> Vec<u64> {
            by_ago.iter().filter(|(_, load)| *load == value).map(|(ago, _)| *ago).collect()
        };
        assert_eq!(ago(1.0), [29, 28, 27, 26, 25, 24]);
        assert_eq!(ago(2.0), [23, 22, 21, 20, 19, 18]);
        assert_eq!(ago(3.0), [6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(made.marks.iter().map(|mark| mark.event).collect::<Vec<_>>(), [Event::Gap]);
    }

    #[test]
    fn what_comes_from_outside_is_bounded() {
        let metrics = vec!["x\x1b".repeat(100); 1000];
        let points = vec![Point { values: vec![None; 5000], ..Point::default() }; 5000];
        let mark = Mark { at_ms: 0, ago_ms: 0, event: Event::Gap, by_ms: None };
        let wild = History { metrics, points, marks: vec![mark; 1000], ..History::default() }.bounded();
        assert_eq!((wild.points.len(), wild.marks.len()), (POINTS, MARKS));
        assert!(wild.points[0].values.len() <= 2 * METRICS.len() && !wild.metrics[0].contains('\x1b'));
    }
}
