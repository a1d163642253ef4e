//! The corpus: a tree of logs as a node has them, from a seed, the same on every machine.
//!
//! By bytes: syslog 25 %, nginx 15 %, container logs as JSON 35 %, journal exports 14 %, small files as in `/proc` 5 %, and
//! logs that are gzipped already 6 %. One line in 4,000 holds a secret; of the gzipped logs, one in eight has such lines.
//! It compresses about as well as the logs of a busy node do: to 28 % at zstd's level 1.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Changes when the generator does, so that an old corpus is not taken for a new one.
const VERSION: u32 = 2;
/// Bytes of one log file.
const LOG: usize = 20 << 20;
/// Lines to one with a secret.
const SECRETS: u64 = 4000;

/// A log of 1 MiB, to be found again in a bundle.
pub(crate) const ONE: &str = "var/log/containers/one.log";

/// A generated tree on disk.
pub(crate) struct Corpus {
    /// Its root; the files lie below `var/log` and `proc` in it.
    pub(crate) root: PathBuf,
    /// Its size.
    pub(crate) mib: usize,
}

/// The kinds of text in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Syslog,
    Nginx,
    Containers,
    Journal,
    Small,
}

impl Corpus {
    /// The corpus of the wanted size, generated unless it is there.
    pub(crate) fn open() -> Self {
        let mib = std::env::var("SHEAF_BENCH_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(1024);
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("corpus-{VERSION}-{mib}"));
        let done = root.join("whole");
        if !done.exists() {
            // What an earlier run left unfinished.
            let _ = fs::remove_dir_all(&root);
            generate(&root, mib << 20);
            fs::write(done, "").expect("the folder of the corpus can be written");
        }
        Self { root, mib }
    }
}

fn generate(root: &Path, bytes: usize) {
    let mut random = Random::new(0x5eaf_0001);
    let share = |percent: usize| bytes / 100 * percent;
    for (kind, folder, name, percent) in [
        (Kind::Syslog, "var/log", "syslog", 25),
        (Kind::Nginx, "var/log/nginx", "access", 15),
        (Kind::Containers, "var/log/containers", "pod", 35),
        (Kind::Journal, "var/log/journal-export", "export", 14),
    ] {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).expect("a folder can be made");
        let mut left = share(percent);
        for number in 0.. {
            if left == 0 {
                break;
            }
            let size = left.min(LOG);
            fs::write(folder.join(format!("{name}-{number}.log")), text(kind, size, &mut random))
                .expect("a file can be written");
            left -= size;
        }
    }
    fs::write(root.join(ONE), text(Kind::Containers, 1 << 20, &mut random)).expect("a file can be written");
    small(root, share(5), &mut random);
    packed(root, share(6), &mut random);
}

/// Small files, 40 to a folder.
fn small(root: &Path, bytes: usize, random: &mut Random) {
    let mut left = bytes;
    for number in 0.. {
        if left == 0 {
            return;
        }
        let folder = root.join(format!("proc/{}", number / 40));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let size = (512 + random.below(8192) as usize).min(left);
        fs::write(folder.join(format!("status-{number}.log")), text(Kind::Small, size, random))
            .expect("a file can be written");
        left -= size;
    }
}

/// Rotated logs, gzipped; their share is what they are on disk.
fn packed(root: &Path, bytes: usize, random: &mut Random) {
    let mut written = 0;
    for number in 0.. {
        if written >= bytes {
            return;
        }
        let size = (LOG / 4).min((bytes - written) * 4).max(4096);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        random.secrets = number % 8 == 0;
        encoder.write_all(&text(Kind::Syslog, size, random)).expect("memory takes bytes");
        let gz = encoder.finish().expect("memory takes bytes");
        written += gz.len();
        fs::write(root.join(format!("var/log/syslog-old-{number}.log.gz")), gz).expect("a file can be written");
    }
}

/// At most `bytes` of one kind of text, whole lines.
pub(crate) fn text(kind: Kind, bytes: usize, random: &mut Random) -> Vec<u8> {
    let mut text = String::with_capacity(bytes + 4096);
    let mut clock = 1_790_000_000 + random.below(1 << 20);
    while text.len() < bytes {
        clock += random.below(3);
        match kind {
            Kind::Syslog => syslog(&mut text, clock, random),
            Kind::Nginx => nginx(&mut text, clock, random),
            Kind::Containers => container(&mut text, clock, random),
            Kind::Journal => journal(&mut text, clock, random),
            Kind::Small => status(&mut text, random),
        }
    }
    let end = text[..bytes.min(text.len())].rfind('\n').map_or(0, |end| end + 1);
    text.truncate(end.max(1));
    text.into_bytes()
}

/// A message of a program: mostly ordinary, now and then one that speaks of a secret, rarely one that holds one.
fn message(text: &mut String, random: &mut Random) {
    let (a, b, c) = (random.below(1 << 16), random.below(256), random.below(1 << 32));
    let _ = match if random.below(SECRETS) == 0 && random.secrets { 99 } else { random.below(14) } {
        0 => write!(text, "Failed password for invalid user admin{b} from 203.0.113.{b} port {a} ssh2"),
        1 => write!(
            text,
            "Accepted publickey for deploy from 10.0.{b}.{} port {a} ssh2: ED25519 SHA256:{c:08x}{:016x}",
            b / 2,
            random.next()
        ),
        2 => write!(text, "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"),
        3 => write!(text, "[{a}.{c:06}] nfs: server filer{b} not responding, still trying"),
        4 => write!(text, "Started Session {a} of user deploy."),
        5 => write!(text, "(root) CMD (test -x /usr/sbin/anacron || run-parts --report /etc/cron.hourly)"),
        6 => write!(
            text,
            "I1121 10:{:02}:{:02}.{c:06} {a} reconciler.go:{b}] \"Volume attached\" volume=\"pvc-{:016x}\" node=\"node-{b}\"",
            a % 60,
            b % 60,
            random.next()
        ),
        7 => {
            write!(text, "request completed method=GET path=/api/v1/items/{a} status=200 duration={b}.{c}ms bytes={c}")
        }
        8 => write!(text, "could not refresh token for service {b}, retrying in {b}s: context deadline exceeded"),
        9 => write!(text, "cache miss for key users:{a}:{c:x}, loading from replica {b}"),
        10 => write!(text, "eth0: link becomes ready; speed {a} duplex full mtu {}", 1500 + b),
        11 => write!(text, "GC pause {b}.{a}ms, heap {c} -> {} bytes, {b} goroutines", c / 3),
        12 => write!(
            text,
            "mounted secret volume default-token-{b} at /var/lib/kubelet/pods/{:016x}/volumes",
            random.next()
        ),
        13 => write!(
            text,
            "audit: op=PAM:setcred acct=\"root\" exe=\"/usr/sbin/sshd\" hostname=10.{b}.0.1 res=success id={a}"
        ),
        _ => match b % 4 {
            0 => write!(text, "connecting with password=Hunter{a} to db{b}"),
            1 => write!(text, "dial postgres://app:S3cret{a}@db{b}:5432/main"),
            2 => write!(text, "header Authorization: Bearer {:016x}{:016x}", random.next(), random.next()),
            _ => write!(text, "issued token=tok{:016x} to client {b}", random.next()),
        },
    };
}

fn syslog(text: &mut String, clock: u64, random: &mut Random) {
    const PROGRAMS: [&str; 6] = ["sshd", "kernel", "systemd", "CRON", "kubelet", "dockerd"];
    let program = PROGRAMS[random.below(6) as usize];
    let _ = write!(
        text,
        "Nov {:2} {:02}:{:02}:{:02} node-17 {program}[{}]: ",
        1 + clock / 86_400 % 28,
        clock / 3600 % 24,
        clock / 60 % 60,
        clock % 60,
        random.below(32_768)
    );
    message(text, random);
    let _ = writeln!(text, " [{:x}:{}]", random.next() >> 12, random.below(1 << 20));
}

fn nginx(text: &mut String, clock: u64, random: &mut Random) {
    const AGENTS: [&str; 3] = [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0",
        "curl/8.5.0",
    ];
    let (a, b) = (random.next(), random.below(256));
    let _ = writeln!(
        text,
        "{}.{}.{b}.{} - - [21/Nov/2026:{:02}:{:02}:{:02} +0000] \"GET /static/{:x}/item-{}.html?page={} HTTP/1.1\" {} {} \"https://www.example.com/list/{}\" \"{}\" rid={:016x}{:08x} rt=0.{:03} uct=0.{:03}",
        a % 223,
        (a >> 16) % 256,
        (a >> 24) % 256,
        clock / 3600 % 24,
        clock / 60 % 60,
        clock % 60,
        a >> 40,
        a % 5000,
        b % 20,
        [200, 200, 200, 304, 404][(a % 5) as usize],
        a % 90_000,
        b,
        AGENTS[(a >> 8) as usize % 3],
        random.next(),
        random.below(1 << 32),
        random.below(1000),
        random.below(1000)
    );
}

fn container(text: &mut String, clock: u64, random: &mut Random) {
    let mut inner = String::with_capacity(256);
    message(&mut inner, random);
    let inner = inner.replace('\\', "\\\\\\\\").replace('"', "\\\\\\\"");
    let level = ["info", "info", "info", "warn", "error", "debug"][random.below(6) as usize];
    let _ = writeln!(
        text,
        "{{\"log\":\"{{\\\"level\\\":\\\"{level}\\\",\\\"ts\\\":{clock}.{:06},\\\"caller\\\":\\\"server/handler.go:{}\\\",\\\"msg\\\":\\\"{inner}\\\",\\\"trace\\\":\\\"{:016x}{:016x}\\\",\\\"span\\\":\\\"{:016x}\\\",\\\"took\\\":{}}}\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T{:02}:{:02}:{:02}.{:09}Z\"}}",
        random.below(1_000_000),
        random.below(900),
        random.next(),
        random.next(),
        random.next(),
        random.below(1 << 24),
        clock / 3600 % 24,
        clock / 60 % 60,
        clock % 60,
        random.below(1_000_000_000)
    );
}

fn journal(text: &mut String, clock: u64, random: &mut Random) {
    let (id, pid) = (random.next(), random.below(32_768));
    let _ = write!(
        text,
        "__CURSOR=s=0123456789abcdef;i={id:x};b=fedcba9876543210;m={:x};t={clock:x};x={:x}\n__REALTIME_TIMESTAMP={clock}{:06}\n_BOOT_ID=fedcba9876543210fedcba9876543210\n_TRANSPORT=journal\n_HOSTNAME=node-17\nPRIORITY={}\n_UID=0\n_GID=0\n_SYSTEMD_SLICE=system.slice\n_SYSTEMD_UNIT=app-{}.service\n_PID={pid}\n_SYSTEMD_INVOCATION_ID={:016x}{:016x}\n_CMDLINE=/usr/bin/app --config /etc/app/config.yaml\nMESSAGE=",
        id >> 20,
        random.next(),
        random.below(1_000_000),
        random.below(8),
        pid % 20,
        random.next(),
        random.next()
    );
    message(text, random);
    text.push_str("\n\n");
}

fn status(text: &mut String, random: &mut Random) {
    const NAMES: [&str; 8] = [
        "VmPeak",
        "VmRSS",
        "Threads",
        "MemAvailable",
        "voluntary_ctxt_switches",
        "Cpus_allowed",
        "SigQ",
        "Committed_AS",
    ];
    let _ = writeln!(text, "{}:\t{:>12} kB", NAMES[random.below(8) as usize], random.below(1 << 24));
}

/// SplitMix64: small, good enough, and the same everywhere.
pub(crate) struct Random {
    state: u64,
    secrets: bool,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, secrets: true }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
