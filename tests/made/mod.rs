//! Bundles for tests, made through the library the way real ones are: a node's tar, through the checker, into the assembler.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sheaf::bundle::Format;
use sheaf::bundle::assemble::{Assembler, SealKey};
use sheaf::bundle::check::{Budget, Checker};
use sheaf::bundle::entry::{EntryHead, padding};
use sheaf::bundle::frame::{Compressor, FRAME_RAW};
use sheaf::bundle::manifest::{FORMAT, NodeRow, Request};
use sheaf::bundle::outcome::Outcome;
use sheaf::bundle::path::EntryPath;
use sheaf::bundle::segment::Note;
use sheaf::id::{BundleName, NodeName};
use sheaf::limits::SEGMENT_RAW;

/// 2026-11-21T09:30:00Z.
const NOW: i64 = 1_795_253_400_000;
pub const BUNDLE: &str = "sheaf_test_20261121T093000Z_00000000";
pub const ALL: [Format; 2] = [Format::Tar, Format::TarZst];

/// Files of two nodes: paths below the bundle's folder, and content. Long, odd, empty, large ones among them.
pub fn files() -> Vec<(String, Vec<u8>)> {
    let log = |lines: usize| -> Vec<u8> {
        (0..lines)
            .flat_map(|i| format!("2026-11-21T09:30:00Z host app[{i}]: line {}\n", i * i % 977).into_bytes())
            .collect()
    };
    vec![
        ("nodes/web-1/files/var/log/syslog".to_owned(), log(40_000)),
        ("nodes/web-1/files/empty".to_owned(), Vec::new()),
        (format!("nodes/web-1/files/{}end.log", "a-long-folder/".repeat(30)), b"deep\n".to_vec()),
        (format!("nodes/web-1/files/{}.log", "é".repeat(120)), "one long component\n".into()),
        ("nodes/web-1/files/with space, 'quotes' and 100%".to_owned(), b"odd\n".to_vec()),
        ("nodes/web-2/commands/uptime.txt".to_owned(), b"up 3 days\n".to_vec()),
        ("nodes/web-2/files/var/log/app.log".to_owned(), log(3)),
    ]
}

/// One entry of tar, named below the bundle's folder.
pub fn entry(below: &str, content: &[u8]) -> Vec<u8> {
    let path = EntryPath::parse(&format!("{BUNDLE}/{below}")).expect("path");
    let mtime_ns = i128::from(NOW) * 1_000_000 - 1_500_000_000;
    let mut tar = EntryHead { path, size: content.len() as u64, mode: 0o600, mtime_ns }.encode();
    tar.extend_from_slice(content);
    tar.resize(tar.len() + padding(content.len() as u64) as usize, 0);
    tar
}

/// What goes into a bundle.
pub struct Plan {
    pub files: Vec<(String, Vec<u8>)>,
    pub nodes: Vec<(&'static str, Outcome)>,
    pub key: SealKey,
}

impl Default for Plan {
    fn default() -> Self {
        let nodes = vec![("web-1", Outcome::Collected), ("web-2", Outcome::Collected)];
        Self { files: files(), nodes, key: SealKey::generate() }
    }
}

impl Plan {
    /// The bundle.
    pub fn bytes(&self, format: Format) -> Vec<u8> {
        let request = Request {
            format: FORMAT.to_owned(),
            bundle: BUNDLE.to_owned(),
            generator: "sheaf test".to_owned(),
            requested_at: "2026-11-21T09:29:00.000Z".to_owned(),
            requested_by: "admin".to_owned(),
            cluster: "test".to_owned(),
            case: Some("4711".to_owned()),
            redaction: "default".to_owned(),
            nodes: self.nodes.iter().map(|(node, _)| (*node).to_owned()).collect(),
            ..Request::default()
        };
        let mut assembler = Assembler::new(Vec::new(), format, &request, &self.key).expect("begins");
        for (node, outcome) in &self.nodes {
            self.append(&mut assembler, node);
            let reason = if *outcome == Outcome::Collected { String::new() } else { "no answer".to_owned() };
            let row = NodeRow { name: (*node).to_owned(), outcome: *outcome, reason, ..NodeRow::default() };
            assembler.node(row).expect("node");
        }
        assembler.seal(NOW).expect("seals").0
    }

    fn append(&self, assembler: &mut Assembler<Vec<u8>>, node: &str) {
        let name: NodeName = node.parse().expect("name");
        let bundle = BundleName::try_from(BUNDLE.to_owned()).expect("name");
        let mut checker = Checker::new(&bundle, &name, Budget::default());
        let mut compressor = Compressor::new().expect("context");
        for (path, content) in self.files.iter().filter(|(path, _)| path.starts_with(&format!("nodes/{node}/"))) {
            let tar = entry(path, content);
            // One entry's parts, each a segment of its own.
            for (number, part) in tar.chunks(SEGMENT_RAW).enumerate() {
                let frames = part.chunks(FRAME_RAW).map(|raw| compressor.frame(raw).expect("frame").bytes.to_vec());
                let frames = Bytes::from(frames.collect::<Vec<_>>().concat());
                let last = (number + 1) * SEGMENT_RAW >= tar.len();
                let piece = checker.check(&frames, last).expect("legal");
                let absent = Note { path: "files/etc/absent".to_owned(), outcome: Outcome::Skipped, ..Note::default() };
                let notes = if piece.boundary { vec![absent] } else { Vec::new() };
                assembler.append(&name, &piece.frames, None, &piece.rows, &notes).expect("appends");
            }
        }
    }

    /// The bundle as a file in `folder`.
    pub fn write(&self, folder: &Path, format: Format) -> PathBuf {
        let path = folder.join(if format == Format::Tar { "bundle.tar" } else { "bundle.tar.zst" });
        fs::write(&path, self.bytes(format)).expect("writes");
        path
    }
}

/// Every file below a folder, by its path.
pub fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("lists") {
            let path = entry.expect("lists").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").to_str().expect("text").to_owned();
                found.push((name, fs::read(&path).expect("reads")));
            }
        }
    }
    found.sort();
    found
}
