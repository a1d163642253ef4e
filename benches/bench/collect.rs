//! A node's own collection, against `tar | zstd -3` over the same files; and one file out of the bundle, against a scan of it by tar.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sheaf::agent::pack::{Packed, Packer, Settings};
use sheaf::agent::redact::{Profile, Redactor};
use sheaf::agent::source::{Content, Record};
use sheaf::bundle::frame::FRAME_RAW;
use sheaf::bundle::path::EntryPath;
use sheaf::floor::Floor;
use sheaf::id::{BundleName, NodeName};
use tokio_util::sync::CancellationToken;

use super::corpus::{self, Corpus};
use super::measure::{Cost, Row, figure, here, pairs, processes};

const SHEAF: &str = env!("CARGO_BIN_EXE_sheaf");
const AGENT: &str = env!("CARGO_BIN_EXE_sheaf-agent");

pub(crate) fn rows(corpus: &Corpus) {
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let bundle = work.path().join("ours.tar.zst");
    let yardstick = work.path().join("yardstick.tar.zst");
    gather(corpus, work.path(), "collection", &["proc", "var"], &bundle, &yardstick);
    extract(&bundle);
    // Without the files that are gzipped already, which we look into and the yardstick does not.
    let plain = ["proc", "var/log/containers", "var/log/nginx", "var/log/journal-export"];
    gather(corpus, work.path(), "collection, no gzipped files", &plain, &bundle, &yardstick);
    // The yardstick takes nothing out, and neither do we: what is left is reading, hashing, packing and compressing.
    bare(corpus, work.path(), "the stages, nothing redacted", &["proc", "var"], &yardstick);
}

/// The agent's stages in this process, without redaction, over all files of some folders.
fn bare(corpus: &Corpus, work: &Path, name: &str, folders: &[&str], yardstick: &Path) {
    let out = work.join("bare.tar.zst");
    let ours = || here(|| pack(corpus, work, folders, &out));
    let pairs = pairs(ours, || tar(corpus, folders, yardstick));
    pairs.row(&processor(&format!("{name}, vs tar | zstd -3")));
}

/// The row of processor time, which has the same gate whatever is collected.
fn processor(name: &str) -> Row<'_> {
    Row { name, unit: "CPU s", of: |cost: &Cost| cost.cpu, gate: 0.60, goal: 0.42 }
}

fn pack(corpus: &Corpus, work: &Path, folders: &[&str], out: &Path) {
    let mut out = File::create(out).expect("a file can be made");
    let node: NodeName = "bench".parse().expect("a name");
    let settings = Settings {
        bundle: BundleName::new("bench", 0),
        node,
        spool: Some(work.to_owned()),
        spool_bytes: u64::MAX,
        floor: Floor::of(0),
        entries: u64::MAX,
        bytes: u64::MAX,
        segment: FRAME_RAW,
        rows: true,
        stop: CancellationToken::new(),
    };
    let sink = |packed: Packed| {
        packed.frames.iter().for_each(|frame| out.write_all(&frame.bytes).expect("the file takes it"));
        ControlFlow::Continue(())
    };
    let mut packer = Packer::new(settings, sink).expect("memory for a compressor");
    let mut redactor = Redactor::new(Profile::None, &[]).expect("no rules");
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| corpus.root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the corpus") {
            let entry = entry.expect("an entry of the corpus");
            if entry.file_type().expect("its type").is_dir() {
                folders.push(entry.path());
                continue;
            }
            let path = entry.path();
            let name = path.strip_prefix(&corpus.root).expect("below it").to_str().expect("a plain name");
            let name = EntryPath::parse(&format!("files/{name}")).expect("a path");
            let content = Box::new(Plain(File::open(&path).expect("opened")));
            packer.add(redactor.clean(Record { content, ..Record::text(name, "bench", Vec::new()) })).expect("packed");
        }
    }
    packer.finish().expect("packed");
}

/// A file as it is.
struct Plain(File);

impl Read for Plain {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Content for Plain {
    fn open(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn again(&self) -> bool {
        false
    }
}

fn tar(corpus: &Corpus, folders: &[&str], out: &Path) -> Cost {
    let mut tar = Command::new("tar");
    tar.arg("c").arg("-C").arg(&corpus.root).args(folders);
    let mut zstd = Command::new("zstd");
    zstd.args(["-3", "-T1", "-q"]);
    let out = File::create(out).expect("a file can be made");
    processes(&mut [tar, zstd], out.into())
}

fn gather(corpus: &Corpus, work: &Path, name: &str, folders: &[&str], bundle: &Path, yardstick: &Path) {
    let config = configure(corpus, work, folders);
    let ours = || {
        let _ = fs::remove_file(bundle);
        let mut command = Command::new(AGENT);
        command
            .args(["collect", "--json", "--since", "all", "--config"])
            .arg(&config)
            .arg("--output")
            .arg(bundle)
            .stderr(Stdio::null());
        processes(&mut [command], Stdio::null())
    };
    let pairs = pairs(ours, || tar(corpus, folders, yardstick));
    pairs.row(&Row {
        name: &format!("{name}, vs tar | zstd -3"),
        unit: "wall s",
        of: |cost: &Cost| cost.wall,
        gate: 0.80,
        goal: 0.55,
    });
    pairs.row(&processor("  same"));
    figure("  peak memory of the agent (MiB)", pairs.ours(|cost| cost.peak), 16.0, 8.0);
    figure(
        "  of it anonymous, the rest being pages of the program (MiB)",
        pairs.ours(|cost| cost.anonymous),
        16.0,
        8.0,
    );
    let size = |path: &Path| fs::metadata(path).map_or(f64::NAN, |meta| meta.len() as f64);
    figure("  size of the output, of the yardstick's", size(bundle) / size(yardstick), 1.0, 0.985);
}

/// A configuration that reads these folders of the corpus and nothing else.
fn configure(corpus: &Corpus, work: &Path, folders: &[&str]) -> PathBuf {
    let collectors = work.join("collectors");
    fs::create_dir_all(&collectors).expect("a folder can be made");
    let list = |end: &str| folders.iter().map(|folder| format!("\"/{folder}{end}\"")).collect::<Vec<_>>().join(", ");
    let collector = format!(
        "name = \"bench\"\nversion = \"1\"\nwhy = \"The corpus.\"\nroots = [{}]\n[[files]]\npaths = [{}]\n",
        list(""),
        list("/**")
    );
    fs::write(collectors.join("bench.toml"), collector).expect("a file can be written");
    let config = work.join("agent.toml");
    // The collectors that are compiled in would read this machine's journal and run commands.
    let text = format!(
        "builtin_collectors = false\nhost_root = {:?}\nstate_dir = {:?}\ncollectors_dirs = [{:?}]\nnode = \"bench\"\n",
        corpus.root,
        work.join("state"),
        collectors
    );
    fs::write(&config, text).expect("a file can be written");
    config
}

/// One file of 1 MiB out of the bundle: ours goes by the seek table, tar reads all of it.
fn extract(bundle: &Path) {
    let listed = Command::new(SHEAF).args(["bundle", "list"]).arg(bundle).output().expect("sheaf runs");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let path = listed.split_whitespace().find(|word| word.ends_with(corpus::ONE)).expect("the file is in the bundle");
    let info = Command::new("tar").arg("tf").arg(bundle).output().expect("tar runs");
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    let whole = info.lines().find(|line| line.ends_with(corpus::ONE)).expect("the file is in the bundle").to_owned();
    let ours = || {
        let mut command = Command::new(SHEAF);
        command.args(["bundle", "cat"]).arg(bundle).arg(path);
        processes(&mut [command], Stdio::null())
    };
    let tar = || {
        let mut command = Command::new("tar");
        command.args(["--zstd", "-xOf"]).arg(bundle).arg(&whole);
        processes(&mut [command], Stdio::null())
    };
    let row = Row {
        name: "1 MiB out of the bundle, vs tar --zstd -xO",
        unit: "wall s",
        of: |cost: &Cost| cost.wall,
        gate: 0.02,
        goal: 0.005,
    };
    pairs(ours, tar).row(&row);
}
