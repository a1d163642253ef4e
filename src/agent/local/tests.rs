//! Redaction that fails costs the source on which it fails, and nothing else: the rest of the bundle is whole and verifies.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::*;
use crate::agent::redact::SiteRule;
use crate::bundle::manifest::{FileRow, SourceRow};
use crate::bundle::reader::Reader;
use crate::bundle::verify::verify;

/// What must never leave.
const SECRET: &str = "hunter2-never-leaves";

fn gz(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("compresses")
}

struct Fixture {
    folder: tempfile::TempDir,
    config: AgentConfig,
}

impl Fixture {
    fn new(logs: &[(&str, Vec<u8>)], rules: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("root/var/log")).expect("a folder");
        for (name, bytes) in logs {
            fs::write(path("root/var/log").join(name), bytes).expect("a log");
        }
        let rule = |(name, pattern): &(&str, &str)| SiteRule {
            name: (*name).to_owned(),
            pattern: (*pattern).to_owned(),
            ..SiteRule::default()
        };
        let mut config = AgentConfig {
            host_root: path("root"),
            state_dir: path("state"),
            collectors_dirs: Vec::new(),
            node: Some("fixture".parse().expect("a name")),
            ..AgentConfig::default()
        };
        config.redact.rules = rules.iter().map(rule).collect();
        Self { folder, config }
    }

    /// The files of its bundle below the node's folder, and why sources are not among them.
    fn collect(&self) -> (BTreeMap<String, Vec<u8>>, BTreeMap<String, String>) {
        let own = tempfile::tempdir_in(self.folder.path()).expect("a folder");
        let path = own.path().join("own.tar.zst");
        let collection = Collection::prepare(self.config.clone(), Wanted { window: Asked::ALL, ..Wanted::default() })
            .expect("prepared");
        // No bundle is written over, and a test may collect twice.
        let _ = fs::remove_file(&path);
        collection.into_file(&path, &CancellationToken::new(), &mut |_| ()).expect("collected");
        let file = || File::open(&path).expect("opened");
        let seen = verify(file(), None, self.folder.path(), &mut |finding| println!("{finding}")).expect("read");
        assert!(matches!(seen.verdict, Verdict::Complete | Verdict::Partial), "{:?}", seen.verdict);
        let mut reader = Reader::open(file()).expect("a bundle");
        let [manifest, ..]: [FileRow; 3] = reader.tail().expect("the last entries");
        let mut read = |row: &FileRow| {
            let mut bytes = Vec::new();
            reader.copy(row, &mut bytes).expect("copied");
            bytes
        };
        let manifest: serde_json::Value = serde_json::from_slice(&read(&manifest)).expect("JSON");
        let rows: Vec<FileRow> = serde_json::from_value(manifest["files"].clone()).expect("rows");
        let sources: Vec<SourceRow> = serde_json::from_value(manifest["sources"].clone()).expect("rows");
        let node = |row: &FileRow| row.path.strip_prefix("nodes/fixture/").map(str::to_owned);
        let files = rows.iter().filter_map(|row| Some((node(row)?, read(row)))).collect();
        let log = |path: &str| path.rsplit_once("files/var/log/").map(|(_, name)| name.to_owned());
        (files, sources.iter().filter_map(|row| Some((log(&row.path)?, row.reason.clone()))).collect())
    }
}

fn ordinary() -> Vec<u8> {
    b"May  1 10:00:00 host app[1]: nothing to see here\n".repeat(2000)
}

#[test]
fn what_cannot_be_redacted_is_withheld_and_the_rest_is_whole() {
    let secret = format!("password={SECRET}\n");
    let wide: Vec<u8> = format!("\u{feff}{secret}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut broken = gz(&secret.repeat(3000).into_bytes());
    broken.truncate(broken.len() - 20);
    let logs = [
        ("a.log", ordinary()),
        ("broken.log.1.gz", broken),
        ("m.log", ordinary()),
        ("nested.log.2.gz", gz(&gz(secret.as_bytes()))),
        ("panics.log", format!("{secret}set this off\n").into_bytes()),
        ("panics.log.1.gz", gz(format!("{secret}set this off\n").as_bytes())),
        ("swells.log.3.gz", gz(&[vec![0; 80 << 20], secret.clone().into_bytes()].concat())),
        ("wide.log", wide),
        ("z.log", [ordinary(), secret.clone().into_bytes()].concat()),
    ];
    let fixture = Fixture::new(&logs, &[("panics-in-tests", "set this off"), ("app", r"app\[\d+\]")]);
    let (files, sources) = fixture.collect();

    let all: Vec<u8> = files.values().flatten().copied().collect();
    assert!(memchr::memmem::find(&all, SECRET.as_bytes()).is_none(), "the secret is in the bundle");
    let redacted = String::from_utf8(ordinary()).expect("text").replace("app[1]", "[redacted:app]");
    for name in ["a.log", "m.log"] {
        assert_eq!(text(&files, name), redacted, "{name}");
    }
    assert_eq!(text(&files, "z.log"), format!("{redacted}password=[redacted:password]\n"));
    for (name, reason) in [
        ("broken.log.1.gz", "cannot be read inside"),
        ("nested.log.2.gz", "a compressed file inside"),
        ("panics.log", "redaction failed on it"),
        ("panics.log.1.gz", "redaction failed on it"),
        ("swells.log.3.gz", "expands more than a thousandfold"),
        ("wide.log", "binary, not declared"),
    ] {
        assert!(sources[name].contains(reason), "{name}: {}", sources[name]);
        assert!(!files.contains_key(&format!("files/var/log/{name}")), "{name}");
    }

    let account: serde_json::Value = serde_json::from_slice(&files["REDACTION.json"]).expect("JSON");
    assert_eq!(account["profile"], "secrets");
    assert_eq!(account["rules"]["site"], serde_json::json!(["panics-in-tests", "app"]));
    assert_eq!(account["redacted"], serde_json::json!({"app": 6000, "password": 1}));
    assert_eq!(account["sources"]["withheld"], 6);
    let rows = account["rows"].as_array().expect("rows");
    let row = |name: &str| rows.iter().find(|row| row["path"].as_str().is_some_and(|path| path.ends_with(name)));
    assert_eq!(row("/z.log").expect("a row")["redacted"], serde_json::json!({"app": 2000, "password": 1}));
    assert_eq!(row("/wide.log").expect("a row")["withheld"], "withheld: binary, not declared");
    let written = String::from_utf8_lossy(&files["REDACTION.json"]);
    assert!(!written.contains("set this off"), "a site's pattern is in it");
}

fn text(files: &BTreeMap<String, Vec<u8>>, log: &str) -> String {
    let path = format!("files/var/log/{log}");
    let bytes = files.get(&path).unwrap_or_else(|| panic!("{path} is not there"));
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn without_room_to_spool_large_sources_are_redacted_all_the_same() {
    let mut state = 1_u64;
    let mut line = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{state:016x}{:016x} password={SECRET}\n", state.rotate_left(17))
    };
    let large: String = (0..60_000).map(|_| line()).collect();
    let expected = large.replace(SECRET, "[redacted:password]");
    let mut fixture = Fixture::new(&[("large.log", large.into_bytes()), ("z.log", ordinary())], &[]);
    for bytes in [1, 64 << 10] {
        fixture.config.limits.spool_bytes = bytes;
        let (files, _) = fixture.collect();
        assert!(text(&files, "large.log") == expected, "with {bytes} bytes of spool");
        assert_eq!(text(&files, "z.log").into_bytes(), ordinary());
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&files["REDACTION.json"]).expect("JSON")["redacted"]["password"],
            60_000
        );
    }
}

#[test]
fn the_least_budget_holds_what_stands_in_every_bundle_and_a_smaller_one_is_refused() {
    let secret = format!("May  1 10:00:00 host app[1]: password={SECRET}\n").into_bytes();
    let node = Fixture::new(&[("app.log", [secret, ordinary()].concat())], &[]);
    let prepare = |budget| {
        let wanted = Wanted { window: Asked::ALL, budget: Some(budget), ..Wanted::default() };
        Collection::prepare(node.config.clone(), wanted)
    };
    for small in [0, 1, 10 << 10, limits::LEAST_BUDGET - 1] {
        let said = prepare(small).err().expect("refused").to_string();
        assert!(said.contains("give 64K at least"), "{said}");
    }
    let path = node.folder.path().join("least.tar.zst");
    let collection = prepare(limits::LEAST_BUDGET).expect("prepared");
    let done = collection.into_file(&path, &CancellationToken::new(), &mut |_| ()).expect("collected");
    assert_eq!(done.statement.verdict, Verdict::Partial, "the log is cut");
    let mut reader = Reader::open(File::open(&path).expect("opened")).expect("a bundle");
    let [manifest, ..]: [FileRow; 3] = reader.tail().expect("the last entries");
    let mut read = |row: &FileRow| {
        let mut bytes = Vec::new();
        reader.copy(row, &mut bytes).expect("copied");
        serde_json::from_slice::<serde_json::Value>(&bytes).expect("whole JSON")
    };
    let rows: Vec<FileRow> = serde_json::from_value(read(&manifest)["files"].clone()).expect("rows");
    let mut json = |name: &str| {
        let path = format!("nodes/fixture/{name}");
        read(rows.iter().find(|row| row.path == path).unwrap_or_else(|| panic!("{name} is not there")))
    };
    assert!(json("node.json")["hostname"].is_string());
    assert!(json("REDACTION.json")["rows"].is_array());
}
