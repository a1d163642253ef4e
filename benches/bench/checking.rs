//! The coordinator's check of segments, against decompressing and compressing again.

use std::fs;
use std::hint::black_box;
use std::ops::ControlFlow;

use bytes::Bytes;
use sheaf::agent::pack::{Packed, Packer, Settings};
use sheaf::agent::redact::{Profile, Redactor};
use sheaf::agent::source::Record;
use sheaf::bundle::check::{Budget, Checker};
use sheaf::bundle::path::EntryPath;
use sheaf::id::{BundleName, NodeName};
use sheaf::limits::SEGMENT_RAW;
use tokio_util::sync::CancellationToken;

use super::corpus::Corpus;
use super::measure::{Cost, Row, here, pairs};

/// Bytes of raw text that are packed for it.
const RAW: usize = 256 << 20;

pub(crate) fn rows(corpus: &Corpus) {
    let bundle = BundleName::new("bench", 0);
    let node: NodeName = "bench".parse().expect("is a name");
    let (segments, raw) = segments(corpus, &bundle, &node);
    let ours = || {
        here(|| {
            let mut checker = Checker::new(&bundle, &node, Budget::default());
            for (frames, boundary) in &segments {
                black_box(checker.check(frames, *boundary).expect("what was packed is legal"));
            }
        })
    };
    let recompress = |level: i32| {
        let mut plain = vec![0; 8 << 20];
        let mut packed = vec![0; zstd::zstd_safe::compress_bound(8 << 20)];
        let mut decompressor = zstd::bulk::Decompressor::new().expect("memory is there");
        let mut compressor = zstd::bulk::Compressor::new(level).expect("memory is there");
        let segments = &segments;
        move || {
            here(|| {
                for (frames, _) in segments {
                    let count = decompressor.decompress_to_buffer(frames, &mut plain).expect("frames decompress");
                    black_box(compressor.compress_to_buffer(&plain[..count], &mut packed).expect("memory is there"));
                }
            })
        }
    };
    let gigabytes = raw as f64 / f64::from(1 << 30);
    let row = Row {
        name: "check of segments, vs zstd -3 again",
        unit: "CPU s",
        of: |cost: &Cost| cost.cpu,
        gate: 0.25,
        goal: 0.15,
    };
    println!("({gigabytes:.2} GiB of tar in {} segments)", segments.len());
    pairs(ours, recompress(3)).row(&row);
}

/// The corpus's plain logs, as an agent packs them.
fn segments(corpus: &Corpus, bundle: &BundleName, node: &NodeName) -> (Vec<(Bytes, bool)>, u64) {
    let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("the built-in rules are usable");
    let (mut segments, mut raw) = (Vec::new(), 0);
    let spool = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let settings = Settings {
        bundle: bundle.clone(),
        node: node.clone(),
        spool: Some(spool.path().to_owned()),
        spool_bytes: 1 << 30,
        floor: Default::default(),
        entries: 1 << 20,
        bytes: 1 << 40,
        segment: SEGMENT_RAW,
        rows: false,
        stop: CancellationToken::new(),
    };
    let sink = |packed: Packed| {
        raw += packed.raw;
        segments.push((
            packed.frames.iter().map(|frame| frame.bytes.as_ref()).collect::<Vec<_>>().concat().into(),
            packed.boundary,
        ));
        ControlFlow::Continue(())
    };
    let mut packer = Packer::new(settings, sink).expect("memory is there");
    let mut taken = 0;
    for folder in ["var/log/nginx", "var/log/containers", "var/log/journal-export", "proc/0", "proc/1"] {
        for entry in fs::read_dir(corpus.root.join(folder)).into_iter().flatten().flatten() {
            let bytes = fs::read(entry.path()).expect("the corpus can be read");
            taken += bytes.len();
            if taken > RAW {
                break;
            }
            let path = format!("files/{folder}/{}", entry.file_name().to_string_lossy());
            let path = EntryPath::parse(&path).expect("is a path");
            packer.add(redactor.clean(Record::text(path, "bench", bytes))).expect("is packed");
        }
    }
    packer.finish().expect("is packed");
    (segments, raw)
}
