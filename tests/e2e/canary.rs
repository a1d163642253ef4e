//! Secrets planted in every kind of source: none of them is found in the bundle, nor in any log.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::kit::tree::{files_below, untar};
use crate::kit::{Site, state_file, succeed, text};

/// A form in which secrets stand in logs, around the canary itself.
const FORMS: &[(&str, &str)] = &[
    ("key=value", "db connect user=app password=@ host=db1"),
    ("yaml", "  secret_key: @"),
    ("json", r#"{"level":"info","password":"@","user":"app"}"#),
    ("escaped json", r#"{"log":"{\"api_key\":\"@\"}"}"#),
    ("environment", "DB_PASSWORD=@"),
    ("bearer", "> Authorization: Bearer @"),
    ("url password", "cloning https://app:@@git.example.org/x.git"),
    ("url token", "GET /api/items?access_token=@&page=2 HTTP/1.1"),
    ("cloud key", "aws_secret_access_key = @"),
    ("private key", "-----BEGIN RSA PRIVATE KEY-----\n@\n@\n-----END RSA PRIVATE KEY-----"),
];

/// 40 characters that appear nowhere else, different for each place.
fn canary(place: usize, form: usize) -> String {
    let hash = blake3::hash(format!("{place}/{form}").as_bytes()).to_hex();
    format!("Cnry{}", &hash[..36])
}

fn planted(place: usize) -> String {
    let mut text = String::from("ordinary words before\n");
    for (form, (_, shape)) in FORMS.iter().enumerate() {
        // The URL's own @ is the second one of that form.
        let text_of = match shape.split_once("@@") {
            Some((before, after)) => format!("{before}{}@{after}", canary(place, form)),
            None => shape.replace('@', &canary(place, form)),
        };
        text.push_str(&text_of);
        text.push('\n');
    }
    text + "ordinary words after\n"
}

fn through(tool: &str, text: &str) -> Vec<u8> {
    let mut child = Command::new(tool).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(tool);
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    child.wait_with_output().expect(tool).stdout
}

#[test]
fn no_planted_secret_leaves_the_node() {
    let site = Site::start("");
    // The node's own root, since commands run only there.
    let logs = site.folder.path().join("fixture");
    fs::create_dir_all(&logs).expect("fixture");
    fs::write(logs.join("plain.log"), planted(0)).expect("fixture");
    fs::write(logs.join("plain.log.2.gz"), through("gzip", &planted(1))).expect("fixture");
    fs::write(logs.join("plain.log.3.xz"), through("xz", &planted(2))).expect("fixture");
    fs::write(logs.join("plain.log.4.zst"), through("zstd", &planted(3))).expect("fixture");
    let large =
        format!("{}{}{}", "a line before the window\n".repeat(50_000), planted(4), "after it\n".repeat(300_000));
    fs::write(logs.join("large.log"), large).expect("fixture");
    let said = site.folder.path().join("said");
    fs::write(&said, planted(5)).expect("fixture");

    let mut node = site.node("node", Path::new("/"), site.agents);
    state_file(
        &node.folder.join("collectors.d/logs.toml"),
        &format!(
            "name = \"logs\"\nversion = \"1\"\nwhy = \"canaries\"\ndefault = true\nroots = [{logs:?}]\n\
             [[files]]\npaths = [\"{}/**\"]\n\
             [[commands]]\nname = \"say\"\nargv = [\"cat\", {said:?}]\n\
             [[commands]]\nname = \"complain\"\nargv = [\"sh\", \"-c\", \"cat {} >&2; exit 1\"]\n",
            logs.display(),
            said.display()
        ),
    );
    node.start();
    site.online(&["node"]);

    let output = site.folder.path().join("merged.tar.zst");
    let done = site.bundle(&output, &[]).output().expect("sheaf runs");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    let own = site.folder.path().join("own.tar");
    succeed(
        Command::new(crate::kit::SHEAF)
            .args(["agent", "collect", "--config"])
            .arg(&node.config)
            .arg("--output")
            .arg(&own),
    );

    for (bundle, name) in [(&output, "merged"), (&own, "own")] {
        let folder = untar(bundle, &site.folder.path().join(name));
        let files = files_below(&folder);
        for wanted in ["plain.log", "plain.log.2.gz", "plain.log.3.xz", "plain.log.4.zst", "large.log", "say.txt"] {
            let path =
                files.iter().find(|path| path.ends_with(wanted)).unwrap_or_else(|| panic!("{name}: no {wanted}"));
            let content = String::from_utf8_lossy(&opened(path)).into_owned();
            assert!(content.contains("ordinary words before") || wanted == "large.log", "{name}: {wanted} is empty");
            assert!(content.contains("[redacted"), "{name}: {wanted} has no mark");
        }
        for path in &files {
            assert_clean(&path.display().to_string(), &opened(path));
        }
    }
    assert_clean("the coordinator's log", site.log().as_bytes());
    assert_clean("the agent's log", node.log().as_bytes());
    for path in files_below(&site.folder.path().join("state")) {
        assert_clean(&path.display().to_string(), &fs::read(&path).expect("state"));
    }
}

/// The file, decompressed if it is a compressed sibling.
fn opened(path: &Path) -> Vec<u8> {
    let tool = match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => "gzip",
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).expect("readable"),
    };
    succeed(Command::new(tool).arg("-dc").arg(path)).stdout
}

fn assert_clean(place: &str, bytes: &[u8]) {
    let all: Vec<_> = (0..6).flat_map(|from| (0..FORMS.len()).map(move |form| (from, form))).collect();
    // A part of a secret is a leak too.
    let parts = all.iter().map(|(from, form)| canary(*from, *form)[8..24].to_owned());
    let search = aho_corasick::AhoCorasick::new(parts).expect("a search");
    if let Some(found) = search.find(bytes) {
        let (from, form) = all[found.pattern().as_usize()];
        panic!("{place} holds the {} secret planted in source {from}", FORMS[form].0);
    }
}
