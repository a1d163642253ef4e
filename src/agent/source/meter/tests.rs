//! Tests of the meter: a root made of files, this host, and odd lines.

use std::fs;
use std::time::Duration;

use super::*;

const MOUNT_WAIT: Duration = Duration::from_secs(10);

struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(tempfile::tempdir().expect("a temporary folder"));
        root.put("proc/sys/kernel/random/boot_id", "67e55044-10b1-426f-9247-bb680e5fe0c8\n");
        root.put("proc/loadavg", "1.25 0.50 0.25 3/321 4711\n");
        root.put(
            "proc/meminfo",
            "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 250 kB\nSwapTotal: 100 kB\nSwapFree: 60 kB\n",
        );
        root
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("written");
    }

    /// Everything that counts, `n` intervals of 10 s after boot.
    fn at(&self, n: u64) {
        self.put("proc/uptime", &format!("{}.50 0.00\n", 100 + n * 10));
        let intr = "0 ".repeat(5000);
        self.put(
            "proc/stat",
            &format!(
                "cpu  {} 0 {} 100 {} 5 5 {} 7 0\ncpu0 1 2 3\nintr 99 {intr}\nprocesses {}\nprocs_running 2\nprocs_blocked 3\n",
                n * 500, n * 250, n * 150, n * 100, 1000 + n * 20,
            ),
        );
        for (name, some, full) in [("cpu", 1, 0), ("io", 5, 2), ("memory", 0, 0)] {
            let line = |kind, share: u64| {
                format!("{kind} avg10=0.00 avg60=0.00 avg300=0.00 total={}\n", n * share * 1_000_000)
            };
            self.put(&format!("proc/pressure/{name}"), &(line("some", some) + &line("full", full)));
        }
        let disk = |name: &str, by: u64| {
            format!(
                "   8  0 {name} {} 0 {} 0 {} 0 {} 0 0 {} 0 0 0 0 0\n",
                n * by,
                n * by * 8,
                n * by * 2,
                n * by * 16,
                n * by
            )
        };
        let disks = [("sda", 1000), ("sda1", 1000), ("nvme0n1", 100), ("nvme0n1p2", 100), ("dm-0", 1100), ("loop3", 5)];
        self.put("proc/diskstats", &disks.map(|(name, by)| disk(name, by)).concat());
        let device = |name: &str, by: u64| {
            format!("{name}: {} 1 0 {by} 0 0 0 0 {} 1 0 0 0 0 0 0\n", n * by * 1000, n * by * 500)
        };
        let heads = "Inter-|   Receive  |  Transmit\n face |bytes packets\n";
        self.put(
            "proc/1/net/dev",
            &(heads.to_owned() + &device("    lo", 9) + &device("  eth0", 2) + &device("br-1", 1)),
        );
    }

    fn meter(&self) -> Meter {
        Meter::new(Host::open(self.0.path()).expect("opened"), Patient::with_mounts(MOUNT_WAIT))
    }
}

#[test]
fn rates_are_between_two_readings() {
    let root = Root::new();
    root.at(1);
    let mut meter = root.meter();
    assert_eq!(meter.sample(1), None, "nothing to hold it against");
    root.at(2);
    let sample = meter.sample(77).expect("a sample");
    assert_eq!((sample.stamp.at_ms, sample.stamp.uptime_ms, sample.stamp.span_ms), (77, 120_500, 10_000));
    assert!(sample.stamp.first && sample.stamp.boot == 0x67e55044_10b1_426f_9247_bb680e5fe0c8);
    for (key, expected) in [
        (Key::CpuUser, 50.0),
        (Key::CpuSystem, 25.0),
        (Key::CpuIowait, 15.0),
        (Key::CpuSteal, 10.0),
        (Key::Load, 1.25),
        (Key::MemoryTotal, 1000.0),
        (Key::MemoryAvailable, 250.0),
        (Key::SwapTotal, 100.0),
        (Key::SwapUsed, 40.0),
        (Key::PressureCpu, 10.0),
        (Key::PressureIo, 50.0),
        (Key::PressureIoFull, 20.0),
        (Key::PressureMemory, 0.0),
        // Partitions, and what lies on disks, count once.
        (Key::DiskRead, 1100.0 * 8.0 * 512.0 / 10.0),
        (Key::DiskReads, 110.0),
        (Key::DiskWrites, 220.0),
        (Key::DiskBusy, 10.0),
        (Key::NetworkReceived, 300.0),
        (Key::NetworkSent, 150.0),
        (Key::NetworkFaults, 0.0),
        (Key::Tasks, 321.0),
        (Key::Running, 2.0),
        (Key::Blocked, 3.0),
        (Key::Forks, 2.0),
    ] {
        assert_eq!(sample.values[key as usize], expected, "{}", METRICS[key as usize].name);
    }
    assert!(sample.values[Key::AgentRss as usize] > 100.0);
    root.at(3);
    assert!(!meter.sample(78).expect("a sample").stamp.first);
}

#[test]
fn hardware_counts_alone_where_there_is_any() {
    let root = Root::new();
    root.at(1);
    root.put("sys/class/net/eth0/device/vendor", "x\n");
    root.put("sys/class/net/br-1/mtu", "1500\n");
    let mut meter = root.meter();
    meter.look_around();
    meter.sample(1);
    root.at(2);
    assert_eq!(meter.sample(2).expect("a sample").values[Key::NetworkReceived as usize], 200.0);
}

#[test]
fn what_a_kernel_does_not_have_is_not_known() {
    let root = Root::new();
    root.put("proc/uptime", "5.5 1.0\n");
    let mut meter = root.meter();
    meter.sample(1);
    root.put("proc/uptime", "6.123 1.0\n");
    root.put("proc/pressure/io", "some avg10=0.00 total=7\ngarbage\n\nfull total=x\n");
    root.put("proc/stat", "cpu\ncpu0\nprocesses\n");
    let sample = meter.sample(2).expect("a sample");
    assert_eq!(sample.stamp.span_ms, 623);
    for key in
        [Key::CpuUser, Key::PressureIo, Key::DiskRead, Key::DiskBusy, Key::NetworkSent, Key::Forks, Key::DiskUsed]
    {
        assert!(sample.values[key as usize].is_nan(), "{key:?}");
    }
    assert_eq!(sample.values[Key::Load as usize], 1.25);
}

#[test]
fn counters_that_begin_anew_make_no_rate() {
    let root = Root::new();
    root.at(5);
    let mut meter = root.meter();
    meter.sample(1);
    root.at(1);
    root.put("proc/uptime", "160.00 0.0\n");
    let sample = meter.sample(2).expect("a sample");
    assert!(sample.values[Key::DiskRead as usize].is_nan() && sample.values[Key::PressureIo as usize].is_nan());
    root.put("proc/uptime", "150.00 0.0\n");
    assert_eq!(meter.sample(3), None, "time does not go back");
    root.put("proc/uptime", "");
    assert_eq!(meter.sample(4), None);
}

#[test]
fn this_host_can_be_measured() {
    let mut meter = Meter::new(Host::open(Path::new("/")).expect("opened"), Patient::with_mounts(MOUNT_WAIT));
    meter.look_around();
    meter.sample(1);
    // Uptime has hundredths of a second.
    let sample = std::iter::repeat_with(|| meter.sample(2)).flatten().next().expect("a sample");
    for key in [Key::CpuUser, Key::Load, Key::MemoryAvailable, Key::Tasks, Key::AgentRss, Key::Forks] {
        assert!(sample.values[key as usize].is_finite(), "{key:?}");
    }
    let share = sample.values[Key::CpuUser as usize];
    assert!((0.0..=100.0).contains(&share), "{share}");
    assert!(sample.mounts.len() <= WORST && sample.stamp.boot != 0);
}

#[test]
fn partitions_are_told_by_the_kernels_rule() {
    for (name, whole, part) in [
        ("sda1", "sda", true),
        ("sdaa", "sda", false),
        ("nvme0n1p12", "nvme0n1", true),
        ("nvme0n2", "nvme0n1", false),
        ("nbd10", "nbd1", false),
        ("xvda1", "", false),
        ("vdb", "vda", false),
    ] {
        assert_eq!(is_partition(name.as_bytes(), whole.as_bytes()), part, "{name} of {whole}");
    }
}
