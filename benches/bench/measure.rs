//! Measuring: wall, processor time and peak memory of a piece of work or of processes, pairs that take turns, and rows.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// How often a process's peak memory is read.
const POLL: Duration = Duration::from_millis(4);

/// What a piece of work cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds of processors.
    pub(crate) cpu: f64,
    /// MiB at the peak, of all its processes together; only for processes.
    pub(crate) peak: f64,
    /// The same without pages of files, such as the programs' own.
    pub(crate) anonymous: f64,
}

/// Pairs of costs: ours, the yardstick's.
pub(crate) struct Pairs(Vec<(Cost, Cost)>);

/// Runs both in turns.
pub(crate) fn pairs(mut ours: impl FnMut() -> Cost, mut yardstick: impl FnMut() -> Cost) -> Pairs {
    let rounds = std::env::var("SHEAF_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    // Once for caches and first pages, of files and of code.
    ours();
    yardstick();
    Pairs((0..rounds).map(|_| (ours(), yardstick())).collect())
}

/// What a row shows of a cost, how good it must be, and how good it should be, as ratios.
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) of: fn(&Cost) -> f64,
    pub(crate) gate: f64,
    pub(crate) goal: f64,
}

pub(crate) fn heading() {
    println!("{:<58} {:>10} {:>10} {:>7} {:>7} {:>7}", "row", "ours", "yardstick", "ratio", "gate", "goal");
}

impl Pairs {
    /// The median of our side.
    pub(crate) fn ours(&self, of: fn(&Cost) -> f64) -> f64 {
        median(self.0.iter().map(|(a, _)| of(a)))
    }

    /// Prints a row of ratios ours/yardstick, of which less is better.
    pub(crate) fn row(&self, row: &Row<'_>) {
        let ratio = median(self.0.iter().map(|(a, b)| (row.of)(a) / (row.of)(b)));
        self.print(row, ratio, ratio <= row.gate);
    }

    /// Prints a row of how many times as fast ours is, of which more is better; both sides as `bytes` a second.
    pub(crate) fn speed(&self, row: &Row<'_>, bytes: usize) {
        let rate = |cost: &Cost| bytes as f64 / 1e6 / (row.of)(cost);
        let (a, b) = (median(self.0.iter().map(|(a, _)| rate(a))), median(self.0.iter().map(|(_, b)| rate(b))));
        let ratio = median(self.0.iter().map(|(a, b)| rate(a) / rate(b)));
        line(row, a, b, ratio, ratio >= row.gate);
    }

    fn print(&self, row: &Row<'_>, ratio: f64, holds: bool) {
        line(
            row,
            median(self.0.iter().map(|(a, _)| (row.of)(a))),
            median(self.0.iter().map(|(_, b)| (row.of)(b))),
            ratio,
            holds,
        );
    }
}

fn line(row: &Row<'_>, ours: f64, yardstick: f64, ratio: f64, holds: bool) {
    let name = format!("{} ({})", row.name, row.unit);
    let missed = if holds { "" } else { "  MISSED" };
    println!("{name:<58} {ours:>10.3} {yardstick:>10.3} {ratio:>7.3} {:>7} {:>7}{missed}", row.gate, row.goal);
}

/// Prints a figure that has a limit of its own and no yardstick.
pub(crate) fn figure(name: &str, value: f64, gate: f64, goal: f64) {
    let missed = if value <= gate { "" } else { "  MISSED" };
    println!("{name:<58} {value:>10.3} {:>10} {:>7} {gate:>7} {goal:>7}{missed}", "-", "-");
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// The cost of work in this process and thread.
pub(crate) fn here(work: impl FnOnce()) -> Cost {
    let (start, before) = (Instant::now(), usage(UsageWho::RUSAGE_THREAD));
    work();
    Cost { wall: start.elapsed().as_secs_f64(), cpu: usage(UsageWho::RUSAGE_THREAD) - before, ..Cost::default() }
}

/// The cost of a pipeline of processes: each reads what the one before it writes, the last writes to `into`.
pub(crate) fn processes(commands: &mut [Command], into: Stdio) -> Cost {
    let (start, before) = (Instant::now(), usage(UsageWho::RUSAGE_CHILDREN));
    let mut children: Vec<Child> = Vec::new();
    let mut into = Some(into);
    let last = commands.len() - 1;
    for (number, command) in commands.iter_mut().enumerate() {
        if let Some(output) = children.last_mut().and_then(|child| child.stdout.take()) {
            command.stdin(output);
        }
        command.stdout(if number == last { into.take().unwrap_or_else(Stdio::null) } else { Stdio::piped() });
        children.push(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    }
    let mut peaks = vec![(0.0_f64, 0.0_f64); children.len()];
    loop {
        let mut running = false;
        for (child, peak) in children.iter_mut().zip(&mut peaks) {
            let (whole, anonymous) = memory_of(child.id());
            *peak = (peak.0.max(whole), peak.1.max(anonymous));
            running |= child.try_wait().expect("a child can be waited for").is_none();
        }
        if !running {
            break;
        }
        // Short work is waited for more closely, so that the wait does not count.
        std::thread::sleep(POLL.min(start.elapsed() / 20));
    }
    let wall = start.elapsed().as_secs_f64();
    for (child, command) in children.iter_mut().zip(commands.iter()) {
        let status = child.wait().expect("a child can be waited for");
        assert!(matches!(status.code(), Some(0 | 3)), "{command:?}: {status}");
    }
    Cost {
        wall,
        cpu: usage(UsageWho::RUSAGE_CHILDREN) - before,
        peak: peaks.iter().map(|p| p.0).sum(),
        anonymous: peaks.iter().map(|p| p.1).sum(),
    }
}

/// Peak memory of a process, and its anonymous memory now, in MiB; 0 once it is gone.
fn memory_of(pid: u32) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    (field("VmHWM:"), field("RssAnon:"))
}

fn usage(who: UsageWho) -> f64 {
    let usage: Usage = getrusage(who).expect("usage can always be asked for");
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}
