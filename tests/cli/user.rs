//! `sheaf user …`, `sheaf user key …` and `sheaf audit list`: what an administrator does for another, and what is known of it afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use serde_json::json;

use crate::desk::{Desk, Kept, text};
use crate::log_in;

/// Another user at the same desk, who shows name and password each time.
fn by(desk: &Desk, kept: &Kept, password: &str, args: &[&str]) -> Output {
    let mut command = desk.command(args);
    command.env("SHEAF_URL", kept.text("url")).env("SHEAF_CA", kept.text("ca_file"));
    command.env("SHEAF_USER", "ada").env("SHEAF_PASSWORD", password);
    command.output().expect("the program runs")
}

#[test]
fn a_user_comes_acts_within_its_role_and_goes_and_the_audit_log_knows() {
    let desk = Desk::new();
    let kept = Kept::start(&desk, 1);
    log_in(&desk, &kept);
    for (file, password) in [("first", "a first passw0rd"), ("second", "a second passw0rd")] {
        fs::write(desk.path().join(file), password).expect("written");
    }
    let made = desk.json(&["user", "create", "ada", "--role", "viewer", "--new-password-file", "first", "--json"]);
    assert_eq!(
        (&made["name"], &made["role"], made["id"].is_null()),
        (&json!("ada"), &json!("viewer"), false),
        "{made}"
    );
    let again = desk.run(&["user", "create", "ada", "--role", "viewer", "--new-password-file", "first"]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    let names = || -> Vec<_> {
        let rows = desk.json(&["user", "list", "--json"]);
        rows.as_array().expect("rows").iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(), ["ada", "admin"]);

    let looked = by(&desk, &kept, "a first passw0rd", &["cluster", "list"]);
    assert!(looked.status.success(), "{}", text(&looked));
    let refused = by(&desk, &kept, "a first passw0rd", &["cluster", "create", "mine"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("may not do that"), "{}", text(&refused));

    let saved = desk.run(&["user", "key", "create", "ada", "--output", "keys.json"]);
    assert!(saved.status.success(), "{}", text(&saved));
    let mode = fs::metadata(desk.path().join("keys.json")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let id = desk.json(&["user", "key", "list", "ada", "--json"])[0]["id"].as_str().expect("a key").to_owned();
    assert!(desk.run(&["user", "key", "revoke", &id]).status.success());
    assert_eq!(desk.json(&["user", "key", "list", "ada", "--json"]), json!([]));

    let changed = desk.run(&["user", "passwd", "ada", "--new-password-file", "second"]);
    assert!(changed.status.success(), "{}", text(&changed));
    let old = by(&desk, &kept, "a first passw0rd", &["cluster", "list"]);
    assert!(text(&old).contains("password is wrong"), "{}", text(&old));
    assert!(by(&desk, &kept, "a second passw0rd", &["cluster", "list"]).status.success());
    assert!(desk.run(&["user", "disable", "ada"]).status.success());
    assert_eq!(by(&desk, &kept, "a second passw0rd", &["cluster", "list"]).status.code(), Some(1));
    assert!(desk.run(&["user", "delete", "ada"]).status.success());
    assert_eq!(names(), ["admin"]);

    let records = desk.json(&["audit", "list", "--since", "1h", "--user", "ada", "--json"]);
    let records = records.as_array().expect("an array");
    let known =
        |what: &str, outcome: &str| records.iter().any(|record| record["what"] == what && record["outcome"] == outcome);
    assert!(records.iter().all(|record| record["who"] == "ada"), "{records:?}");
    for (what, outcome) in [("login", "done"), ("cluster.create", "refused"), ("login", "refused")] {
        assert!(known(what, outcome), "{what} {outcome} in {records:?}");
    }
    let all = desk.run(&["audit", "list"]);
    let all = String::from_utf8_lossy(&all.stdout).into_owned();
    for what in ["user.create", "key.create", "key.revoke", "user.password", "user.disable", "user.delete"] {
        assert!(all.contains(what), "{what} in {all}");
    }
    assert!(!all.contains("passw0rd"), "{all}");
    let later = desk.json(&["audit", "list", "--since", "2100-01-01T00:00:00Z", "--json"]);
    assert_eq!(later, json!([]));
    assert_eq!(desk.run(&["audit", "list", "--since", "soon"]).status.code(), Some(2));
}
