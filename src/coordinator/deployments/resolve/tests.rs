//! Tests of resolving, with nodes that describe themselves.

use super::*;
use crate::coordinator::roster::About;

fn node(name: &str, labels: &[(&str, &str)], packs: &[(&str, &str, &[&str])]) -> Candidate {
    let pack = |(name, version, jobs): &(&str, &str, &[&str])| Pack {
        name: (*name).into(),
        version: (*version).into(),
        jobs: jobs.iter().map(|&job| job.to_owned()).collect(),
    };
    let about = About {
        os_id: "debian".into(),
        os_version: "12".into(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        packs: packs.iter().map(pack).collect(),
        ..About::default()
    };
    let row = NodeRow {
        name: name.parse().expect("a name"),
        cluster: ClusterId(Uuid::nil()),
        cluster_name: "default".into(),
        about,
        first_seen_ms: 0,
        last_seen_ms: 0,
    };
    Candidate { row, online: true }
}

fn three() -> Vec<Candidate> {
    let base: (&str, &str, &[&str]) = ("base", "1.0", &["journal", "disks"]);
    vec![
        node("n1", &[("role", "web")], &[base]),
        node("n2", &[("role", "web")], &[base, ("extra", "2", &["nginx"])]),
        node("n3", &[("role", "db"), ("instance_group", "store")], &[base]),
    ]
}

fn told(groups: &str, nodes: &[Candidate], placed: &[Placed]) -> Result<Plan, String> {
    let text = format!(
        "name: d\nreleases: [{{name: base, version: latest}}, {{name: extra, version: 2}}]\n\
         stemcells: [{{alias: deb, os: debian, version: 12}}]\ninstance_groups:\n{groups}"
    );
    let manifest = Manifest::read(&text).expect("a manifest");
    resolve(&manifest, nodes, placed).map_err(|e| e.to_string())
}

fn names(plan: &Plan) -> Vec<String> {
    plan.instances.iter().map(|i| format!("{}/{} {}", i.placed.group, i.placed.index, i.placed.node)).collect()
}

#[test]
fn groups_find_their_nodes_by_name_label_and_their_own_name() {
    let plan = told("- {name: all, nodes: ['n*']}", &three(), &[]).expect("resolved");
    assert_eq!(names(&plan), ["all/0 n1", "all/1 n2", "all/2 n3"]);
    let plan = told("- {name: web, labels: {role: web}, instances: 1}\n- {name: store}\n- {name: n2}", &three(), &[]);
    assert_eq!(names(&plan.expect("resolved")), ["web/0 n1", "store/0 n3", "n2/0 n2"], "a node is in one group");
    let plan = told("- {name: deb, nodes: [n1], stemcell: deb, jobs: [{name: disks, release: base}]}", &three(), &[]);
    let plan = plan.expect("resolved");
    assert_eq!(plan.stemcells, [Versioned { name: "debian".into(), version: "12".into() }]);
    assert_eq!(plan.releases.len(), 2, "all that are listed: {:?}", plan.releases);
    assert_eq!(plan.instances[0].part.jobs[0].pack.as_deref(), Some("base"));
    assert!(told("- {name: none, instances: 0}", &three(), &[]).expect("resolved").instances.is_empty());
}

#[test]
fn what_cannot_be_says_why() {
    for (groups, part) in [
        ("- {name: g, instances: 4, nodes: ['*']}", "wants 4 node(s), 3 can be had"),
        ("- {name: g}", "wants 1 node(s), 0"),
        ("- {name: g, nodes: ['n*'], azs: [elsewhere]}", "0 can be had"),
        ("- {name: g, nodes: ['*'], jobs: [{name: nginx, release: extra}]}", "n1 has no job `nginx`"),
        (
            "- {name: g, nodes: ['*'], jobs: [{name: nginx, release: base}]}",
            "has no job `nginx`; it has disks, journal",
        ),
        ("- {name: g, nodes: ['*'], jobs: [{name: nginx, release: other}]}", "from the release `other`"),
        ("- {name: g, nodes: ['*'], jobs: [{name: nginx}]}", "no release that it names"),
        ("- {name: g, nodes: ['*'], stemcell: mac}", "`mac`, which is not listed"),
        ("- {name: g, nodes: ['{']}", "cannot be read"),
        ("- {name: a, nodes: [n1]}\n- {name: b, nodes: [n1], instances: 1}", "wants 1 node(s), 0"),
    ] {
        let fault = told(groups, &three(), &[]).expect_err(groups);
        assert!(fault.contains(part), "{groups}: {fault}");
    }
    let manifest = |text: &str| Manifest::read(text).expect("a manifest");
    let absent = manifest("name: d\nreleases: [{name: base, version: 9}]");
    let fault = resolve(&absent, &three(), &[]).expect_err("absent").to_string();
    assert_eq!(fault, "the release `base/9` is on no node that may be used here; there is base/1.0, extra/2");
    let wrong = manifest(
        "name: d\nstemcells: [{os: debian, version: 11}]\ninstance_groups: [{name: g, nodes: ['*'], stemcell: debian}]",
    );
    let fault = resolve(&wrong, &three(), &[]).expect_err("absent").to_string();
    assert!(fault.contains("`debian/11`") && fault.contains("there is debian/12"), "{fault}");
}

#[test]
fn what_is_there_stays_and_those_that_are_connected_come_first() {
    let mut nodes = three();
    nodes[0].online = false;
    let placed = Placed { id: Uuid::from_u128(7), group: "g".into(), index: 1, node: "n3".parse().expect("a name") };
    let plan =
        told("- {name: g, nodes: ['*'], instances: 2}", &nodes, std::slice::from_ref(&placed)).expect("resolved");
    assert_eq!(names(&plan), ["g/0 n2", "g/1 n3"]);
    assert_eq!(plan.instances[1].placed, placed);
}

#[test]
fn versions_are_such_that_clients_can_read_them() {
    for (text, expected) in [
        ("12", "12"),
        ("0+dev.16", "0+dev.16"),
        ("1.0.0-rc.1+b", "1.0.0-rc.1+b"),
        ("22.04", "22.04"),
        ("", "0"),
        ("..", "0"),
        ("1..2", "1.2"),
        ("7 (Core)", "7__Core_"),
        ("1-", "1_"),
        ("+x", "_x"),
        ("20261121130000123456789", "_20261121130000123456789"),
        ("été", "_t_"),
    ] {
        assert_eq!(version(text), expected, "{text:?}");
        assert!(is_version(&version(text)), "{text:?}");
    }
}
