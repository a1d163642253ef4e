//! What a node is: the content of node.json, and what the agent says of itself when it connects.
//!
//! Facts come from `/etc`, `/proc` and `/sys` below the host's root; what cannot be read stays empty. Nothing here changes while a node runs,
//! save for the clocks; that is [`super::vitals`].

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::plan::Known;
use crate::agent::host::Host;
use crate::clock;
use crate::id::TaskId;
use crate::protocol::agents::Hello;
use crate::protocol::questions::{Kept, Pack};
use crate::report;

/// Characters of one fact.
const FACT: usize = 256;
/// Addresses of a node.
const ADDRESSES: usize = 16;

/// A node's inventory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// `sheaf`'s version.
    pub agent_version: String,
    /// Host name.
    pub hostname: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The boot's id.
    pub boot_id: String,
    /// Operating system, pretty name.
    pub os: String,
    /// Operating system's id, `debian`.
    pub os_id: String,
    /// Operating system's version, `12`.
    pub os_version: String,
    /// Kernel release.
    pub kernel: String,
    /// Processor architecture.
    pub architecture: String,
    /// Hypervisor or container; `none` on bare metal, as far as can be seen.
    pub virtualization: String,
    /// Time zone's name.
    pub timezone: String,
    /// Seconds since boot.
    pub uptime_secs: u64,
    /// Processors.
    pub processors: usize,
    /// Processor model.
    pub processor_model: String,
    /// Memory, KiB.
    pub memory_kb: u64,
    /// Swap, KiB.
    pub swap_kb: u64,
    /// The node's own addresses, loopback and link-local ones left out.
    pub addresses: Vec<IpAddr>,
    /// Labels of the agent's configuration.
    pub labels: BTreeMap<String, String>,
    /// Collectors that the node declares, and whether each is on by default.
    pub collectors: BTreeMap<String, bool>,
    /// Packs that the collectors belong to.
    pub packs: Vec<Pack>,
    /// Deployments that the node keeps.
    pub deployments: Vec<Kept>,
    /// The node's clock when this was written, RFC 3339.
    pub collected_at: String,
    /// The node's clock minus the coordinator's, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
    /// Round trip to the coordinator, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<u64>,
}

impl Inventory {
    /// Reads the host; `known` is what the host does not know.
    pub fn read(host: &Host, known: &Known) -> Self {
        let release = os_release(host);
        let fact = |key: &str| release.get(key).cloned().unwrap_or_default();
        let cpuinfo = host.text("/proc/cpuinfo").unwrap_or_default();
        let memory = super::vitals::memory_table(host);
        let kb = |key: &str| memory.get(key).copied().unwrap_or_default();
        Self {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: hostname(host),
            machine_id: short(host, &["/etc/machine-id", "/var/lib/dbus/machine-id"]),
            boot_id: short(host, &["/proc/sys/kernel/random/boot_id"]),
            os: fact("PRETTY_NAME"),
            os_id: fact("ID"),
            os_version: fact("VERSION_ID"),
            kernel: short(host, &["/proc/sys/kernel/osrelease"]),
            architecture: rustix::system::uname().machine().to_string_lossy().into_owned(),
            virtualization: virtualization(host, &cpuinfo),
            timezone: timezone(host),
            uptime_secs: super::vitals::uptime(host),
            processors: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            processor_model: after_colon(&cpuinfo, "model name"),
            memory_kb: kb("MemTotal"),
            swap_kb: kb("SwapTotal"),
            addresses: addresses(host),
            labels: known.labels.clone(),
            collectors: known.declared.clone(),
            packs: known.packs.clone(),
            deployments: known.deployments.clone(),
            collected_at: clock::rfc3339(clock::Clock::system().now_ms()),
            clock_offset_ms: known.clock_offset_ms,
            round_trip_ms: known.round_trip_ms,
        }
    }

    /// What the agent says first on a connection, in version 1 of the conversation.
    pub fn hello(&self, instance: Uuid, clock_ms: i64, working: Vec<(TaskId, u32)>) -> Hello {
        let this = self.clone();
        Hello {
            versions: vec![1],
            instance,
            agent_version: this.agent_version,
            machine_id: this.machine_id,
            boot_id: this.boot_id,
            hostname: this.hostname,
            os: this.os,
            os_id: this.os_id,
            os_version: this.os_version,
            kernel: this.kernel,
            addresses: this.addresses,
            labels: this.labels,
            collectors: this.collectors,
            packs: this.packs,
            deployments: this.deployments,
            redacts_asked: true,
            refuses: false,
            clock_ms,
            working,
        }
    }
}

/// The host's name as it calls itself; another root's comes from its files, since the kernel answers for this process.
pub fn hostname(host: &Host) -> String {
    if host.is_own() {
        return report::brief(&rustix::system::uname().nodename().to_string_lossy(), FACT);
    }
    short(host, &["/etc/hostname", "/proc/sys/kernel/hostname"])
}

/// The addresses of the host's interfaces by which others may know it, in order. In a container the interfaces of this process are the
/// host's only where the host's files say the same of them.
fn addresses(host: &Host) -> Vec<IpAddr> {
    let Ok(networks) = sysinfo::Networks::new_with_refreshed_list() else { return Vec::new() };
    let of_host = |name: &OsStr, data: &sysinfo::NetworkData| {
        let said = || host.text(&format!("/sys/class/net/{}/address", name.to_string_lossy()));
        host.is_own() || said().is_some_and(|said| said.eq_ignore_ascii_case(&data.mac_address().to_string()))
    };
    let all = networks.iter().filter(|(name, data)| of_host(name, data));
    let all = all.flat_map(|(_, data)| data.ip_networks()).map(|network| network.addr.to_canonical());
    let usable = all.filter(|address| match address {
        IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_loopback() && !v4.is_link_local(),
        // A link-local address means nothing without the interface's name.
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_loopback() && !v6.is_unicast_link_local(),
    });
    let sorted: BTreeSet<IpAddr> = usable.collect();
    sorted.into_iter().take(ADDRESSES).collect()
}

/// The first of some files that can be read, as one line.
fn short(host: &Host, paths: &[&str]) -> String {
    let line = |path: &&str| host.text(path).and_then(|text| text.lines().next().map(str::to_owned));
    paths.iter().find_map(line).map(|line| report::brief(line.trim(), FACT)).unwrap_or_default()
}

fn os_release(host: &Host) -> BTreeMap<String, String> {
    let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| host.text(path)).unwrap_or_default();
    let pair = |line: &str| {
        let (key, value) = line.trim().split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']);
        Some((key.to_owned(), report::brief(value, FACT)))
    };
    text.lines().filter_map(pair).collect()
}

fn after_colon(text: &str, key: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(key));
    let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
    report::brief(value.unwrap_or_default(), FACT)
}

fn timezone(host: &Host) -> String {
    let linked = || {
        let real = host.resolve(Path::new("/etc/localtime"), &|_| None).ok()?;
        let text = real.to_string_lossy().into_owned();
        text.split_once("zoneinfo/").map(|(_, name)| report::brief(name, FACT))
    };
    let named = || Some(short(host, &["/etc/timezone"])).filter(|name| !name.is_empty());
    linked().or_else(named).unwrap_or_else(|| "UTC".to_owned())
}

/// Containers first, since a container on a virtual machine is a container to those who ask.
fn virtualization(host: &Host, cpuinfo: &str) -> String {
    if let Some(kind) = host.text("/run/systemd/container").filter(|kind| !kind.is_empty()) {
        return report::brief(&kind, FACT);
    }
    for (path, kind) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if host.resolve(Path::new(path), &|_| None).is_ok() {
            return kind.to_owned();
        }
    }
    let dmi =
        ["sys_vendor", "product_name", "bios_vendor"].map(|name| short(host, &[&format!("/sys/class/dmi/id/{name}")]));
    let known = [
        ("VMware", "vmware"),
        ("KVM", "kvm"),
        ("QEMU", "qemu"),
        ("VirtualBox", "oracle"),
        ("innotek", "oracle"),
        ("Xen", "xen"),
        ("Amazon EC2", "amazon"),
        ("Google", "google"),
        ("Microsoft Corporation", "microsoft"),
        ("OpenStack", "kvm"),
    ];
    let named = known.iter().find(|(sign, _)| dmi.iter().any(|text| text.contains(sign)));
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    let guest = flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == "hypervisor"));
    match named {
        // Microsoft makes machines too; only its virtual ones show a hypervisor.
        Some((_, "microsoft")) if !guest => "none".to_owned(),
        Some((_, kind)) => (*kind).to_owned(),
        None if guest => "vm".to_owned(),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn addresses_are_the_hosts_and_mean_something_to_others() {
        let own = Host::open(Path::new("/")).expect("a root");
        let all = addresses(&own);
        assert!(
            all.len() <= ADDRESSES && all.iter().all(|address| !address.is_loopback() && !address.is_unspecified())
        );
        // Another root is another host, unless it says the same of the interfaces.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let other = Host::open(folder.path()).expect("a root");
        assert!(addresses(&other).is_empty());
        for (name, data) in sysinfo::Networks::new_with_refreshed_list().expect("networks").iter() {
            let at = folder.path().join("sys/class/net").join(name);
            fs::create_dir_all(&at).expect("folders");
            fs::write(at.join("address"), format!("{}\n", data.mac_address())).expect("written");
        }
        assert_eq!(addresses(&other), all);
    }

    #[test]
    fn another_root_is_read_from_its_own_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        put(root, "usr/lib/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\nVERSION_ID='12'\n");
        fs::create_dir_all(root.join("etc")).expect("a folder");
        symlink("../usr/lib/os-release", root.join("etc/os-release")).expect("a link");
        symlink("/usr/share/zoneinfo/Europe/Berlin", root.join("etc/localtime")).expect("a link");
        put(root, "usr/share/zoneinfo/Europe/Berlin", "TZif");
        put(root, "etc/hostname", "web-1\n");
        put(root, "etc/machine-id", "0123456789abcdef\n");
        put(root, "proc/sys/kernel/osrelease", "6.1.0\n");
        put(root, "proc/meminfo", "MemTotal:  2048 kB\nSwapTotal: 10 kB\n");
        put(root, "proc/cpuinfo", "processor\t: 0\nmodel name\t: A CPU\nflags\t: fpu hypervisor\nprocessor\t: 1\n");
        put(root, "sys/class/dmi/id/sys_vendor", "QEMU\n");
        put(root, "proc/uptime", "1234.5 99.0\n");
        let host = Host::open(root).expect("opened");
        let known = Known { clock_offset_ms: Some(-7), ..Known::default() };
        let node = Inventory::read(&host, &known);
        let facts = [&node.os, &node.os_id, &node.os_version, &node.hostname, &node.machine_id, &node.kernel];
        assert_eq!(facts, ["Debian GNU/Linux 12", "debian", "12", "web-1", "0123456789abcdef", "6.1.0"]);
        assert_eq!((node.memory_kb, node.swap_kb, node.processors, node.uptime_secs), (2048, 10, 2, 1234));
        assert_eq!((node.virtualization.as_str(), node.timezone.as_str()), ("qemu", "Europe/Berlin"));
        assert_eq!(node.clock_offset_ms, Some(-7));
        let hello = node.hello(Uuid::nil(), 5, Vec::new());
        assert_eq!((hello.hostname.as_str(), hello.clock_ms, hello.versions), ("web-1", 5, vec![1]));
    }

    #[test]
    fn an_empty_root_gives_empty_facts_and_no_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let node = Inventory::read(&Host::open(folder.path()).expect("opened"), &Known::default());
        assert_eq!((node.os.as_str(), node.virtualization.as_str(), node.timezone.as_str()), ("", "none", "UTC"));
    }

    #[test]
    fn this_host_has_a_name_and_a_kernel() {
        let node = Inventory::read(&Host::open(Path::new("/")).expect("opened"), &Known::default());
        assert!(!node.hostname.is_empty() && !node.kernel.is_empty() && node.memory_kb > 0 && node.uptime_secs > 0);
    }
}
