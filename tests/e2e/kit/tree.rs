//! Fixture host roots, and the comparison of what came out with what was there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A stream of bytes that looks like a log and never repeats; the same for the same seed.
pub struct Lines {
    state: u64,
    line: u64,
}

impl Lines {
    /// From a seed.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed | 1, line: 0 }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// At least `bytes` of whole lines.
    pub fn bytes(&mut self, bytes: usize) -> Vec<u8> {
        let mut text = String::with_capacity(bytes + 128);
        while text.len() < bytes {
            let (a, b, c, d) = (self.next(), self.next(), self.next(), self.next());
            text.push_str(&format!("line {} worker-{}: {a:016x} {b:016x} {c:016x} {d:016x}\n", self.line, a % 7));
            self.line += 1;
        }
        text.into_bytes()
    }
}

/// A host root with `/var/log` files of the given sizes.
pub fn host_root(at: &Path, seed: u64, files: &[(&str, usize)]) {
    for (number, (name, bytes)) in files.iter().enumerate() {
        let path = at.join("var/log").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("fixture folder");
        fs::write(&path, Lines::seeded(seed * 1000 + number as u64).bytes(*bytes)).expect("fixture file");
    }
    fs::create_dir_all(at.join("etc")).expect("fixture folder");
    fs::write(at.join("etc/os-release"), "ID=fixture\nVERSION_ID=\"1\"\nPRETTY_NAME=\"Fixture 1\"\n")
        .expect("fixture file");
}

/// Unpacks with GNU tar and gives the bundle's only top-level folder.
pub fn untar(bundle: &Path, into: &Path) -> PathBuf {
    fs::create_dir_all(into).expect("a folder to unpack into");
    let mut tar = Command::new("tar");
    if bundle.extension().is_some_and(|ending| ending == "zst") {
        tar.arg("--zstd");
    }
    let output = tar.arg("-xf").arg(bundle).arg("-C").arg(into).output().expect("tar runs");
    assert!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    let mut folders = fs::read_dir(into).expect("unpacked").map(|entry| entry.expect("entry").path());
    let folder = folders.next().expect("one folder");
    assert!(folders.next().is_none(), "more than one folder at the top");
    folder
}

/// Asserts that every file below `expected` stands in `got` to the byte.
pub fn same_tree(expected: &Path, got: &Path) {
    for path in files_below(expected) {
        let twin = got.join(path.strip_prefix(expected).expect("below"));
        let (want, have) = (fs::read(&path).expect("source"), fs::read(&twin).unwrap_or_default());
        assert!(
            want == have,
            "{} differs: {} bytes in the source, {} in the bundle",
            twin.display(),
            want.len(),
            have.len()
        );
    }
}

/// All regular files below a folder, sorted.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
