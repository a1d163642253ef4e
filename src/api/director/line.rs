//! One instance as one line of JSON, in exactly the types that clients decode: some numbers are texts there, some are not.

use serde_json::{Map, Value, json};

use crate::clock;
use crate::coordinator::verbs::{Seen, stemcell};
use crate::protocol::agents::{Disk, Share, Unit, Vitals};

/// Processes of one line at most: ten thousand lines are one task's result.
const PROCESSES: usize = 24;
/// What an instance is called whose agent says nothing.
const UNRESPONSIVE: &str = "unresponsive agent";
/// Where a disk for what comes and goes is mounted, if it is one of its own.
const EPHEMERAL: [&str; 3] = ["/tmp", "/var/tmp", "/var"];

/// The line, with its end.
pub fn render(seen: &Seen) -> Vec<u8> {
    let mut bytes = line(seen).to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

fn line(seen: &Seen) -> Value {
    let (row, placed) = (&seen.row, &seen.row.placed);
    let node = seen.node.as_ref();
    let vitals = seen.vitals.as_ref().ok();
    let processes = vitals.map_or_else(Vec::new, |vitals| processes(vitals));
    let job_state = match vitals {
        None => UNRESPONSIVE,
        Some(_) if !row.is_settled() => "stale",
        Some(vitals) if is_failing(seen, vitals) => "failing",
        Some(_) => "running",
    };
    let mut line = json!({
        "agent_id": placed.node,
        "vm_cid": placed.node,
        "job_name": placed.group,
        "id": placed.id.to_string(),
        "index": placed.index,
        "job_state": job_state,
        "state": "started",
        "az": row.cluster_name,
        "vm_type": "node",
        "resource_pool": "node",
        "disk_cid": null,
        "disk_cids": [],
        "ips": node.map(|node| &node.about.addresses[..]).unwrap_or_default(),
        "dns": node.map(|node| node.about.hostname.as_str()).filter(|name| !name.is_empty()).into_iter().collect::<Vec<_>>(),
        "active": vitals.is_some(),
        "bootstrap": placed.index == 0,
        "ignore": false,
        "resurrection_paused": true,
        "processes": processes,
        "vitals": vitals.map(|vitals| figures(vitals)),
    });
    if let (Some(node), Some(line)) = (node, line.as_object_mut()) {
        let runs = stemcell(node);
        line.insert("stemcell".into(), json!({ "name": runs.name, "version": runs.version, "api_version": 0 }));
        line.insert("vm_created_at".into(), clock::rfc3339(node.first_seen_ms).into());
    }
    line
}

/// Whether a unit failed that a job of the instance reads the journal of. What else fails on the node is not the instance's.
fn is_failing(seen: &Seen, vitals: &Vitals) -> bool {
    let Some(wanted) = &seen.row.wanted else { return false };
    let jobs: Vec<_> = wanted.jobs.iter().map(|job| format!("{}/{}", wanted.name, job.collector)).collect();
    let of_ours = |unit: &&Unit| unit.jobs.iter().any(|job| jobs.contains(job));
    vitals.units.iter().filter(of_ours).any(|unit| unit_state(unit) == Some("failing"))
}

/// A number as a text.
fn text(number: f64) -> String {
    format!("{number:.1}")
}

fn share(share: &Share) -> Value {
    json!({ "kb": share.used_kb.to_string(), "percent": text(share.percent) })
}

fn figures(vitals: &Vitals) -> Value {
    json!({
        "cpu": { "sys": text(vitals.cpu.sys), "user": text(vitals.cpu.user), "wait": text(vitals.cpu.wait) },
        "mem": share(&vitals.memory),
        "swap": share(&vitals.swap),
        "load": vitals.load.map(|load| format!("{load:.2}")),
        "uptime": { "secs": vitals.uptime_secs },
        "disk": disks(&vitals.disks),
    })
}

/// The root is the system's; a disk for what comes and goes is the ephemeral one; of the others, the largest is persistent.
fn disks(disks: &[Disk]) -> Map<String, Value> {
    let at = |mount: &str| disks.iter().find(|disk| disk.mount == mount);
    let ephemeral = EPHEMERAL.iter().find_map(|mount| at(mount));
    let other = |disk: &&Disk| {
        let named = disk.mount == "/" || disk.mount.starts_with("/boot") || EPHEMERAL.contains(&disk.mount.as_str());
        !named && !disk.mount.starts_with("/run") && !disk.mount.starts_with("/dev")
    };
    let persistent = disks.iter().filter(other).max_by_key(|disk| disk.space.total_kb);
    let named = [("system", at("/")), ("ephemeral", ephemeral), ("persistent", persistent)];
    let filled = named.into_iter().filter_map(|(name, disk)| Some((name, disk?)));
    filled
        .map(|(name, disk)| {
            let value = json!({ "percent": text(disk.space.percent), "inode_percent": text(disk.inode_percent) });
            (name.to_owned(), value)
        })
        .collect()
}

/// systemd's services where it answers, else the busiest processes; what fails comes first.
fn processes(vitals: &Vitals) -> Vec<Value> {
    let mut found: Vec<Value> = if vitals.units.is_empty() {
        let failed = vitals.failed_units.iter().map(|unit| process(unit, "failing", 0, 0, 0.0, 0.0));
        let running = vitals.processes.iter().map(|p| {
            let state = if p.state.starts_with(['Z', 'z']) { "failing" } else { "running" };
            process(&p.name, state, p.uptime_secs, p.mem_kb, p.mem_percent, p.cpu_percent)
        });
        failed.chain(running).collect()
    } else {
        let named = vitals.units.iter().filter_map(|unit| Some((unit, unit_state(unit)?)));
        named
            .map(|(unit, state)| {
                process(&unit.name, state, unit.uptime_secs, unit.mem_kb, unit.mem_percent, unit.cpu_percent)
            })
            .collect()
    };
    found.sort_by_key(|process| process["state"] != "failing");
    found.truncate(PROCESSES);
    found
}

/// A service's state in the director's words; `None` for one that did its work and is gone.
fn unit_state(unit: &Unit) -> Option<&'static str> {
    match (unit.state.as_str(), unit.sub_state.as_str()) {
        ("active", "exited") => None,
        ("active" | "reloading", _) => Some("running"),
        ("activating", "auto-restart") | ("failed", _) => Some("failing"),
        ("activating", _) => Some("starting"),
        _ => Some("stopped"),
    }
}

fn process(name: &str, state: &str, secs: u64, mem_kb: u64, mem_percent: f64, cpu_percent: f64) -> Value {
    let tenth = |number: f64| (number * 10.0).round() / 10.0;
    json!({
        "name": name,
        "state": state,
        "uptime": { "secs": secs },
        "mem": { "kb": mem_kb, "percent": tenth(mem_percent) },
        "cpu": { "total": tenth(cpu_percent) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::verbs::{InstanceRow, Placed};
    use crate::id::ClusterId;
    use crate::protocol::questions::{Deployment, Job};

    fn disk(mount: &str, total_kb: u64) -> Disk {
        Disk { mount: mount.to_owned(), space: Share { total_kb, ..Share::default() }, ..Disk::default() }
    }

    #[test]
    fn disks_have_the_names_that_clients_know() {
        let found = disks(&[disk("/", 10), disk("/boot", 99), disk("/var", 5), disk("/srv", 20), disk("/home", 7)]);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["ephemeral", "persistent", "system"]);
        assert_eq!(disks(&[disk("/", 1), disk("/boot/efi", 2)]).keys().collect::<Vec<_>>(), ["system"]);
    }

    #[test]
    fn an_instance_fails_with_its_own_units_and_not_with_others() {
        let unit = |name: &str, state: &str, jobs: &[&str]| Unit {
            name: name.into(),
            state: state.into(),
            jobs: jobs.iter().map(|&job| job.to_owned()).collect(),
            ..Unit::default()
        };
        let job = |name: &str| Job { collector: name.into(), ..Job::default() };
        let wanted = Deployment { name: "web".into(), jobs: vec![job("nginx"), job("logs")] };
        let state = |units: Vec<Unit>| {
            let vitals = Vitals { units, failed_units: vec!["x.service".into()], ..Vitals::default() };
            let row = InstanceRow {
                placed: Placed {
                    id: uuid::Uuid::nil(),
                    group: "g".into(),
                    index: 0,
                    node: "n".parse().expect("a name"),
                },
                cluster: ClusterId::random(),
                cluster_name: "default".into(),
                applied: Some(wanted.digest()),
                wanted: Some(wanted.clone()),
                reason: None,
            };
            let line = line(&Seen { row, node: None, vitals: Ok(Box::new(vitals)) });
            (line["job_state"].as_str().expect("a state").to_owned(), line["processes"].as_array().map_or(0, Vec::len))
        };
        let running = unit("nginx.service", "active", &["web/nginx"]);
        for (units, expected) in [
            (vec![], "running"),
            (vec![running.clone()], "running"),
            (vec![running.clone(), unit("cron.service", "failed", &[])], "running"),
            (vec![running.clone(), unit("b.service", "failed", &["db/nginx", "web/other"])], "running"),
            (vec![unit("nginx.service", "failed", &["web/nginx"])], "failing"),
            (vec![running, unit("nginx-b.service", "failed", &["db/x", "web/nginx"])], "failing"),
        ] {
            // What else failed on the node is shown all the same.
            let shown = units.len().max(1);
            assert_eq!(state(units), (expected.to_owned(), shown));
        }
    }

    #[test]
    fn what_fails_is_never_cut_off() {
        let unit = |name: String, state: &str| Unit {
            name,
            state: state.into(),
            sub_state: "running".into(),
            ..Unit::default()
        };
        let mut units: Vec<_> = (0..100).map(|n| unit(format!("u{n}"), "active")).collect();
        units.push(unit("broken".into(), "failed"));
        units.push(Unit { sub_state: "exited".into(), ..unit("once".into(), "active") });
        let found = processes(&Vitals { units, ..Vitals::default() });
        assert_eq!((found.len(), &found[0]["name"]), (PROCESSES, &json!("broken")));
        assert!(found.iter().all(|process| process["name"] != "once"));
    }
}
