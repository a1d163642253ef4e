//! One dead and one stalled node cost their own data and a warning, never the bundle.

use std::fs;
use std::process::Stdio;

use crate::kit::proxy::Proxy;
use crate::kit::tree::{Lines, host_root, same_tree, untar};
use crate::kit::{Site, text, verify};

const LARGE: usize = 72 << 20;
const BREAK: u64 = 8 << 20;

#[test]
fn one_killed_inside_a_large_entry_and_one_stalled() {
    let site = Site::start("stall_secs = 4\nsilence_secs = 4");
    let roots = site.folder.path().join("roots");
    host_root(&roots.join("a"), 1, &[("small.log", 3000), ("app/large.log", LARGE), ("zero.log", 0)]);
    host_root(&roots.join("b"), 2, &[("aaa-first.log", 5000), ("large.log", LARGE)]);
    host_root(&roots.join("c"), 3, &[("aaa-first.log", 6000), ("large.log", LARGE)]);
    let (to_b, to_c) = (Proxy::to(site.agents), Proxy::to(site.agents));
    let _a = site.started("node-a", &roots.join("a"), site.agents);
    let _b = site.started("node-b", &roots.join("b"), to_b.address);
    let mut c = site.started("node-c", &roots.join("c"), to_c.address);
    site.online(&["node-a", "node-b", "node-c"]);
    to_b.stall_at(to_b.up() + BREAK);
    to_c.stall_at(to_c.up() + BREAK);

    let output = site.folder.path().join("three.tar.zst");
    let download = site.bundle(&output, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sheaf runs");
    let c_target = BREAK;
    to_c.wait("node-c is inside its large entry", |up, _, _| up >= c_target);
    c.kill();
    let done = download.wait_with_output().expect("ends");
    assert_eq!(done.status.code(), Some(3), "partial: {}", text(&done));

    let (code, report) = verify(&output);
    assert_eq!(code, 3, "{report}");
    let folder = untar(&output, &site.folder.path().join("unpacked"));
    same_tree(&roots.join("a/var"), &folder.join("nodes/node-a/files/var"));
    for (node, seed) in [("node-b", 2), ("node-c", 3)] {
        let first = fs::read(folder.join("nodes").join(node).join("files/var/log/aaa-first.log")).expect("sent before");
        assert_eq!(first, Lines::seeded(seed * 1000).bytes(first.len() - 1), "{node}'s whole entries stay");
        let cut = fs::read(folder.join("nodes").join(node).join("files/var/log/large.log")).expect("the cut entry");
        let source = fs::read(roots.join(&node[5..]).join("var/log/large.log")).expect("source");
        assert_eq!(cut.len(), source.len(), "padded to the declared size");
        let same = cut.iter().zip(&source).take_while(|(cut, source)| cut == source).count();
        assert!(same > 1 << 20, "{node}: what was sent is there, not only {same} bytes");
        assert!(same < source.len() && cut[same..].iter().all(|byte| *byte == 0), "{node}: then zeros");
        let manifest = fs::read_to_string(folder.join("manifest.json")).expect("manifest");
        let row = manifest
            .lines()
            .find(|line| line.contains(&format!("nodes/{node}/files/var/log/large.log")))
            .expect("a row");
        assert!(row.contains("\"truncated\""), "{row}");
    }
    let warnings = fs::read_to_string(folder.join("WARNINGS.txt")).expect("warnings");
    assert!(warnings.contains("node-b") && warnings.contains("node-c") && !warnings.contains("node-a"), "{warnings}");
}

#[test]
fn a_node_that_is_not_there_is_skipped() {
    let site = Site::start("stall_secs = 4\nsilence_secs = 4");
    let root = site.folder.path().join("root");
    host_root(&root, 4, &[("x.log", 1000)]);
    let _here = site.started("here", &root, site.agents);
    let mut gone = site.started("gone", &root, site.agents);
    site.online(&["here", "gone"]);
    gone.kill();

    let output = site.folder.path().join("one.tar");
    let done = site.bundle(&output, &["--format", "tar"]).output().expect("sheaf runs");
    assert_eq!(done.status.code(), Some(3), "{}", text(&done));
    let folder = untar(&output, &site.folder.path().join("unpacked"));
    same_tree(&root.join("var"), &folder.join("nodes/here/files/var"));
    let warnings = fs::read_to_string(folder.join("WARNINGS.txt")).expect("warnings");
    assert!(warnings.contains("gone"), "{warnings}");
    assert_eq!(verify(&output).0, 3);
}
