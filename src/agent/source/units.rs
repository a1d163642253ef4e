//! systemd's services, as they are now: state, age, memory and processor time.
//!
//! States come from one bounded `systemctl show`, processor time from the control groups, read twice; where nothing counts for a group, its
//! main process stands for it. Where systemd does not answer, or another root than `/` is read, there are none. Nothing here talks to D-Bus itself, and nothing is changed.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::thread::CapabilitySet;
use tokio_util::sync::CancellationToken;

use super::Content as _;
use super::command::{self, Output, Program};
use crate::agent::host::Host;
use crate::protocol::agents::Unit;
use crate::report;

/// Time that systemd has, and what it may say.
const TIME: Duration = Duration::from_secs(5);
const BYTES: u64 = 2 << 20;
/// Services that are named; those that failed come first.
const MOST: usize = 200;
/// What is asked of each.
const ASKED: &str = "--property=Id,LoadState,ActiveState,SubState,ActiveEnterTimestampMonotonic,MemoryCurrent,CPUUsageNSec,ControlGroup,MainPID";

/// Services at a first look; the second look makes shares of their processor time.
#[derive(Default)]
pub struct Looked {
    services: Vec<Service>,
    at: Option<Instant>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Service {
    name: String,
    state: String,
    sub_state: String,
    /// Microseconds since boot.
    since: Option<u64>,
    memory: Option<u64>,
    /// Nanoseconds that systemd counted.
    used: Option<u64>,
    group: String,
    main: Option<u32>,
    /// Nanoseconds that its group had used at the first look.
    before: Option<u64>,
}

/// Whether systemd runs this host.
pub fn answers(host: &Host) -> bool {
    host.is_own() && Path::new("/run/systemd/system").is_dir()
}

/// Runs a short `systemctl`, and gives what it says; `None` when it does not, or not in time.
pub(super) fn systemctl(arguments: &[&str], bytes: u64) -> Option<String> {
    let path = command::path();
    let program = Program {
        file: command::find(&path, "systemctl")?,
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        time: TIME,
        bytes,
        exits: [0].into(),
        capabilities: CapabilitySet::empty(),
    };
    let mut output = Output::new(program, path, CancellationToken::new());
    let mut text = Vec::new();
    output.open().and_then(|()| output.read_to_end(&mut text)).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The first look.
pub fn look(host: &Host) -> Looked {
    if !answers(host) {
        return Looked::default();
    }
    let text = systemctl(&["show", "--no-pager", ASKED, "--", "*.service"], BYTES).unwrap_or_default();
    let mut services = parse(&text);
    for service in &mut services {
        service.before = service.spent(host);
    }
    Looked { services, at: Some(Instant::now()) }
}

impl Looked {
    /// The second look; `memory_kb` is the node's memory, `uptime` the seconds since boot.
    pub fn again(self, host: &Host, memory_kb: u64, uptime: u64) -> Vec<Unit> {
        let between = self.at.map_or(Duration::ZERO, |at| at.elapsed());
        let unit = |service: Service| {
            let now = service.spent(host);
            let memory = service.memory.or_else(|| service.main.and_then(|main| resident(host, main)));
            Service { memory, ..service }.unit(now, between, memory_kb, uptime)
        };
        self.services.into_iter().map(unit).collect()
    }
}

impl Service {
    /// Nanoseconds of processor time so far: of its group, else of its main process.
    fn spent(&self, host: &Host) -> Option<u64> {
        used(host, &self.group).or_else(|| self.main.and_then(|main| used_by(host, main)))
    }

    fn unit(self, now: Option<u64>, between: Duration, memory_kb: u64, uptime: u64) -> Unit {
        let runs = matches!(self.state.as_str(), "active" | "reloading" | "deactivating");
        // systemd's clock stands still while a machine is suspended, this one does not: close enough for nodes.
        let since = self.since.map_or(0, |since| uptime.saturating_sub(since / 1_000_000));
        let uptime_secs = if runs { since } else { 0 };
        let mem_kb = self.memory.unwrap_or(0) / 1024;
        let cpu_percent = match (self.before, now) {
            (Some(before), Some(now)) if !between.is_zero() => {
                now.saturating_sub(before) as f64 * 100.0 / between.as_nanos() as f64
            }
            // Without its group there is what systemd counted over its whole life.
            _ => match self.used {
                Some(used) if uptime_secs > 0 => used as f64 / (uptime_secs as f64 * 10_000_000.0),
                _ => 0.0,
            },
        };
        let mem_percent = if memory_kb == 0 { 0.0 } else { mem_kb as f64 * 100.0 / memory_kb as f64 };
        Unit {
            name: self.name,
            state: self.state,
            sub_state: self.sub_state,
            uptime_secs,
            mem_kb,
            mem_percent: super::vitals::tenth(mem_percent),
            cpu_percent: super::vitals::tenth(cpu_percent),
            jobs: Vec::new(),
        }
    }

    /// Services that people mean: those that run, change or failed.
    fn counts(&self) -> bool {
        let runs = self.state == "active" && self.sub_state == "running";
        runs || matches!(self.state.as_str(), "failed" | "activating" | "deactivating" | "reloading")
    }
}

/// Reads `systemctl show`: blocks of `Key=value` with an empty line between.
fn parse(text: &str) -> Vec<Service> {
    let mut services: Vec<Service> = text.split("\n\n").map(block).filter(|service| !service.name.is_empty()).collect();
    services.retain(Service::counts);
    services.sort_unstable_by(|a, b| (a.state != "failed", &a.name).cmp(&(b.state != "failed", &b.name)));
    services.dedup_by(|a, b| a.name == b.name);
    services.truncate(MOST);
    services
}

fn block(text: &str) -> Service {
    let mut service = Service::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        // What is not counted says `[not set]`, or the largest number.
        let number = || value.parse().ok().filter(|number| *number != u64::MAX);
        match key {
            "Id" => service.name = report::brief(value, 256),
            "ActiveState" => service.state = report::brief(value, 32),
            "SubState" => service.sub_state = report::brief(value, 32),
            "ActiveEnterTimestampMonotonic" => service.since = number().filter(|at| *at > 0),
            "MemoryCurrent" => service.memory = number(),
            "CPUUsageNSec" => service.used = number(),
            "ControlGroup" => service.group = value.to_owned(),
            "MainPID" => service.main = value.parse().ok().filter(|main| *main > 0),
            _ => {}
        }
    }
    service
}

/// Nanoseconds of processor time that a control group has used: version 2, or version 1.
fn used(host: &Host, group: &str) -> Option<u64> {
    if !group.starts_with('/') || group.split('/').any(|part| part == "..") {
        return None;
    }
    if let Some(text) = host.text(&format!("/sys/fs/cgroup{group}/cpu.stat")) {
        let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        return micros.trim().parse::<u64>().ok()?.checked_mul(1000);
    }
    host.text(&format!("/sys/fs/cgroup/cpu,cpuacct{group}/cpuacct.usage"))?.parse().ok()
}

/// Nanoseconds of processor time that a process has used.
fn used_by(host: &Host, process: u32) -> Option<u64> {
    let text = host.text(&format!("/proc/{process}/stat"))?;
    // The name before the last bracket may hold anything.
    let mut numbers = text.rsplit_once(')')?.1.split_whitespace().skip(11).map(|word| word.parse::<u64>().ok());
    let ticks = numbers.next()??.checked_add(numbers.next()??)?;
    // The kernel gives these in hundredths of a second, whatever its own clock is.
    ticks.checked_mul(10_000_000)
}

/// Bytes of a process in memory.
fn resident(host: &Host, process: u32) -> Option<u64> {
    let text = host.text(&format!("/proc/{process}/status"))?;
    let kb = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?;
    kb.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "Id=cron.service\nLoadState=loaded\nActiveState=active\nSubState=running\n\
        ActiveEnterTimestampMonotonic=40000000\nMemoryCurrent=2097152\nCPUUsageNSec=5000000000\nControlGroup=/system.slice/cron.service\n\
        \nId=done.service\nActiveState=active\nSubState=exited\n\
        \nId=web.service\nActiveState=failed\nSubState=failed\nActiveEnterTimestampMonotonic=0\nMemoryCurrent=[not set]\n\
        CPUUsageNSec=18446744073709551615\nControlGroup=\n\
        \nId=odd\x1b[2J.service\nActiveState=activating\nSubState=auto-restart\nControlGroup=/../../etc\n";

    #[test]
    fn services_that_run_change_or_failed_are_named_and_the_failed_come_first() {
        let services = parse(SHOWN);
        let names: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["web.service", "cron.service", "odd\\u{1b}[2J.service"]);
        assert_eq!((services[0].memory, services[0].used, services[0].since), (None, None, None));
        assert!(parse("").is_empty() && parse("garbage\n\n=\n\nId\n").is_empty());
    }

    #[test]
    fn shares_are_of_the_time_between_or_of_a_whole_life() {
        let cron = parse(SHOWN).remove(1);
        let between = Duration::from_millis(500);
        let unit =
            Service { before: Some(1_000_000_000), ..cron.clone() }.unit(Some(1_250_000_000), between, 1 << 20, 140);
        assert_eq!((unit.uptime_secs, unit.mem_kb, unit.mem_percent, unit.cpu_percent), (100, 2048, 0.2, 50.0));
        assert_eq!(cron.unit(None, between, 0, 140).cpu_percent, 5.0);
        let failed = parse(SHOWN).remove(0).unit(None, between, 1 << 20, 140);
        assert_eq!((failed.state.as_str(), failed.uptime_secs, failed.cpu_percent), ("failed", 0, 0.0));
    }

    #[test]
    fn processor_time_is_read_below_the_groups_folder_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (group, file, text) in [
            ("system.slice/a.service", "cpu.stat", "usage_usec 1500\nuser_usec 1\n"),
            ("cpu,cpuacct/system.slice/b.service", "cpuacct.usage", "77\n"),
        ] {
            let group = folder.path().join("sys/fs/cgroup").join(group);
            std::fs::create_dir_all(&group).expect("folders");
            std::fs::write(group.join(file), text).expect("written");
        }
        let proc = folder.path().join("proc/7");
        std::fs::create_dir_all(&proc).expect("folders");
        std::fs::write(proc.join("stat"), "7 (odd) name) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 1\n").expect("written");
        std::fs::write(proc.join("status"), "Name:\todd\nVmRSS:\t    2048 kB\n").expect("written");
        let host = Host::open(folder.path()).expect("opened");
        assert_eq!((used_by(&host, 7), resident(&host, 7)), (Some(2_000_000_000), Some(2 << 20)));
        assert_eq!((used_by(&host, 8), resident(&host, 8)), (None, None));
        let main = Service { main: Some(7), ..Service::default() };
        assert_eq!(main.spent(&host), Some(2_000_000_000), "where its group is not counted");
        assert_eq!(used(&host, "/system.slice/a.service"), Some(1_500_000));
        assert_eq!(used(&host, "/system.slice/b.service"), Some(77));
        for none in ["", "/", "/system.slice/c.service", "/../cgroup/system.slice/a.service", "relative"] {
            assert_eq!(used(&host, none), None, "{none}");
        }
    }
}
