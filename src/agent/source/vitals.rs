//! How a node is right now: processors, load, memory, disks, pressure, the busiest processes, failed units.
//!
//! Readings come from `/proc` below the host's root, and for this host from sysinfo (processes) and systemctl; they go out as
//! [`Vitals`]. A disk is asked with a time limit and network file systems are never asked. It keeps nothing but what shares are taken
//! from: least of all a table of processes, which would make an idle agent as large as its node is busy.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

use super::disks;
use super::patience::Patient;
use super::units;
use crate::agent::host::Host;
use crate::clock::Clock;
use crate::protocol::agents::{Cpu, Pressure, Process, Share, Vitals};
use crate::report;

/// Time between the two looks that shares are taken from.
const LOOK: Duration = Duration::from_millis(400);
/// Processes that are named.
const BUSIEST: usize = 10;
/// How long the list of failed units holds.
const UNITS: Duration = Duration::from_secs(60);
/// How a node is now, processes and services included: two samples with a short time between, so that shares are of this moment. It blocks for that
/// time, and at most some seconds more where a disk or systemd does not answer; `wait` is the time that each disk has.
pub fn now(host: &Host, wait: Duration) -> Vitals {
    let mut sampler = Sampler::new(wait);
    sampler.ticks = ticks(host);
    let mut processes = Processes::of(host);
    let services = units::look(host);
    std::thread::sleep(LOOK);
    let mut vitals = sampler.sample(host);
    vitals.processes = processes.as_mut().map(|table| table.busiest(vitals.memory.total_kb)).unwrap_or_default();
    vitals.units = services.again(host, vitals.memory.total_kb, vitals.uptime_secs);
    vitals
}

/// Takes vitals, all but processes and services; shares are since the sample before.
pub struct Sampler {
    patient: Patient,
    clock: Clock,
    ticks: Ticks,
    units: (Option<Instant>, Vec<String>),
}

/// Processor time since boot, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    user: u64,
    sys: u64,
    wait: u64,
    all: u64,
}

impl Sampler {
    /// A sampler; `wait` is the time that each disk has to answer.
    pub fn new(wait: Duration) -> Self {
        Self {
            patient: Patient::with_mounts(wait),
            clock: Clock::system(),
            ticks: Ticks::default(),
            units: (None, Vec::new()),
        }
    }

    /// One sample. It blocks, at most some seconds where a disk or systemd does not answer. The first one's shares are since boot.
    pub fn sample(&mut self, host: &Host) -> Vitals {
        let ticks = ticks(host);
        let before = std::mem::replace(&mut self.ticks, ticks);
        let (memory, swap) = memory(host);
        Vitals {
            at_ms: self.clock.now_ms(),
            uptime_secs: uptime(host),
            cpu: shares(before, ticks),
            load: load(host),
            memory,
            swap,
            disks: disks::read(host, self.patient),
            pressure: pressure(host),
            processes: Vec::new(),
            failed_units: self.failed_units(host),
            units: Vec::new(),
        }
    }

    fn failed_units(&mut self, host: &Host) -> Vec<String> {
        if !units::answers(host) {
            return Vec::new();
        }
        if self.units.0.is_none_or(|at| at.elapsed() >= UNITS) {
            self.units = (Some(Instant::now()), ask_systemd());
        }
        self.units.1.clone()
    }
}

/// The processes of this host as sysinfo has them; it knows those of no other root.
struct Processes(System);

impl Processes {
    /// A first look, which shares of processor time are taken from.
    fn of(host: &Host) -> Option<Self> {
        let mut table = Self(host.is_own().then(System::new)?.ok()?);
        table.look();
        Some(table)
    }

    fn look(&mut self) {
        let wanted = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        self.0.refresh_processes_specifics(ProcessesToUpdate::All, true, wanted);
    }

    /// A second look: those that were busiest since the first.
    fn busiest(&mut self, total_kb: u64) -> Vec<Process> {
        self.look();
        let mut all: Vec<&sysinfo::Process> = self.0.processes().values().collect();
        let busier = |a: &&sysinfo::Process, b: &&sysinfo::Process| {
            b.cpu_usage().total_cmp(&a.cpu_usage()).then(b.memory().cmp(&a.memory())).then(a.pid().cmp(&b.pid()))
        };
        all.sort_unstable_by(busier);
        let process = |process: &&sysinfo::Process| Process {
            pid: process.pid().as_u32(),
            name: report::brief(&process.name().to_string_lossy(), 64),
            state: process.status().to_string(),
            uptime_secs: process.run_time(),
            mem_kb: process.memory() / 1024,
            mem_percent: percent(process.memory() / 1024, total_kb),
            cpu_percent: tenth(f64::from(process.cpu_usage())),
        };
        all.iter().take(BUSIEST).map(process).collect()
    }
}

fn memory(host: &Host) -> (Share, Share) {
    let table = memory_table(host);
    let kb = |key: &str| table.get(key).copied().unwrap_or_default();
    let memory = share(kb("MemTotal").saturating_sub(kb("MemAvailable")), kb("MemTotal"));
    (memory, share(kb("SwapTotal").saturating_sub(kb("SwapFree")), kb("SwapTotal")))
}

fn ask_systemd() -> Vec<String> {
    let arguments = ["list-units", "--state=failed", "--plain", "--full", "--no-legend", "--no-pager"];
    let text = units::systemctl(&arguments, 64 << 10).unwrap_or_default();
    let unit = |line: &str| line.split_whitespace().next().map(|unit| report::brief(unit, 256));
    text.lines().filter_map(unit).take(100).collect()
}

/// `/proc/meminfo`, KiB by name.
pub fn memory_table(host: &Host) -> BTreeMap<String, u64> {
    let text = host.text("/proc/meminfo").unwrap_or_default();
    let pair = |line: &str| {
        let (key, value) = line.split_once(':')?;
        Some((key.to_owned(), value.split_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// Seconds since boot.
pub fn uptime(host: &Host) -> u64 {
    let text = host.text("/proc/uptime").unwrap_or_default();
    text.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

fn load(host: &Host) -> [f64; 3] {
    let text = host.text("/proc/loadavg").unwrap_or_default();
    let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>().unwrap_or_default());
    std::array::from_fn(|_| numbers.next().filter(|n| n.is_finite()).unwrap_or_default())
}

fn ticks(host: &Host) -> Ticks {
    parse_ticks(&host.text("/proc/stat").unwrap_or_default())
}

fn parse_ticks(text: &str) -> Ticks {
    let line = text.lines().find(|line| line.starts_with("cpu ")).unwrap_or_default();
    let numbers: Vec<u64> = line.split_whitespace().skip(1).map(|word| word.parse().unwrap_or_default()).collect();
    let at = |place: usize| numbers.get(place).copied().unwrap_or_default();
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    Ticks {
        user: at(0).saturating_add(at(1)),
        sys: [2, 5, 6].map(at).iter().fold(0, |sum: u64, n| sum.saturating_add(*n)),
        wait: at(4),
        all: numbers.iter().take(8).fold(0, |sum: u64, n| sum.saturating_add(*n)),
    }
}

fn shares(before: Ticks, now: Ticks) -> Cpu {
    let all = now.all.saturating_sub(before.all);
    // iowait may go backwards, and everything does when a fixture's root is read.
    let part = |before: u64, now: u64| percent(now.saturating_sub(before), all);
    Cpu { user: part(before.user, now.user), sys: part(before.sys, now.sys), wait: part(before.wait, now.wait) }
}

/// Pressure stall information of a host: `cpu`, `io`, `memory`; empty where the kernel has none.
pub fn pressure(host: &Host) -> BTreeMap<String, Pressure> {
    let read = |name: &str| Some((name.to_owned(), parse_pressure(&host.text(&format!("/proc/pressure/{name}"))?)));
    ["cpu", "io", "memory"].into_iter().filter_map(read).collect()
}

fn parse_pressure(text: &str) -> Pressure {
    let value = |kind: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(kind))?;
        line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse::<f64>().ok())
    };
    let value = |kind, key| value(kind, key).filter(|n| n.is_finite()).unwrap_or_default();
    Pressure { some10: value("some", "avg10"), some60: value("some", "avg60"), full10: value("full", "avg10") }
}

fn share(used_kb: u64, total_kb: u64) -> Share {
    Share { used_kb, total_kb, percent: percent(used_kb, total_kb) }
}

pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { tenth((part as f64 * 100.0 / whole as f64).min(100.0)) }
}

/// Tenths are as fine as anyone reads.
pub(super) fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn this_host_has_vitals() {
        let host = Host::open(Path::new("/")).expect("opened");
        let mut sampler = Sampler::new(WAIT);
        sampler.sample(&host);
        let vitals = sampler.sample(&host);
        assert!(vitals.at_ms > 0 && vitals.uptime_secs > 0);
        assert!(vitals.memory.total_kb > 0 && vitals.memory.used_kb <= vitals.memory.total_kb);
        assert!(vitals.processes.is_empty(), "they are looked for only when somebody asks");
        let cpu = vitals.cpu;
        assert!([cpu.user, cpu.sys, cpu.wait].iter().all(|share| (0.0..=100.0).contains(share)), "{cpu:?}");
        for disk in &vitals.disks {
            assert!(disk.space.used_kb <= disk.space.total_kb && disk.inode_percent <= 100.0, "{disk:?}");
        }
    }

    #[test]
    fn vitals_of_now_have_shares_of_now() {
        let host = Host::open(Path::new("/")).expect("opened");
        let vitals = now(&host, WAIT);
        assert!(vitals.memory.total_kb > 0);
        assert!(!vitals.processes.is_empty() && vitals.processes.len() <= BUSIEST);
        assert_eq!(vitals.units.is_empty(), !units::answers(&host), "services where systemd answers, and only there");
        assert!(vitals.units.iter().all(|unit| !unit.name.is_empty() && unit.mem_kb <= vitals.memory.total_kb));
    }

    #[test]
    fn another_root_is_read_and_shares_are_since_the_last_sample() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        put(root, "proc/stat", "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n");
        put(root, "proc/loadavg", "0.50 1.25 2.00 1/100 7\n");
        put(root, "proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 250 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n");
        put(
            root,
            "proc/pressure/io",
            "some avg10=1.50 avg60=0.70 avg300=0.00 total=9\nfull avg10=0.25 avg60=0 total=1\n",
        );
        let host = Host::open(root).expect("opened");
        let mut sampler = Sampler::new(WAIT);
        sampler.sample(&host);
        put(root, "proc/stat", "cpu  130 20 110 710 120 5 5 0 0 0\n");
        let vitals = sampler.sample(&host);
        assert_eq!(vitals.cpu, Cpu { user: 50.0, sys: 20.0, wait: 20.0 });
        assert_eq!(vitals.load, [0.5, 1.25, 2.0]);
        assert_eq!(vitals.memory, Share { used_kb: 750, total_kb: 1000, percent: 75.0 });
        assert_eq!(vitals.swap.percent, 0.0);
        assert_eq!(vitals.pressure.len(), 1, "only what the kernel has");
        assert_eq!(vitals.pressure["io"], Pressure { some10: 1.5, some60: 0.7, full10: 0.25 });
        assert!(vitals.processes.is_empty() && vitals.failed_units.is_empty());
    }

    #[test]
    fn a_root_without_anything_gives_zeros() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        put(folder.path(), "proc/stat", "cpu  x y 18446744073709551615 18446744073709551615\n");
        put(folder.path(), "proc/loadavg", "NaN inf");
        let vitals = Sampler::new(WAIT).sample(&Host::open(folder.path()).expect("opened"));
        assert_eq!(vitals.load, [0.0; 3]);
        assert!(serde_json::to_string(&vitals).is_ok());
    }
}
