//! What is declared, what is refused and what replaces what.

use std::os::unix::fs::{PermissionsExt as _, chown};

use super::files::FILE_BYTES;
use super::*;

const OWN: &str = "name = \"own\"\nversion = \"1\"\nwhy = \"A test.\"\ndefault = false\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    mode(folder.path(), 0o755);
    folder
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("written");
    mode(&path, 0o644);
    path
}

fn reason(library: &Library, name: &str) -> String {
    assert!(!library.declared().contains_key(name), "{name} must not be there");
    library.refused().find(|r| r.name == name).map(|r| r.reason.clone()).unwrap_or_default()
}

#[test]
fn the_built_in_ones_are_whole_and_say_why() {
    let library = Library::load(&[]);
    let declared = library.declared();
    let on: Vec<_> = declared.iter().filter(|(_, on)| **on).map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        on,
        [
            "cloud-init",
            "containers",
            "kernel",
            "kubernetes",
            "logs",
            "network",
            "packages",
            "processes",
            "storage",
            "system",
            "systemd",
            "time"
        ]
    );
    let off: Vec<_> = declared.iter().filter(|(_, on)| !**on).map(|(name, _)| name.as_str()).collect();
    assert_eq!(off, ["audit", "ethtool", "packages-history"]);
    assert!(library.collectors().all(|collector| collector.why.len() > 20));
}

#[test]
fn what_is_compiled_in_is_bounded_and_has_no_fault() {
    let (mut commands, mut answers) = (BTreeMap::new(), BTreeMap::new());
    for text in BUILT_IN {
        let (declared, faults) = Declared::faults(text);
        assert!(faults.is_empty(), "{text}: {faults:?}");
        let declared = declared.expect("a collector");
        let lints = declared.lints();
        assert!(lints.is_empty(), "{lints:?}");
        for command in &declared.commands {
            // Two collectors that write one file would be two files, one of them under a name that nobody looks for.
            assert_eq!(commands.insert(command.name.to_string(), declared.name.to_string()), None, "{}", command.name);
            let time = command.timeout.unwrap_or(crate::limits::COMMAND.0);
            assert!(time <= crate::limits::COMMAND.0, "{}: one that hangs holds up all", command.name);
            let program = &command.argv[0];
            assert!(!["sh", "bash", "env", "sudo", "xargs"].contains(&program.as_str()), "{program}");
        }
        for http in &declared.http {
            assert_eq!(answers.insert(http.name.to_string(), declared.name.to_string()), None, "{}", http.name);
            assert!(http.timeout.is_some_and(|time| time <= crate::limits::COMMAND.0), "{}", http.name);
        }
    }
    assert!(commands.len() > 80 && answers.len() > 5, "{}", commands.len());
}

#[test]
fn what_the_shipped_unit_may_not_has_a_file_that_gives_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let shipped = |name: &str| fs::read_to_string(folder.join(name));
    let unit = shipped("system/sheaf-agent.service").expect("the unit");
    let own = unit.lines().find(|line| line.starts_with("AmbientCapabilities=")).expect("capabilities");
    let mut seen = 0;
    for text in BUILT_IN {
        let declared = Declared::read(text).expect("a collector");
        let given = declared.granted_by.as_ref().map(|file| {
            let name = file.strip_prefix("/usr/share/sheaf").expect("where packages put it");
            shipped(&format!("examples/{}", name.display())).expect("shipped")
        });
        let needs = declared.commands.iter().flat_map(|command| &command.needs);
        for need in needs.filter(|need| *need != crate::agent::source::condition::ROOT && !own.contains(*need)) {
            let given = given.as_ref().unwrap_or_else(|| panic!("{}: nothing gives {need}", declared.name));
            assert!(given.contains(need), "{}: its file does not give {need}", declared.name);
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen}");
}

#[test]
fn what_is_compiled_in_can_be_switched_off() {
    let folder = folder();
    put(folder.path(), "own.toml", OWN);
    let config = AgentConfig {
        builtin_collectors: false,
        collectors_dirs: vec![folder.path().into()],
        ..AgentConfig::default()
    };
    assert_eq!(Library::of(&config).declared().into_keys().collect::<Vec<_>>(), ["own"]);
}

#[test]
fn files_override_by_name_and_later_folders_win() {
    let (vendor, local) = (folder(), folder());
    put(vendor.path(), "own.toml", &OWN.replace("\"1\"", "\"2\""));
    put(local.path(), "own.toml", &OWN.replace("\"1\"", "\"3\""));
    put(local.path(), "logs.toml", &OWN.replace("own", "logs"));
    put(local.path(), "notes.txt", "not a collector");
    let library = Library::load(&[vendor.path().into(), "/nonexistent".into(), local.path().into()]);
    let own = library.collectors().find(|c| c.name.as_str() == "own").expect("own");
    assert_eq!(own.version, "3");
    assert!(!library.declared()["logs"], "the built-in one is replaced");
    assert_eq!(library.refused().count(), 0);
    let (vendored, own, logs) =
        (vendor.path().join("own.toml"), local.path().join("own.toml"), local.path().join("logs.toml"));
    let replacing: Vec<_> = library.replacing().collect();
    assert_eq!(replacing, [("logs", logs.as_path(), None), ("own", own.as_path(), Some(vendored.as_path()))]);
}

#[test]
fn a_file_that_others_may_write_is_refused_and_replaces_nothing_by_the_built_in() {
    let folder = folder();
    mode(&put(folder.path(), "logs.toml", &OWN.replace("own", "logs")), 0o664);
    let library = Library::load(&[folder.path().into()]);
    assert!(reason(&library, "logs").contains("mode 0664"), "{:?}", library.refused);
    let plan = library.plan(&["logs".to_owned()], &AgentConfig::default());
    assert!(plan.collectors.is_empty());
    assert_eq!(plan.notes[0].outcome, Outcome::Failed);
}

#[test]
fn a_folder_that_others_may_write_is_refused() {
    let folder = folder();
    put(folder.path(), "own.toml", OWN);
    mode(folder.path(), 0o777);
    assert!(reason(&Library::load(&[folder.path().into()]), "own").contains("its folder has mode 0777"));
}

#[test]
fn a_file_of_another_user_is_refused() {
    let folder = folder();
    let path = put(folder.path(), "own.toml", OWN);
    // Only root can give files away; as another user the owner check is covered by root's run.
    if chown(&path, Some(12_345), None).is_ok() {
        assert!(reason(&Library::load(&[folder.path().into()]), "own").contains("belongs to user 12345"));
    }
}

#[test]
fn broken_files_are_refused_by_name() {
    let folder = folder();
    put(folder.path(), "own.toml", &format!("{OWN}comands = []\n"));
    put(folder.path(), "other.toml", OWN);
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("fifo.toml"), rustix::fs::Mode::RUSR).expect("a FIFO");
    put(folder.path(), "huge.toml", &format!("{OWN}#{}", " ".repeat(FILE_BYTES as usize)));
    let library = Library::load(&[folder.path().into()]);
    assert!(reason(&library, "own").contains("unknown key `comands`; did you mean `commands`?"));
    assert!(reason(&library, "other").contains("its name is `own`"));
    assert!(reason(&library, "fifo").contains("not a regular file"));
    assert!(reason(&library, "huge").contains("larger than"));
}

#[test]
fn an_order_can_only_name_what_is_declared() {
    let library = Library::load(&[]);
    let config = AgentConfig::default();
    let plan = library.plan(&["system".into(), "system".into(), "../etc\n".into()], &config);
    assert_eq!(plan.collectors.len(), 1);
    assert_eq!(plan.notes.len(), 1);
    assert_eq!(plan.notes[0].path, "collectors/*");
    assert!(plan.notes[0].reason.ends_with("`../etc\\n`"), "{}", plan.notes[0].reason);
    assert_eq!(plan.notes[0].outcome, Outcome::Skipped);
    let all = library.plan(&[], &config);
    assert_eq!(all.collectors.len(), library.collectors().filter(|c| c.default).count());
}

#[test]
fn packs_are_those_of_the_files_and_what_replaces_counts_to_the_replaced() {
    let folder = folder();
    let packed = |name: &str, pack: &str| OWN.replace("own", name).replace("default = false", pack);
    put(folder.path(), "web.toml", &packed("web", "pack = { name = \"web-pack\", version = \"1.4.0\" }"));
    put(folder.path(), "logs.toml", &packed("logs", ""));
    put(folder.path(), "own.toml", OWN);
    let library = Library::load(&[folder.path().into()]);
    assert_eq!(library.refused().count(), 0);
    let packs = library.packs();
    let shown: Vec<_> = packs.iter().map(|p| (p.name.as_str(), p.version.as_str(), p.jobs.len())).collect();
    let built_in = (BUILT_IN_PACK, env!("CARGO_PKG_VERSION"), BUILT_IN.len());
    assert_eq!(shown, [(LOCAL_PACK, "0", 1), built_in, ("web-pack", "1.4.0", 1)]);
    assert_eq!(library.pack_of("logs"), Some((BUILT_IN_PACK, env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_collector_of_two_packs_is_refused_in_clear_words() {
    let (vendor, local) = (folder(), folder());
    let packed = |name: &str, pack: &str| {
        OWN.replace("own", name).replace("default = false", &format!("pack = {{ name = \"{pack}\", version = \"1\" }}"))
    };
    put(vendor.path(), "web.toml", &packed("web", "one"));
    put(local.path(), "web.toml", &packed("web", "two"));
    put(local.path(), "own.toml", &packed("own", BUILT_IN_PACK));
    let library = Library::load(&[vendor.path().into(), local.path().into()]);
    assert!(reason(&library, "web").contains("collector `web` is of the pack `one` already"));
    assert!(reason(&library, "own").contains("is sheaf's own"));
}

#[test]
fn a_deployment_runs_its_jobs_with_its_properties() {
    let folder = folder();
    let properties = "[properties.site]\npattern = \"[a-z]+\"\n[[files]]\nroots = [\"/var/log\"]\npaths = [\"/var/log/{{site}}/*\"]\n";
    put(folder.path(), "own.toml", &format!("{OWN}{properties}"));
    let (library, config) = (Library::load(&[folder.path().into()]), AgentConfig::default());
    let job = |site: serde_json::Value| Job {
        collector: "own".to_owned(),
        properties: [("site".to_owned(), site)].into(),
        ..Job::default()
    };
    let deployment = |job| Deployment { name: "d".to_owned(), jobs: vec![job] };
    let plan = library.plan_of(&deployment(job("main".into())), &[], &config);
    assert_eq!(plan.collectors[0].files[0].paths[0].to_string(), "/var/log/main/*");
    // The file's pattern may have changed since.
    let plan = library.plan_of(&deployment(job("../x".into())), &["own".to_owned(), "absent".to_owned()], &config);
    assert!(plan.collectors.is_empty());
    assert_eq!((plan.notes[0].outcome, plan.notes[1].outcome), (Outcome::Failed, Outcome::Skipped));
    assert!(plan.notes[1].reason.contains("`d` has no such job"), "{}", plan.notes[1].reason);
    let plan = library.plan_of(&deployment(job("main".into())), &["logs".to_owned()], &config);
    assert_eq!((plan.collectors.len(), plan.notes.len()), (1, 0), "the node's own, without the job");
    let other = Job { pack: Some(BUILT_IN_PACK.to_owned()), ..job("main".into()) };
    assert!(library.filled(&other).expect_err("refused").contains("belongs to the pack `local`"));
    // Without a deployment there is no value to run it with.
    let plan = library.plan(&["own".to_owned()], &config);
    assert_eq!((plan.collectors.len(), plan.notes[0].outcome), (0, Outcome::Skipped));
}
