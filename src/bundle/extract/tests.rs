//! What stands in the folder already must not lead outside of it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn path(text: &str) -> EntryPath {
    EntryPath::parse(text).expect("path")
}

#[test]
fn files_and_folders_are_made_with_their_modes() {
    let folder = tempfile::tempdir().expect("folder");
    let mut into = Into::open(&folder.path().join("new/deep")).expect("opens");
    for (name, mode) in [("a/b/private", 0o600), ("a/b/open", 0o644), ("a/setid", 0o6755), ("top", 0o600)] {
        let mut file = into.create(&path(name), mode).expect("makes");
        file.write_all(b"x").expect("writes");
        let there = fs::metadata(folder.path().join("new/deep").join(name)).expect("there").permissions().mode();
        assert_eq!(there & 0o7777 & !(mode & 0o644), 0, "{name}");
        assert_eq!(there & 0o600, 0o600, "{name}");
    }
}

#[test]
fn nothing_is_written_through_a_link_or_over_a_file() {
    let folder = tempfile::tempdir().expect("folder");
    let outside = tempfile::tempdir().expect("folder");
    let root = folder.path();
    fs::write(outside.path().join("victim"), b"as it was").expect("writes");
    fs::create_dir(root.join("real")).expect("makes");
    symlink(outside.path(), root.join("link")).expect("links");
    symlink(outside.path(), root.join("real/link")).expect("links");
    symlink(outside.path().join("victim"), root.join("file")).expect("links");
    symlink(outside.path().join("new"), root.join("dangling")).expect("links");
    fs::write(root.join("plain"), b"as it was").expect("writes");
    let mut into = Into::open(root).expect("opens");
    for name in
        ["link/x", "link/deep/x", "real/link/x", "real/link/victim", "file", "file/x", "dangling", "plain", "plain/x"]
    {
        assert!(into.create(&path(name), 0o644).is_err(), "{name}");
    }
    assert!(into.folder("link").is_err() && into.folder("real/link/y").is_err());
    let there: Vec<_> = fs::read_dir(outside.path()).expect("lists").map(|e| e.expect("lists").file_name()).collect();
    assert_eq!(there, ["victim"]);
    assert_eq!(fs::read(outside.path().join("victim")).expect("reads"), b"as it was");
    assert_eq!(fs::read(root.join("plain")).expect("reads"), b"as it was");
}

#[test]
fn no_component_goes_up() {
    let folder = tempfile::tempdir().expect("folder");
    let mut into = Into::open(&folder.path().join("in")).expect("opens");
    for name in ["..", "a/../../x", "a//x", "."] {
        assert!(into.folder(name).is_err(), "{name}");
    }
}

#[test]
fn the_folder_itself_may_be_a_link() {
    let folder = tempfile::tempdir().expect("folder");
    fs::create_dir(folder.path().join("real")).expect("makes");
    symlink(folder.path().join("real"), folder.path().join("link")).expect("links");
    Into::open(&folder.path().join("link")).and_then(|mut into| into.create(&path("x"), 0o644)).expect("makes");
    assert!(folder.path().join("real/x").is_file());
}
