//! The reader's end of a download: all of its bytes, and the bundle that they are.
//!
//! Bundles are verified by the format's own reader, and unpacked into memory for a test to look at.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;
use serde_json::Value;

use super::kit::soon;
use crate::bundle::Format;
use crate::bundle::assemble::SealKey;
use crate::bundle::outcome::Verdict;
use crate::bundle::seal::PublicKey;
use crate::bundle::verify::verify;
use crate::coordinator::run::Body;

async fn read_all(mut body: Body) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

/// A download on its way.
pub(super) struct Reading {
    task: tokio::task::JoinHandle<io::Result<Vec<u8>>>,
    key: Arc<SealKey>,
    spool: PathBuf,
}

impl Reading {
    /// Reads `body` at once; its seal is checked with `key`, in `spool`.
    pub(super) fn of(body: Body, key: Arc<SealKey>, spool: PathBuf) -> Self {
        Self { task: tokio::spawn(read_all(body)), key, spool }
    }

    /// The bundle, once it is whole, verified by the format's own reader.
    pub(super) async fn bundle(self) -> Bundle {
        let bytes = soon(self.task).await.expect("joined").expect("a whole bundle");
        let (key, spool) = (self.key.public(), self.spool);
        tokio::task::spawn_blocking(move || Bundle::read(&bytes, &key, &spool)).await.expect("read")
    }

    /// The error that the reader met.
    pub(super) async fn error(self) -> io::Error {
        soon(self.task).await.expect("joined").expect_err("no bundle")
    }

    /// The client goes away.
    pub(super) fn leave(self) {
        self.task.abort();
    }
}

/// A bundle that was read and verified.
pub(super) struct Bundle {
    pub(super) verdict: Verdict,
    pub(super) files: HashMap<String, Vec<u8>>,
    pub(super) manifest: Value,
    pub(super) warnings: String,
}

impl Bundle {
    fn read(bytes: &[u8], key: &PublicKey, spool: &Path) -> Self {
        let mut findings = Vec::new();
        let report = verify(bytes, Some(key), spool, &mut |finding| findings.push(finding.to_string())).expect("read");
        assert!(matches!(report.verdict, Verdict::Complete | Verdict::Partial), "{:?} {findings:#?}", report.verdict);
        let tar = match report.format {
            Some(Format::TarZst) => zstd::decode_all(bytes).expect("frames"),
            _ => bytes.to_vec(),
        };
        let mut files = HashMap::new();
        for entry in tar::Archive::new(&tar[..]).entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            let below = path.split_once('/').expect("a folder").1.to_owned();
            assert!(files.insert(below, content).is_none(), "{path} stands twice");
        }
        let manifest = serde_json::from_slice(&files["manifest.json"]).expect("a manifest");
        let warnings = String::from_utf8(files["WARNINGS.txt"].clone()).expect("text");
        Self { verdict: report.verdict, files, manifest, warnings }
    }

    /// The node's row.
    pub(super) fn node(&self, node: &str) -> &Value {
        let rows = self.manifest["nodes"].as_array().expect("rows");
        rows.iter().find(|row| row["name"] == node).expect("the node's row")
    }

    /// The file's row.
    pub(super) fn file(&self, path: &str) -> &Value {
        let rows = self.manifest["files"].as_array().expect("rows");
        rows.iter().find(|row| row["path"] == path).expect("the file's row")
    }
}
