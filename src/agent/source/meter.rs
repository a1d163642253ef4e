//! What the history is made of: counters of the kernel, read every few seconds and held against the reading before.
//!
//! Readings come from `/proc` below the host's root, line by line through one small buffer; a [`Sample`] goes out. No process is
//! looked at but the agent itself. Disks are asked how full they are by [`Meter::look_around`], now and then, since that may
//! take time; everything else is an answer of the kernel's. What a kernel does not have is not known, and no error.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Read as _;
use std::path::Path;

use super::disks;
use super::patience::Patient;
use crate::agent::history::{Sample, WORST};
use crate::agent::host::{Host, READ};
use crate::protocol::agents::Disk;
use crate::protocol::history::{Key, METRICS, Mounted, Stamp};

/// Bytes that are read at once; a line that is longer is passed over.
const LINES: usize = 4096;
/// Disks and network devices that are told apart.
const DEVICES: usize = 64;
/// Block devices that lie on others, or on none.
const NO_DISK: &[&[u8]] = &[b"loop", b"ram", b"zram", b"dm-", b"md", b"sr", b"fd", b"drbd"];
/// Bytes of a sector in `/proc/diskstats`, whatever the disk's own are.
const SECTOR: u64 = 512;

/// Counters since boot; `None` for what this kernel does not have.
#[derive(Clone, Debug, Default)]
struct Counters {
    uptime_ms: u64,
    /// User, system, iowait, steal, all: ticks.
    cpu: Option<[u64; 5]>,
    forks: Option<u64>,
    /// Of processors some, of disks some and full, of memory some and full: microseconds.
    pressure: [Option<u64>; 5],
    /// Bytes and requests read, bytes and requests written.
    disks: Option<[u64; 4]>,
    /// Milliseconds in which each disk was busy, by its name's hash.
    busy: Vec<(u64, u64)>,
    /// Bytes received and sent, packets lost.
    network: Option<[u64; 3]>,
}

/// Takes samples; rates are since the one before.
#[derive(Debug)]
pub struct Meter {
    host: Host,
    patient: Patient,
    boot: u128,
    before: Option<Counters>,
    first: bool,
    mounts: Vec<Mounted>,
    /// Hashes of the names of network devices that stand for hardware; none where all count.
    hardware: Vec<u64>,
}

impl Meter {
    /// A meter of this host; `patient` asks its disks.
    pub fn new(host: Host, patient: Patient) -> Self {
        let boot = host.text("/proc/sys/kernel/random/boot_id").and_then(|id| id.parse::<uuid::Uuid>().ok());
        let boot = boot.map_or(0, |id| id.as_u128());
        Self { host, patient, boot, before: None, first: true, mounts: Vec::new(), hardware: Vec::new() }
    }

    /// Asks the disks how full they are, and which network devices there are. It blocks where a disk does.
    pub fn look_around(&mut self) {
        let mut disks = disks::look(&self.host, self.patient);
        let full = |disk: &Disk| disk.space.percent.max(disk.inode_percent);
        disks.sort_by(|(a, _), (b, _)| full(b).total_cmp(&full(a)));
        disks.truncate(WORST);
        let mounted = |(disk, free_kb): (Disk, u64)| Mounted {
            mount: disk.mount,
            used_percent: disk.space.percent as f32,
            inodes_used_percent: disk.inode_percent as f32,
            free_kib: free_kb as f32,
        };
        self.mounts = disks.into_iter().map(mounted).collect();
        self.hardware.clear();
        let devices = fs::read_dir(self.host.below(Path::new("/sys/class/net"))).into_iter().flatten().flatten();
        for device in devices.take(10_000).filter(|device| device.path().join("device").exists()) {
            self.hardware.push(hash(device.file_name().as_encoded_bytes()));
        }
        self.hardware.truncate(DEVICES);
    }

    /// One sample; none the first time, and where the host does not even say how long it runs.
    pub fn sample(&mut self, at_ms: i64) -> Option<Sample> {
        let mut values = [f32::NAN; METRICS.len()];
        let now = self.read(&mut values)?;
        let before = self.before.replace(now.clone())?;
        let span_ms = now.uptime_ms.checked_sub(before.uptime_ms).filter(|span| *span > 0)?;
        let first = std::mem::replace(&mut self.first, false);
        let mut sample = Sample::empty(Stamp { at_ms, uptime_ms: now.uptime_ms, span_ms, boot: self.boot, first });
        sample.values = values;
        rates(&mut sample.values, &before, &now, span_ms);
        sample.mounts.clone_from(&self.mounts);
        let most = |of: fn(&Mounted) -> f32| self.mounts.iter().map(of).fold(f32::NAN, f32::max);
        sample.values[Key::DiskUsed as usize] = most(|mounted| mounted.used_percent);
        sample.values[Key::DiskInodes as usize] = most(|mounted| mounted.inodes_used_percent);
        Some(sample)
    }

    /// Reads counters, and puts what is no counter among the values.
    fn read(&self, values: &mut [f32; METRICS.len()]) -> Option<Counters> {
        let mut now = Counters::default();
        let mut set = |key: Key, value: f32| values[key as usize] = value;
        self.lines("/proc/uptime", &mut |line| now.uptime_ms = uptime(line).unwrap_or(0));
        if now.uptime_ms == 0 {
            return None;
        }
        self.lines("/proc/stat", &mut |line| match words(line).next() {
            Some(b"cpu") => now.cpu = Some(cpu(line)),
            Some(b"processes") => now.forks = nth(line, 1),
            Some(b"procs_running") => set(Key::Running, value(nth(line, 1))),
            Some(b"procs_blocked") => set(Key::Blocked, value(nth(line, 1))),
            _ => {}
        });
        self.lines("/proc/loadavg", &mut |line| {
            set(Key::Load, words(line).next().and_then(float).unwrap_or(f32::NAN));
            let all = words(line).nth(3).and_then(|word| word.split(|byte| *byte == b'/').nth(1));
            set(Key::Tasks, value(all.and_then(integer)));
        });
        let mut swap = [None; 2];
        self.lines("/proc/meminfo", &mut |line| match words(line).next() {
            Some(b"MemTotal:") => set(Key::MemoryTotal, value(nth(line, 1))),
            Some(b"MemAvailable:") => set(Key::MemoryAvailable, value(nth(line, 1))),
            Some(b"SwapTotal:") => swap[0] = nth(line, 1),
            Some(b"SwapFree:") => swap[1] = nth(line, 1),
            _ => {}
        });
        set(Key::SwapTotal, value(swap[0]));
        set(Key::SwapUsed, value(swap[0].zip(swap[1]).map(|(total, free)| total.saturating_sub(free))));
        lines_of(File::open("/proc/self/status").ok(), &mut |line| {
            if let Some(rest) = line.strip_prefix(b"VmRSS:") {
                set(Key::AgentRss, value(nth(rest, 0)));
            }
        });
        for (name, some, full) in [("cpu", 0, None), ("io", 1, Some(2)), ("memory", 3, Some(4))] {
            self.lines(&format!("/proc/pressure/{name}"), &mut |line| {
                let total = words(line).find_map(|word| integer(word.strip_prefix(b"total=")?));
                match words(line).next() {
                    Some(b"some") => now.pressure[some] = total,
                    Some(b"full") => full.into_iter().for_each(|place: usize| now.pressure[place] = total),
                    _ => {}
                }
            });
        }
        self.disks(&mut now);
        self.network(&mut now);
        Some(now)
    }

    fn disks(&self, now: &mut Counters) {
        // A disk's partitions come after it, and are in its counters.
        let mut whole = Vec::new();
        self.lines("/proc/diskstats", &mut |line| {
            let Some(name) = words(line).nth(2) else { return };
            if NO_DISK.iter().any(|start| name.starts_with(start)) || is_partition(name, &whole) {
                return;
            }
            whole.clear();
            whole.extend_from_slice(name);
            let field = |place: usize| nth(line, place).unwrap_or(0);
            let sum = now.disks.get_or_insert_default();
            let read = [field(5).saturating_mul(SECTOR), field(3), field(9).saturating_mul(SECTOR), field(7)];
            sum.iter_mut().zip(read).for_each(|(sum, more)| *sum = sum.wrapping_add(more));
            if now.busy.len() < DEVICES {
                now.busy.push((hash(name), field(12)));
            }
        });
    }

    fn network(&self, now: &mut Counters) {
        // `/proc/net` is the reader's own; another root's is that of its first process.
        let file = if self.host.is_own() {
            File::open("/proc/net/dev").ok()
        } else {
            self.host.open_plain(Path::new("/proc/1/net/dev"), READ).ok().map(File::from)
        };
        let (mut hardware, mut all) = (None, None);
        lines_of(file, &mut |line| {
            let Some((name, counts)) = split(line) else { return };
            if name == b"lo" {
                return;
            }
            let field = |place: usize| nth(counts, place).unwrap_or(0);
            // bytes packets errs drop …, received; the same sent.
            let lost = [2, 3, 10, 11].into_iter().map(field).fold(0, u64::wrapping_add);
            for sum in [Some(&mut all), self.hardware.contains(&hash(name)).then_some(&mut hardware)] {
                let Some(sum) = sum else { continue };
                let sum: &mut [u64; 3] = sum.get_or_insert_default();
                sum.iter_mut().zip([field(0), field(8), lost]).for_each(|(sum, more)| *sum = sum.wrapping_add(more));
            }
        });
        // What goes over a bridge or a tunnel goes over hardware too, where there is any.
        now.network = if self.hardware.is_empty() { all } else { hardware };
    }

    fn lines(&self, path: &str, visit: &mut dyn FnMut(&[u8])) {
        lines_of(self.host.open_plain(Path::new(path), READ).ok().map(File::from), visit);
    }
}

/// Visits each line of a file.
fn lines_of(file: Option<File>, visit: &mut dyn FnMut(&[u8])) {
    let Some(mut file) = file else { return };
    let mut buffer = [0; LINES];
    let (mut held, mut over) = (0, false);
    while let Ok(read @ 1..) = file.read(&mut buffer[held..]) {
        let (mut begin, end) = (0, held + read);
        while let Some(at) = memchr::memchr(b'\n', &buffer[begin..end]) {
            if !std::mem::replace(&mut over, false) {
                visit(&buffer[begin..begin + at]);
            }
            begin += at + 1;
        }
        buffer.copy_within(begin..end, 0);
        held = end - begin;
        if held == LINES {
            (held, over) = (0, true);
        }
    }
}

fn rates(values: &mut [f32; METRICS.len()], before: &Counters, now: &Counters, span_ms: u64) {
    let seconds = span_ms as f64 / 1000.0;
    let mut set = |key: Key, value: f64| values[key as usize] = value as f32;
    if let (Some(was), Some(is)) = (before.cpu, now.cpu) {
        let all = is[4].saturating_sub(was[4]).max(1) as f64;
        for (place, key) in [Key::CpuUser, Key::CpuSystem, Key::CpuIowait, Key::CpuSteal].into_iter().enumerate() {
            // Time that a processor waited may be counted back.
            set(key, (is[place].saturating_sub(was[place]) as f64 * 100.0 / all).min(100.0));
        }
    }
    // A counter that went back was begun anew: what it counted meanwhile is not known.
    let rate = |was: Option<u64>, is: Option<u64>| Some(is?.checked_sub(was?)? as f64 / seconds);
    let mut per_second = |key: Key, was, is| rate(was, is).into_iter().for_each(|value| set(key, value));
    per_second(Key::Forks, before.forks, now.forks);
    let field = |counts: Option<[u64; 4]>, place: usize| counts.map(|counts| counts[place]);
    for (place, key) in [Key::DiskRead, Key::DiskReads, Key::DiskWrite, Key::DiskWrites].into_iter().enumerate() {
        per_second(key, field(before.disks, place), field(now.disks, place));
    }
    let field = |counts: Option<[u64; 3]>, place: usize| counts.map(|counts| counts[place]);
    for (place, key) in [Key::NetworkReceived, Key::NetworkSent, Key::NetworkFaults].into_iter().enumerate() {
        per_second(key, field(before.network, place), field(now.network, place));
    }
    let pressure =
        [Key::PressureCpu, Key::PressureIo, Key::PressureIoFull, Key::PressureMemory, Key::PressureMemoryFull];
    for (place, key) in pressure.into_iter().enumerate() {
        // Microseconds a second, as percent.
        let share = rate(before.pressure[place], now.pressure[place]).map(|micros| (micros / 1e4).min(100.0));
        share.into_iter().for_each(|share| set(key, share));
    }
    let busy = now.busy.iter().filter_map(|(name, is)| {
        let (_, was) = before.busy.iter().find(|(known, _)| known == name)?;
        Some(is.checked_sub(*was)? as f64 * 100.0 / span_ms as f64)
    });
    if let Some(most) = busy.reduce(f64::max) {
        set(Key::DiskBusy, most.min(100.0));
    }
}

/// User, system, iowait, steal, all.
fn cpu(line: &[u8]) -> [u64; 5] {
    let mut ticks = [0; 8];
    for (tick, word) in ticks.iter_mut().zip(words(line).skip(1)) {
        *tick = integer(word).unwrap_or(0);
    }
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let sum = |places: &[usize]| places.iter().map(|place| ticks[*place]).fold(0, u64::wrapping_add);
    [sum(&[0, 1]), sum(&[2, 5, 6]), ticks[4], ticks[7], sum(&[0, 1, 2, 3, 4, 5, 6, 7])]
}

/// `12.34 …` seconds, as milliseconds.
fn uptime(line: &[u8]) -> Option<u64> {
    let mut parts = words(line).next()?.splitn(2, |byte| *byte == b'.');
    let (seconds, rest) = (integer(parts.next()?)?, parts.next().unwrap_or_default());
    let digit =
        |place: usize| rest.get(place).filter(|byte| byte.is_ascii_digit()).map_or(0, |byte| u64::from(byte - b'0'));
    seconds.checked_mul(1000)?.checked_add(digit(0) * 100 + digit(1) * 10 + digit(2))
}

/// Whether this is a part of that disk, by the kernel's rule for names.
fn is_partition(name: &[u8], whole: &[u8]) -> bool {
    let Some(mut number) = name.strip_prefix(whole).filter(|_| !whole.is_empty()) else { return false };
    if whole.last().is_some_and(u8::is_ascii_digit) {
        let Some(after) = number.strip_prefix(b"p") else { return false };
        number = after;
    }
    !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

/// `name: counts`, of a network device.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memrchr(b':', line)?;
    Some((line[..at].trim_ascii(), &line[at + 1..]))
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn nth(line: &[u8], place: usize) -> Option<u64> {
    words(line).nth(place).and_then(integer)
}

fn integer(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn float(word: &[u8]) -> Option<f32> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn value(number: Option<u64>) -> f32 {
    number.map_or(f32::NAN, |number| number as f32)
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish()
}

#[cfg(test)]
mod tests;
