//! The rules of the house, held by tests: who may import whom, and that every room says what it is for.
//!
//! Reads `src` as text. The floors are in the doc of `src/lib.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a room may import besides itself and the ground floor.
const ROOMS: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("secret", &[]),
    ("limits", &[]),
    ("clock", &[]),
    ("shutdown", &[]),
    ("state", &[]),
    ("report", &[]),
    ("window", &[]),
    ("bundle", &[]),
    ("net", &["protocol::problem"]),
    ("protocol", &["bundle"]),
    ("agent::history", &["protocol"]),
    ("agent::source", &["bundle", "protocol", "agent::config", "agent::host", "agent::history", "agent::collectors"]),
    ("agent::redact", &["bundle", "agent::source"]),
    ("agent::pack", &["bundle", "agent::redact"]),
    ("agent::send", &["bundle", "protocol", "net", "agent::pack", "agent::program"]),
    ("agent", &["bundle", "protocol", "net"]),
    ("coordinator::receive", &["bundle", "protocol", "net"]),
    ("coordinator::verify", &["bundle", "protocol", "coordinator::receive"]),
    ("coordinator::merge", &["bundle", "protocol", "coordinator::verify"]),
    ("coordinator::deliver", &["bundle", "protocol", "net", "coordinator::merge"]),
    ("coordinator", &["bundle", "protocol", "net"]),
    ("api::native", FACE),
    ("api::vcenter", FACE),
    ("api::logs", FACE),
    ("api::ucs", FACE),
    ("api::director", FACE),
    ("api::door", &["coordinator::verbs", "protocol", "net"]),
    ("api", &["coordinator::verbs", "net"]),
    ("config", ROOF),
    ("telemetry", ROOF),
    ("cli", ROOF),
    ("main", ROOF),
    ("bin", ROOF),
];
const GROUND: &[&str] = &["id", "secret", "limits", "clock", "floor", "shutdown", "state", "report", "window"];
const FACE: &[&str] = &["api::door", "coordinator::verbs", "bundle", "protocol", "net"];
const ROOF: &[&str] = &["bundle", "protocol", "net", "agent", "coordinator", "api", "config", "telemetry", "cli"];

#[test]
fn nothing_imports_upwards_or_across() {
    let mut faults = BTreeSet::new();
    let mut edges = 0;
    for file in sources() {
        let module = module_of(&file);
        let text = production_code(&fs::read_to_string(&file).expect("readable source"));
        for target in imports(&module, &text) {
            edges += 1;
            if !allowed(&module, &target) {
                faults.insert(format!("{module} imports {target}"));
            }
        }
    }
    assert!(edges > 20, "the reader of imports sees only {edges} edges: it is broken");
    assert!(faults.is_empty(), "the floors do not allow:\n{}", faults.into_iter().collect::<Vec<_>>().join("\n"));
}

/// What `sheaf-agent` holds is what it reaches, from one file's imports to the next; a file brings all below it, but for the two that
/// only list rooms.
#[test]
fn the_agents_program_reaches_nothing_but_the_agent() {
    let modules: BTreeMap<String, PathBuf> = sources().into_iter().map(|file| (module_of(&file), file)).collect();
    let mut reached = BTreeMap::from([("bin::sheaf-agent".to_owned(), String::new())]);
    let mut open: Vec<String> = reached.keys().cloned().collect();
    while let Some(module) = open.pop() {
        let text = production_code(&fs::read_to_string(&modules[&module]).expect("readable source"));
        let below = modules.keys().filter(|other| !LISTS.contains(&&*module) && within(other, &module)).cloned();
        let imported = imports(&module, &text).into_iter().filter_map(|path| home(&modules, path));
        for next in imported.chain(below) {
            if !reached.contains_key(&next) {
                reached.insert(next.clone(), module.clone());
                open.push(next);
            }
        }
    }
    for wanted in ["cli::agent::join", "agent::run::service", "agent::redact::rules", "protocol::agents", "net::proxy"]
    {
        assert!(reached.contains_key(wanted), "the reader of imports does not come to {wanted}: it is broken");
    }
    let foreign = |module: &str| {
        let own = within(module, "cli::agent") || ["cli", "cli::output", "cli::window"].contains(&module);
        (within(module, "cli") && !own)
            || ["coordinator", "api", "main", "net::serve", "net::client"].iter().any(|room| within(module, room))
    };
    let faults: Vec<_> = reached.iter().filter(|(module, _)| foreign(module)).collect();
    assert!(faults.is_empty(), "(what is reached, and from where) {faults:#?}");
}

/// Files that name what lies below them and use none of it.
const LISTS: &[&str] = &["", "cli"];

/// The module that a path is of.
fn home(modules: &BTreeMap<String, PathBuf>, mut path: String) -> Option<String> {
    while !modules.contains_key(&path) {
        path.truncate(path.rfind("::")?);
    }
    Some(path)
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let text = "use crate::{id::NodeName, net};\nuse super::super::pack::{a, b::{c, d}};\n\
                fn f() { crate::report::escape(x) }\nuse super::x;";
    let seen = imports("agent::send::wire", text);
    let wanted = [
        "id::NodeName",
        "net",
        "agent::pack::a",
        "agent::pack::b::c",
        "agent::pack::b::d",
        "report::escape",
        "agent::send::x",
    ];
    for want in wanted {
        assert!(seen.iter().any(|path| path == want), "{want} is missing in {seen:?}");
    }
    assert!(!allowed("agent::pack", "agent::source::Record"), "a stage sees only its left neighbour");
    assert!(!allowed("agent::run", "coordinator::run"), "the wings are apart");
    assert!(!allowed("bundle::check", "protocol::agents"), "nothing climbs");
    assert!(!allowed("api::logs", "api::vcenter::wire"), "faces are apart");
    assert!(!allowed("api::logs", "coordinator::store"), "faces have one door");
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|file| !fs::read_to_string(file).expect("readable source").starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "no module doc at the top of {silent:?}");
}

#[test]
fn files_are_named_for_what_they_hold() {
    let vague: Vec<_> = sources()
        .into_iter()
        .filter(|file| {
            let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            ["common", "util", "utils", "helpers", "manager", "types"].contains(&name)
        })
        .collect();
    assert!(vague.is_empty(), "names that say nothing: {vague:?}");
}

#[test]
fn every_verb_records_its_refusals() {
    let mut verbs = 0;
    let mut silent = Vec::new();
    for file in sources().into_iter().filter(|file| within(&module_of(file), "coordinator::verbs")) {
        let text = production_code(&fs::read_to_string(&file).expect("readable source"));
        for verb in text.split("\n    pub async fn ").skip(1) {
            let body = verb.split("\n    }\n").next().expect("a function");
            if !body.contains("who: &Principal") {
                continue;
            }
            verbs += 1;
            if !body.contains("self.recorded(") && !body.contains("self.watched(") {
                silent.push(format!("{}: {}", file.display(), body.lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(verbs > 40, "the reader of verbs sees only {verbs}: it is broken");
    assert!(silent.is_empty(), "neither recorded nor watched:\n{}", silent.join("\n"));
}

#[test]
fn the_tour_names_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tour = fs::read_to_string(root.join("src/lib.rs")).expect("readable source");
    for (room, _) in ROOMS.iter().filter(|(room, _)| !["main", "bin"].contains(room)) {
        let at = root.join("src").join(room.replace("::", "/"));
        assert!(at.is_dir() || at.with_extension("rs").is_file(), "{room} has a floor and no file");
        let top = room.split("::").next().expect("a first component");
        assert!(tour.contains(&format!("pub mod {top};")), "{top} is not in the tour");
    }
}

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("readable folder") {
            let path = entry.expect("readable entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.sort();
    found
}

/// `agent::pack::spool` for `src/agent/pack/spool.rs`; empty for `src/lib.rs`.
fn module_of(file: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let inside = file.strip_prefix(root).expect("below src").with_extension("");
    let parts: Vec<_> =
        inside.iter().filter_map(|part| part.to_str()).filter(|part| !["mod", "lib"].contains(part)).collect();
    parts.join("::")
}

/// The file without comments and without its unit tests, which may look anywhere.
fn production_code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every path into the crate that `text` names, groups opened and `super` resolved.
fn imports(module: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "sheaf::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let mut rest = &text[at..];
            let mut base: Vec<&str> = Vec::new();
            if start != "super::" {
                rest = &rest[start.len()..];
            } else {
                base = module.split("::").collect();
                while let Some(after) = rest.strip_prefix("super::") {
                    base.pop();
                    rest = after;
                }
            }
            let base = base.join("::");
            for path in open_groups(rest) {
                found.push(if base.is_empty() { path } else { format!("{base}::{path}") });
            }
        }
    }
    found
}

/// `a::{b, c::{d}}` → `a::b`, `a::c::d`; reads up to the end of the path.
fn open_groups(text: &str) -> Vec<String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let head = text[..end].trim_end_matches(':');
    if !text[end..].starts_with('{') || (end > 0 && !text[..end].ends_with("::")) {
        return vec![head.to_owned()];
    }
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for c in text[end..].chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        match c {
            ',' if depth == 1 => parts.push(String::new()),
            '{' if depth == 1 => {}
            _ if c.is_whitespace() => {}
            _ => parts.last_mut().expect("never empty").push(c),
        }
    }
    let join = |rest: String| if head.is_empty() { rest } else { format!("{head}::{rest}") };
    parts.iter().filter(|part| !part.is_empty()).flat_map(|part| open_groups(part)).map(join).collect()
}

fn within(path: &str, room: &str) -> bool {
    path == room || path.strip_prefix(room).is_some_and(|rest| rest.starts_with("::"))
}

fn allowed(module: &str, target: &str) -> bool {
    // lib.rs only lists the rooms.
    if module.is_empty() || GROUND.iter().any(|room| within(target, room)) {
        return true;
    }
    let room = ROOMS.iter().filter(|(room, _)| within(module, room)).max_by_key(|(room, _)| room.len());
    let Some((home, may)) = room else { return false };
    within(target, home) || may.iter().any(|allowed| within(target, allowed))
}
