//! Windows of time: one for all nodes, resolved by the coordinator, on every way to a bundle.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::kit::tree::{files_below, untar};
use crate::kit::{Site, succeed, text};

/// A host root with a log of the last three days, a line an hour, as text and packed, and state that is older.
fn root(at: &Path) -> Vec<String> {
    let now = jiff::Timestamp::now();
    let line = |hours: i64| {
        let at = now - jiff::SignedDuration::from_hours(hours);
        format!("{} host app[1]: {hours} hours ago\n", at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    };
    let lines: Vec<String> = (0..72).rev().map(line).collect();
    fs::create_dir_all(at.join("var/log")).expect("a folder");
    fs::write(at.join("var/log/app.log"), lines.concat()).expect("a log");
    let packed = fs::File::create(at.join("var/log/app.log.1.gz")).expect("a log");
    let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::new(6));
    packed.write_all(lines.concat().as_bytes()).and_then(|()| packed.finish()).expect("compressed");
    let old = fs::File::create(at.join("var/log/old.log")).expect("a log");
    let week = std::time::Duration::from_secs(7 * 86_400);
    old.set_modified(std::time::SystemTime::now() - week).expect("touched");
    lines
}

fn unpacked(path: &Path) -> String {
    let mut plain = String::new();
    let packed = fs::File::open(path).expect("a packed log");
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(packed), &mut plain).expect("decompressed");
    plain
}

#[test]
fn every_way_to_a_bundle_has_its_window() {
    let site = Site::start("");
    let host = site.folder.path().join("host");
    let lines = root(&host);
    let node = site.started("web-1", &host, site.agents);
    site.online(&["web-1"]);

    // Without a word the last 48 hours.
    let cases: [(&[&str], std::ops::Range<usize>); 4] = [
        (&[], 72 - 49..72),
        (&["--since", "150m"], 69..72),
        (&["--since", "30h30m", "--until", "10h30m"], 41..61),
        (&["--since", "all"], 0..72),
    ];
    for (number, (words, expected)) in cases.into_iter().enumerate() {
        let bundle = site.folder.path().join(format!("{number}.tar.zst"));
        succeed(&mut site.bundle(&bundle, words));
        let folder = untar(&bundle, &site.folder.path().join(format!("out-{number}")));
        let logs = folder.join("nodes/web-1/files/var/log");
        let cut = fs::read_to_string(logs.join("app.log")).expect("the log");
        // The hour 48 hours ago is inside by its padding.
        assert_eq!(cut, lines[expected.clone()].concat(), "{words:?}");
        assert_eq!(unpacked(&logs.join("app.log.1.gz")), cut, "{words:?}");
        let all = words.contains(&"all");
        assert_eq!(logs.join("old.log").exists(), all, "{words:?}: {:?}", files_below(&folder));
        let request = fs::read(folder.join("REQUEST.json")).expect("the request");
        let request: serde_json::Value = serde_json::from_slice(&request).expect("JSON");
        assert_eq!(request["window"]["since"].is_null(), all, "{request}");
        assert_eq!(request["window"]["until"].is_null(), !words.contains(&"--until"), "{request}");
        let warned = fs::read_to_string(folder.join("WARNINGS.txt")).unwrap_or_default();
        assert_eq!(warned.contains("nothing in the window"), !all, "{warned}");
        let info = site.sheaf(&["bundle", "info", bundle.to_str().expect("UTF-8")]);
        assert!(
            text(&info).contains(if all { "window      all" } else { "window      since" }) || number == 2,
            "{}",
            text(&info)
        );
        let list = site.json(&["bundle", "list", "--json", bundle.to_str().expect("UTF-8")]);
        let row = list.as_array().expect("rows").iter().find(|row| row["name"].to_string().contains("app.log\""));
        let left_out = (lines.concat().len() - cut.len()) as u64;
        let window = &row.expect("a row")["window"];
        assert_eq!(window["left_out"].as_u64(), (left_out > 0).then_some(left_out), "{window}");
        assert_eq!(window["rule"].as_str(), (!all).then_some("rfc3339"), "{window}");
    }

    // A kept bundle, and the node's own.
    let kept = site.sheaf(&["bundle", "create", "--cluster", "default", "--since", "150m", "--store", "--quiet"]);
    let id = String::from_utf8_lossy(&kept.stdout).trim().to_owned();
    assert!(kept.status.success(), "{}", text(&kept));
    let bundle = site.folder.path().join("kept.tar.zst");
    succeed(site.operator().args(["bundle", "stored", "download", &id, "--quiet", "--output"]).arg(&bundle));
    let own = site.folder.path().join("own.tar.zst");
    let mut collect = site.operator();
    collect.args(["agent", "collect", "--since", "150m", "--collector", "logs", "--config"]).arg(&node.config);
    succeed(collect.arg("--output").arg(&own));
    for (name, bundle) in [("kept", bundle), ("own", own)] {
        let folder = untar(&bundle, &site.folder.path().join(name));
        let log = files_below(&folder).into_iter().find(|file| file.ends_with("app.log")).expect("the log");
        assert_eq!(fs::read_to_string(folder.join(log)).expect("the log"), lines[69..].concat(), "{name}");
    }
}

#[test]
fn windows_that_cannot_be_meant_are_refused_before_anything_is_made() {
    let site = Site::start("");
    let _node = site.node("web-1", site.folder.path(), site.agents);
    for (words, code, part) in [
        (["--since", "yesterday"].as_slice(), 2, "`yesterday` is no time"),
        (&["--until", "2026-11-21T16:00:00"], 2, "lacks its zone"),
        (&["--since", "2h", "--until", "3h"], 1, "after its end"),
        (&["--since", "2999-01-01T00:00:00Z"], 1, "yet to come"),
        (&["--until", "all"], 1, "only for its beginning"),
    ] {
        let output = site.folder.path().join("none.tar.zst");
        let done = site.bundle(&output, words).output().expect("sheaf runs");
        assert_eq!(done.status.code(), Some(code), "{words:?}: {}", text(&done));
        assert!(text(&done).contains(part), "{words:?}: {}", text(&done));
        assert!(!output.exists());
        let mut own = site.operator();
        let done = own.args(["agent", "collect", "--output", "/dev/null"]).args(words).output().expect("sheaf runs");
        assert_eq!(done.status.code(), Some(code), "{words:?}: {}", text(&done));
        assert!(text(&done).contains(part), "{words:?}: {}", text(&done));
    }
    assert_eq!(site.json(&["task", "list", "--json"]), serde_json::json!([]));
}
