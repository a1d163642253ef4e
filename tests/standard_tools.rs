//! What the standard tools make of a bundle: GNU tar, zstd, bsdtar, b3sum, python-zstandard. Those that are not installed are
//! counted and named; with `SHEAF_TEST_REQUIRE_TOOLS=1` they fail the test.

mod made;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use made::{ALL, BUNDLE, Plan, files, tree};
use sheaf::bundle::Format;

/// Whether a tool answers; says so when it does not.
fn there(tool: &str, arguments: &[&str]) -> bool {
    let there = Command::new(tool).args(arguments).output().is_ok_and(|output| output.status.success());
    if !there {
        let required = std::env::var_os("SHEAF_TEST_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "{tool} is required and not installed");
        eprintln!("skipped: 1 check, since {tool} {} does not answer", arguments.join(" "));
    }
    there
}

fn run(tool: &str, folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(tool).args(arguments).current_dir(folder).output().expect("starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {error}");
    assert_eq!(error, "", "{tool} {arguments:?} has nothing to complain about");
    output
}

/// The tree holds every file as it was made, and the bundle's own.
fn assert_tree(folder: &Path) {
    let found = tree(&folder.join(BUNDLE));
    for (path, content) in files() {
        let there = found.iter().find(|(name, _)| *name == path).map(|(_, content)| content);
        assert!(there == Some(&content), "{path} is as it was made");
    }
    let own: Vec<_> = found.iter().map(|(name, _)| name.as_str()).filter(|name| !name.starts_with("nodes/")).collect();
    assert_eq!(own, ["B3SUMS", "REQUEST.json", "SEAL.json", "WARNINGS.txt", "manifest.json"]);
}

/// Unpacks with a tar and looks at the tree, and has b3sum look at it too.
fn unpacks(tar: &str, option: &[&str]) {
    if !there(tar, &["--version"]) {
        return;
    }
    for format in ALL {
        let folder = tempfile::tempdir().expect("folder");
        let file = Plan::default().write(folder.path(), format);
        let file = file.to_str().expect("text");
        let option = if format == Format::TarZst { option } else { &[] };
        run(tar, folder.path(), &[option, &["-xf", file]].concat());
        assert_tree(folder.path());
        if there("b3sum", &["--version"]) {
            let output = run("b3sum", &folder.path().join(BUNDLE), &["--check", "B3SUMS"]);
            let lines = String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.ends_with(": OK")).count();
            // All files, REQUEST.json, WARNINGS.txt and the manifest.
            assert_eq!(lines, files().len() + 3);
        }
    }
}

#[test]
fn gnu_tar_unpacks_it() {
    unpacks("tar", &["--zstd"]);
}

#[test]
fn bsdtar_unpacks_it() {
    unpacks("bsdtar", &[]);
}

#[test]
fn zstd_tests_and_decompresses_it_to_the_tar() {
    if !there("zstd", &["--version"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let plan = Plan::default();
    let file = plan.write(folder.path(), Format::TarZst);
    run("zstd", folder.path(), &["-q", "-t", file.to_str().expect("text")]);
    let output = run("zstd", folder.path(), &["-q", "-dc", file.to_str().expect("text")]);
    assert!(output.stdout == plan.bytes(Format::Tar), "its content is the plain tar");
}

#[test]
fn python_reads_it() {
    if !there("python3", &["-c", "import zstandard"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    Plan::default().write(folder.path(), Format::TarZst);
    let script = "
import tarfile, zstandard
with open('bundle.tar.zst', 'rb') as file:
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    with tarfile.open(fileobj=reader, mode='r|') as tar:
        tar.extractall('.', filter='data') if hasattr(tarfile, 'data_filter') else tar.extractall('.')
";
    fs::write(folder.path().join("read.py"), script).expect("writes");
    run("python3", folder.path(), &["read.py"]);
    assert_tree(folder.path());
}

#[test]
fn the_tar_crate_reads_what_we_write() {
    let bytes = Plan::default().bytes(Format::Tar);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entries: Vec<_> = archive.entries().expect("reads").map(|e| e.expect("entry")).collect();
    let wanted = files().len() + 5;
    assert_eq!(entries.len(), wanted);
    for entry in &entries {
        assert!(entry.header().entry_type().is_file());
        assert_eq!((entry.header().uid().ok(), entry.header().gid().ok()), (Some(0), Some(0)));
    }
}
