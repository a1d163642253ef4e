//! `sheaf bundle verify|list|cat|extract|info` as a user runs them: output, exit codes, pipes, damage.

mod made;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use made::{ALL, BUNDLE, Plan, files, tree};
use serde_json::Value;
use sheaf::bundle::Format;
use sheaf::bundle::assemble::SealKey;
use sheaf::bundle::outcome::Outcome;

fn sheaf(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheaf"));
    command.arg("bundle").args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    sheaf(arguments).output().expect("starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("exits")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", out(&output)))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn verify_tells_complete_partial_truncated_corrupt_and_wrong_signer() {
    let folder = tempfile::tempdir().expect("folder");
    for format in ALL {
        let plan = Plan::default();
        let file = plan.write(folder.path(), format);
        let key = folder.path().join("seal.pub");
        fs::write(&key, plan.key.public().to_pem()).expect("writes");
        let whole = run(&["verify", text(&file)]);
        assert_eq!(code(&whole), 0, "{}", out(&whole));
        assert!(out(&whole).contains("skipped: web-1: files/etc/absent"), "{}", out(&whole));
        assert!(out(&whole).lines().last().expect("line").starts_with(&format!("complete: {BUNDLE}: 2 of 2 nodes")));
        assert!(out(&whole).trim_end().ends_with("signer unchecked"));
        let signed = run(&["verify", text(&file), "--key", text(&key)]);
        assert!(code(&signed) == 0 && out(&signed).contains("signer matches"), "{}", out(&signed));
        let other = SealKey::generate().public().to_string();
        assert_eq!(code(&run(&["verify", text(&file), "--key", &other])), 6);

        let bytes = fs::read(&file).expect("reads");
        fs::write(&file, &bytes[..bytes.len() / 2]).expect("writes");
        let cut = run(&["verify", text(&file)]);
        assert!(code(&cut) == 4 && out(&cut).contains("cut: "), "{}", out(&cut));
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 4;
        fs::write(&file, &flipped).expect("writes");
        let corrupt = run(&["verify", text(&file)]);
        assert!(code(&corrupt) == 5 && out(&corrupt).contains("wrong: "), "{}", out(&corrupt));
        assert!(!out(&corrupt).contains("no bundle of sheaf"), "it is one, and damaged: {}", out(&corrupt));

        let nodes = vec![("web-1", Outcome::Collected), ("web-2", Outcome::Failed)];
        let file = Plan { nodes, ..Plan::default() }.write(folder.path(), format);
        let partial = run(&["verify", text(&file)]);
        assert_eq!(code(&partial), 3);
        assert!(out(&partial).contains("failed: web-2: no answer\n"), "{}", out(&partial));
    }
}

#[test]
fn verify_reads_standard_input_and_prints_json() {
    for format in ALL {
        let mut child =
            sheaf(&["verify", "-", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let bytes = Plan::default().bytes(format);
        child.stdin.take().expect("pipe").write_all(&bytes).expect("takes it");
        let output = child.wait_with_output().expect("ends");
        let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert_eq!(
            (code(&output), &report["verdict"], &report["signer"]),
            (0, &"complete".into(), &"unchecked".into())
        );
        assert_eq!(report["name"], BUNDLE);
        assert_eq!(report["findings"][0]["matter"], "skipped");
    }
}

#[test]
fn what_cannot_be_verified_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().expect("folder");
    let missing = run(&["verify", text(&folder.path().join("missing"))]);
    assert!(code(&missing) == 1 && err(&missing).contains("cannot open"), "{}", err(&missing));
    let folder_itself = run(&["verify", text(folder.path())]);
    assert!(code(&folder_itself) == 1 && err(&folder_itself).contains("is a folder"), "{}", err(&folder_itself));
    let file = Plan::default().write(folder.path(), Format::Tar);
    let key = run(&["verify", text(&file), "--key", "no-such-file"]);
    assert!(code(&key) == 1 && err(&key).contains("no such file"), "{}", err(&key));
}

#[test]
fn list_names_every_file_in_both_formats() {
    let folder = tempfile::tempdir().expect("folder");
    for format in ALL {
        let file = Plan::default().write(folder.path(), format);
        let rows = json(&["list", text(&file), "--json"]);
        let names: Vec<_> = rows.as_array().expect("array").iter().map(|r| r["name"].as_str().expect("name")).collect();
        for (path, _) in files() {
            assert!(names.contains(&path.as_str()), "{path}");
        }
        assert_eq!(names.len(), files().len() + 5);
        let plain = out(&run(&["list", text(&file), "--node", "web-2"]));
        assert_eq!(plain.lines().next(), Some("10\tcollected\tnodes/web-2/commands/uptime.txt"));
        assert_eq!(plain.lines().count(), 2);
        let nobody = run(&["list", text(&file), "--node", "web-3"]);
        assert!(code(&nobody) == 1 && err(&nobody).contains("sheaf bundle info"), "{}", err(&nobody));
        // From a pipe there is no seek table, and the names are the same.
        let piped = sheaf(&["list", "-"]).stdin(fs::File::open(&file).expect("opens")).output().expect("runs");
        let piped = out(&piped);
        assert_eq!(piped.lines().map(|l| l.rsplit('\t').next().expect("path")).collect::<Vec<_>>(), names);
    }
}

#[test]
fn cat_gives_the_bytes_and_only_those() {
    let folder = tempfile::tempdir().expect("folder");
    for format in ALL {
        let file = Plan::default().write(folder.path(), format);
        for (path, content) in files() {
            for name in [path.clone(), format!("{BUNDLE}/{path}"), format!("./{path}")] {
                let output = run(&["cat", text(&file), &name]);
                assert!(code(&output) == 0 && output.stdout == content, "{name}");
            }
        }
        assert!(out(&run(&["cat", text(&file), "WARNINGS.txt"])).contains("files/etc/absent: skipped"));
        assert_eq!(json(&["cat", text(&file), "nodes/web-2/commands/uptime.txt", "--json"])["content"], "up 3 days\n");
        let missing = run(&["cat", text(&file), "nodes/web-1/files/var"]);
        assert!(code(&missing) == 1 && missing.stdout.is_empty());
        assert!(err(&missing).contains("sheaf bundle list"), "{}", err(&missing));
    }
}

#[test]
fn extract_gives_the_tree_that_tar_gives() {
    let folder = tempfile::tempdir().expect("folder");
    for format in ALL {
        let file = Plan::default().write(folder.path(), format);
        let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(format!("{name}-{format:?}")));
        let output = run(&["extract", text(&file), "--into", text(&ours)]);
        assert!(code(&output) == 0 && output.stdout.is_empty() && output.stderr.is_empty(), "{}", err(&output));
        fs::create_dir(&theirs).expect("makes");
        let option = if format == Format::TarZst { "--zstd" } else { "--seek" };
        let tar = Command::new("tar").args([option, "-xf", text(&file), "-C", text(&theirs)]).status().expect("starts");
        assert!(tar.success() && tree(&ours) == tree(&theirs));
        let stamped = ours.join(BUNDLE).join("nodes/web-1/files/empty");
        let times = [&stamped, &theirs.join(stamped.strip_prefix(&ours).expect("below"))]
            .map(|p| fs::metadata(p).and_then(|m| m.modified()).expect("time"));
        assert_eq!(times[0], times[1]);
        // A second time nothing is overwritten.
        let again = run(&["extract", text(&file), "--into", text(&ours)]);
        assert!(code(&again) == 1 && err(&again).contains("extract into an empty folder"), "{}", err(&again));
    }
}

#[test]
fn extract_takes_files_and_folders_by_name() {
    let folder = tempfile::tempdir().expect("folder");
    let file = Plan::default().write(folder.path(), Format::TarZst);
    let into = folder.path().join("into");
    let done = json(&["extract", text(&file), "nodes/web-2", "WARNINGS.txt", "--into", text(&into), "--json"]);
    assert_eq!((&done["files"], &done["name"]), (&3.into(), &BUNDLE.into()));
    let names: Vec<_> = tree(&into.join(BUNDLE)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["WARNINGS.txt", "nodes/web-2/commands/uptime.txt", "nodes/web-2/files/var/log/app.log"]);
    let missing = run(&["extract", text(&file), "nodes/web", "--into", text(&folder.path().join("other"))]);
    assert!(code(&missing) == 1 && err(&missing).contains("nodes/web"), "{}", err(&missing));
}

#[test]
fn a_bundle_without_its_end_is_read_as_far_as_it_goes() {
    let folder = tempfile::tempdir().expect("folder");
    for format in ALL {
        let file = Plan::default().write(folder.path(), format);
        let bytes = fs::read(&file).expect("reads");
        // All of the nodes are there, the seal is not.
        fs::write(&file, &bytes[..bytes.len() - 1500]).expect("writes");
        let listed = run(&["list", text(&file)]);
        assert_eq!(code(&listed), 4);
        assert!(out(&listed).contains("nodes/web-2/commands/uptime.txt") && err(&listed).contains("warning: "));
        let cat = run(&["cat", text(&file), "nodes/web-2/commands/uptime.txt"]);
        assert_eq!((code(&cat), out(&cat).as_str()), (0, "up 3 days\n"));
        let told = run(&["info", text(&file), "--json"]);
        let info: Value = serde_json::from_slice(&told.stdout).expect("one JSON object");
        assert_eq!((&info["name"], &info["request"]["case"]), (&BUNDLE.into(), &"4711".into()));
        assert!(code(&told) == 4 && info["statement"].is_null(), "{}", err(&told));
        let into = folder.path().join(format!("{format:?}"));
        let extracted = run(&["extract", text(&file), "--into", text(&into)]);
        assert_eq!(code(&extracted), 4, "{}", err(&extracted));
        assert!(tree(&into.join(BUNDLE)).len() >= files().len());
    }
}

#[test]
fn a_file_cut_in_the_middle_is_said_to_be_cut() {
    let folder = tempfile::tempdir().expect("folder");
    let file = Plan::default().write(folder.path(), Format::Tar);
    let bytes = fs::read(&file).expect("reads");
    fs::write(&file, &bytes[..100_000]).expect("writes");
    let name = "nodes/web-1/files/var/log/syslog";
    let listed = out(&run(&["list", text(&file)]));
    assert!(listed.lines().last().is_some_and(|line| line.ends_with(&format!("\ttruncated\t{name}"))), "{listed}");
    let cat = run(&["cat", text(&file), name]);
    assert!(code(&cat) == 4 && files()[0].1.starts_with(&cat.stdout) && !cat.stdout.is_empty());
}

#[test]
fn damage_is_exit_code_5_and_says_what_to_do() {
    let folder = tempfile::tempdir().expect("folder");
    let file = Plan::default().write(folder.path(), Format::Tar);
    let mut bytes = fs::read(&file).expect("reads");
    let at = bytes.windows(9).position(|w| w == b"up 3 days").expect("there");
    bytes[at] = b'U';
    fs::write(&file, &bytes).expect("writes");
    let cat = run(&["cat", text(&file), "nodes/web-2/commands/uptime.txt"]);
    assert!(code(&cat) == 5 && err(&cat).contains("sheaf bundle verify"), "{}", err(&cat));
}

/// A bundle whose seal alone is not what its key made.
fn unsealed() -> Vec<u8> {
    let mut bytes = Plan::default().bytes(Format::Tar);
    let statement = bytes.windows(10).rposition(|w| w == b"\\\"verdict\\").expect("there");
    bytes[statement + 2] = b'V';
    bytes
}

#[test]
fn a_bundle_for_which_nobody_vouches_is_shown_and_said_to_be_corrupt() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("b.tar");
    fs::write(&file, unsealed()).expect("writes");
    let into = folder.path().join("into");
    let path = "nodes/web-2/commands/uptime.txt";
    for (arguments, shown) in [
        (vec!["list"], path),
        (vec!["info"], "web-2  2 whole files"),
        (vec!["cat", path], "up 3 days"),
        (vec!["extract", path, "--into", text(&into)], ""),
    ] {
        let [verb, rest @ ..] = arguments.as_slice() else { continue };
        let named = run(&[&[*verb, text(&file)], rest].concat());
        assert_eq!(code(&named), 5, "{verb}: {}", err(&named));
        assert!(err(&named).contains("seal's signature is wrong"), "{verb}: {}", err(&named));
        assert!(out(&named).contains(shown), "{verb}: {}", out(&named));
        fs::remove_dir_all(&into).unwrap_or_default();
        let input = fs::File::open(&file).expect("opens");
        let piped = sheaf(&[&[*verb, "-"], rest].concat()).stdin(input).output().expect("runs");
        // A pipe is read no further than the file that is wanted.
        let expected = if *verb == "cat" { 0 } else { 5 };
        assert_eq!(code(&piped), expected, "{verb}: {}", err(&piped));
        assert!(out(&piped).contains(shown), "{verb}: {}", out(&piped));
    }
    assert!(into.join(BUNDLE).join(path).exists());
}

#[test]
fn an_archive_that_ends_without_a_seal_is_corrupt_to_every_verb() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("b.tar");
    let mut bytes = Plan::default().bytes(Format::Tar);
    let name = format!("{BUNDLE}/SEAL.json");
    let seal = bytes.windows(name.len()).rposition(|w| w == name.as_bytes()).expect("there");
    bytes.truncate(seal / 512 * 512);
    bytes.resize(bytes.len() + 1024, 0);
    fs::write(&file, bytes).expect("writes");
    for verb in ["verify", "list", "info"] {
        let said = run(&[verb, text(&file)]);
        assert_eq!(code(&said), 5, "{verb}: {}", err(&said));
    }
}

#[test]
fn every_verb_counts_the_same_files() {
    let folder = tempfile::tempdir().expect("folder");
    for format in ALL {
        let file = Plan::default().write(folder.path(), format);
        // REQUEST.json and WARNINGS.txt, and the three behind the manifest's rows.
        let all = files().len() as u64 + 5;
        let counted = format!("{all} files");
        let verified = out(&run(&["verify", text(&file)]));
        assert!(verified.contains(&format!(", {counted}, ")), "{verified}");
        let told = out(&run(&["info", text(&file)]));
        let line = told.lines().find(|line| line.starts_with("contents")).expect("a line");
        assert!(
            line.contains(&counted) && line.ends_with(&format!(": {} of nodes, 5 of the bundle itself", files().len()))
        );
        assert_eq!(out(&run(&["list", text(&file)])).lines().count() as u64, all);
        let into = folder.path().join(format!("{format:?}"));
        let done = json(&["extract", text(&file), "--into", text(&into), "--json"]);
        let (verified, told) = (json(&["verify", text(&file), "--json"]), json(&["info", text(&file), "--json"]));
        for counts in [&done, &verified, &told] {
            assert_eq!(counts["files"], all, "{counts}");
        }
        assert_eq!((&done["bytes"], &verified["folders"]), (&told["bytes"], &0.into()));
        assert_eq!(tree(&into.join(BUNDLE)).len() as u64, all);
    }
}

#[test]
fn info_tells_who_asked_and_what_became_of_the_nodes() {
    let folder = tempfile::tempdir().expect("folder");
    let nodes = vec![("web-1", Outcome::Collected), ("web-2", Outcome::Failed)];
    let plan = Plan { nodes, ..Plan::default() };
    let file = plan.write(folder.path(), Format::TarZst);
    let shown = out(&run(&["info", text(&file)]));
    for part in ["admin", "4711", "partial", "1 of 2 collected", "web-2  failed: no answer", "tar.zst"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let info = json(&["info", text(&file), "--json"]);
    assert_eq!(info["key"], plan.key.public().to_string());
    assert_eq!(info["nodes"][1]["outcome"], "failed");
}

#[test]
fn info_says_the_same_of_standard_input() {
    let folder = tempfile::tempdir().expect("folder");
    for format in ALL {
        let nodes = vec![("web-1", Outcome::Collected), ("web-2", Outcome::Failed)];
        let file = Plan { nodes, ..Plan::default() }.write(folder.path(), format);
        let input = || fs::File::open(&file).expect("opens");
        for form in [&["--json"][..], &[]] {
            let piped = sheaf(&["info", "-"]).args(form).stdin(input()).output().expect("runs");
            assert_eq!((code(&piped), err(&piped).as_str()), (0, ""));
            assert_eq!(out(&piped), out(&run(&[&["info", text(&file)], form].concat())), "{format:?}");
        }
        // The seal alone does not do: the manifest must be the one that it names.
        let mut bytes = fs::read(&file).expect("reads");
        if format == Format::Tar {
            let manifest = bytes.windows(11).rposition(|w| w == b"\"no answer\"").expect("there");
            bytes[manifest + 1] = b'N';
            fs::write(&file, &bytes).expect("writes");
            let changed = sheaf(&["info", "-"]).stdin(input()).output().expect("runs");
            assert!(code(&changed) == 5 && err(&changed).contains("manifest.json"), "{}", err(&changed));
        }
    }
}

#[test]
fn what_is_no_bundle_is_said_to_be_none() {
    let folder = tempfile::tempdir().expect("folder");
    let foreign = |name: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o640);
        tar.append_data(&mut header, name, &b"abc"[..]).expect("appended");
        tar.into_inner().expect("finished")
    };
    let packed = zstd::encode_all(&foreign("etc/hostname")[..], 3).expect("packed");
    for (name, bytes) in [("a.tar", foreign("etc/hostname")), ("b.tar", foreign("sheaf-1/x")), ("c.tar.zst", packed)] {
        let file = folder.path().join(name);
        fs::write(&file, bytes).expect("writes");
        let into = folder.path().join("into");
        for arguments in [&["verify"][..], &["list"], &["info"], &["extract", "--into", text(&into)]] {
            let output = run(&[arguments, &[text(&file)]].concat());
            assert_eq!(code(&output), 5, "{name} {arguments:?}: {}", err(&output));
            let said = out(&output) + &err(&output);
            assert!(said.contains("this is no bundle of sheaf: "), "{name} {arguments:?}: {said}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().expect("folder");
    let file = Plan::default().write(folder.path(), Format::TarZst);
    for arguments in [
        vec!["cat", text(&file), "nodes/web-1/files/var/log/syslog"],
        vec!["list", text(&file)],
        vec!["verify", text(&file)],
    ] {
        let mut child = sheaf(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        // Closed before or while it writes: both must be fine.
        drop(child.stdout.take());
        let mut error = String::new();
        child.stderr.take().expect("pipe").read_to_string(&mut error).expect("reads");
        let status = child.wait().expect("ends");
        assert!(status.success() && error.is_empty(), "{arguments:?}: {status} {error}");
    }
}
