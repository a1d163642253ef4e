//! Tests of the ring file: nothing that a crash, a disk or a clock does costs more than what it touched.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use proptest::prelude::*;
use serde_json::Value;

use super::ring::{Opening, RingFile};
use super::*;
use crate::protocol::history::{Event, Key, Stamp};

const EXTENT: Extent =
    Extent { short: Duration::from_secs(10), short_slots: 5, long: Duration::from_secs(30), long_slots: 4 };

/// The sample that is taken as number `n`, counted from 1.
fn sample(n: u64) -> Sample {
    let stamp = Stamp { at_ms: n as i64 * 10_000, uptime_ms: n * 10_000, span_ms: 10_000, boot: 1, first: false };
    let mut sample = Sample::empty(stamp);
    sample.values[Key::Load as usize] = n as f32;
    sample
}

fn open(path: &Path) -> Recorder {
    Recorder::open(path, EXTENT).expect("opened").0
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    Lines::open(path).expect("a history").read_to_string(&mut text).expect("lines");
    text
}

/// Head and lines.
fn lines(path: &Path) -> (Value, Vec<Value>) {
    let text = text(path);
    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    (lines.next().expect("a head"), lines.collect())
}

/// Loads of the lines, which are the samples' numbers, or averages of them.
fn loads(path: &Path) -> Vec<f64> {
    lines(path).1.iter().map(|line| line["load_1min"].as_f64().expect("a load")).collect()
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = file(folder.path());
    (folder, path)
}

#[test]
fn of_too_many_lines_the_newest_stay() {
    let (_folder, path) = folder();
    let mut recorder = open(&path);
    for n in 1..=40 {
        recorder.take(sample(n)).expect("taken");
    }
    let all = lines(&path).1;
    let kept = |bytes: u64| {
        let mut lines = Lines::open(&path).expect("a history");
        let (cut, most, mut text) = (lines.keep(bytes), lines.probable_bytes(), String::new());
        lines.read_to_string(&mut text).expect("lines");
        assert!(text.len() as u64 <= most.max(8 << 10) && most <= bytes.max(8 << 10), "{} of {bytes}", text.len());
        (cut, text.lines().skip(1).map(|line| serde_json::from_str(line).expect("json")).collect::<Vec<Value>>())
    };
    assert_eq!(kept(1 << 20), (false, all.clone()));
    for most in 0..9 {
        let (cut, some) = kept((8 << 10) + 1500 * most);
        assert!(cut && some.len() as u64 <= most && (most == 0) == some.is_empty());
        assert!(most == 0 || some.last() == all.last(), "{some:?}");
        // What an average stood for may now be there itself.
        let loads: Vec<f64> = some.iter().map(|line| line["load_1min"].as_f64().expect("a load")).collect();
        assert!(loads.is_sorted(), "{loads:?}");
    }
}

#[test]
fn averages_come_first_and_every_time_once() {
    let (_folder, path) = folder();
    let mut recorder = open(&path);
    assert!(matches!(Lines::open(&path), Err(HistoryError::Empty)));
    let size = fs::metadata(&path).expect("stat");
    assert_eq!((size.len(), size.permissions().mode() & 0o777), (4096 + 9 * 512, 0o600));
    for n in 1..=11 {
        recorder.take(sample(n)).expect("taken");
    }
    // The ring of samples holds 7 to 11; 7 is in the average of 7 to 9, which is not wanted.
    assert_eq!(loads(&path), [2.0, 5.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    recorder.take(sample(12)).expect("taken");
    // Of 7 to 9 the first is gone.
    assert_eq!(loads(&path), [2.0, 5.0, 8.0, 10.0, 11.0, 12.0]);
    let (head, all) = lines(&path);
    assert_eq!((head["format"].as_str(), head["damaged_records"].as_u64()), (Some("sheaf-history/1"), Some(0)));
    assert_eq!(all[1]["load_1min_max"], 6.0);
    assert_eq!(all[1]["interval_seconds"], 30.0);
    assert!(all[4].get("load_1min_max").is_none() && all[4]["interval_seconds"] == 10.0);
    for (line, word) in all.iter().flat_map(|line| line.as_object().expect("an object").keys().map(move |k| (line, k)))
    {
        assert!(head["fields"].get(word).is_some(), "{word} of {line} is not explained");
    }
    for n in 13..=40 {
        recorder.take(sample(n)).expect("taken");
    }
    assert_eq!(loads(&path), [29.0, 32.0, 35.0, 37.0, 38.0, 39.0, 40.0]);
    assert_eq!(fs::metadata(&path).expect("stat").len(), 4096 + 9 * 512, "it never grows");
}

#[test]
fn a_restart_goes_on_and_is_seen() {
    let (_folder, path) = folder();
    let mut recorder = open(&path);
    for n in 1..=4 {
        recorder.take(sample(n)).expect("taken");
    }
    assert!(matches!(Recorder::open(&path, EXTENT), Err(HistoryError::Taken)), "one writer at a time");
    drop(recorder);
    let (mut recorder, opening) = Recorder::open(&path, EXTENT).expect("opened");
    assert_eq!(opening, Opening::Continued);
    let mut next = sample(100);
    next.stamp.first = true;
    recorder.take(next).expect("taken");
    let (_, all) = lines(&path);
    let last = all.last().expect("lines");
    assert_eq!((last["event"].as_str(), last["gap_seconds"].as_f64()), (Some("agent_start"), Some(950.0)));
    recorder.finish().expect("finished");
    drop(recorder);
    let mut recorder = open(&path);
    let mut booted = sample(101);
    (booted.stamp.boot, booted.stamp.first, booted.stamp.uptime_ms) = (2, true, 25_000);
    recorder.take(booted).expect("taken");
    assert_eq!(lines(&path).1.last().expect("lines")["event"], "reboot");
}

#[test]
fn a_clock_that_jumps_is_seen_and_loses_nothing() {
    let (_folder, path) = folder();
    let mut recorder = open(&path);
    for (n, jump) in [(1, 0), (2, 86_400_000), (3, 86_400_000), (4, -7_200_000), (5, -7_200_000)] {
        let mut sample = sample(n);
        sample.stamp.at_ms += jump;
        recorder.take(sample).expect("taken");
    }
    let (_, all) = lines(&path);
    assert_eq!(loads(&path), [1.0, 2.0, 3.0, 4.0, 5.0]);
    let set: Vec<Option<f64>> = all.iter().map(|line| line["clock_set_seconds"].as_f64()).collect();
    assert_eq!(set, [None, Some(86_400.0), None, Some(-93_600.0), None]);
    assert!(all.iter().all(|line| line.get("gap_seconds").is_none()), "no time is missing");
    let answer = answer(&path, Duration::from_secs(3600), 10).expect("an answer");
    let marks: Vec<_> = answer.marks.iter().map(|mark| (mark.event, mark.by_ms, mark.ago_ms)).collect();
    assert_eq!(marks, [(Event::ClockSet, Some(86_400_000), 30_000), (Event::ClockSet, Some(-93_600_000), 10_000)]);
    assert_eq!(answer.points.iter().map(|point| point.ago_ms).collect::<Vec<_>>(), [40_000, 30_000, 20_000, 10_000, 0]);
}

#[test]
fn what_is_damaged_at_its_start_is_set_aside() {
    let (_folder, path) = folder();
    open(&path).take(sample(1)).expect("taken");
    for (damage, why) in
        [(b"x".as_slice(), "no history of this format"), (b"sheaf-history/1\nxxxx", "damaged at its start")]
    {
        OpenOptions::new().write(true).open(&path).expect("opened").write_all_at(damage, 0).expect("written");
        let before = fs::read(&path).expect("read");
        assert!(matches!(Lines::open(&path), Err(HistoryError::Damaged(found)) if found == why));
        let (mut recorder, opening) = Recorder::open(&path, EXTENT).expect("opened");
        let Opening::BegunAnew(found, aside) = opening else { panic!("{opening:?}") };
        assert_eq!((found, fs::read(&aside).expect("kept")), (why, before));
        recorder.take(sample(2)).expect("taken");
        assert_eq!(loads(&path), [2.0]);
    }
    for length in [0, 63] {
        fs::write(&path, vec![0; length]).expect("written");
        let (_, opening) = Recorder::open(&path, EXTENT).expect("opened");
        assert!(matches!(opening, Opening::BegunAnew("too short", _)), "{opening:?}");
    }
    let (_, opening) = Recorder::open(&path, Extent { long_slots: 5, ..EXTENT }).expect("opened");
    assert!(matches!(opening, Opening::BegunAnew("of another extent", _)), "{opening:?}");
    let aside = fs::read_dir(path.parent().expect("a folder")).expect("a folder").count();
    assert_eq!(aside, 2, "the file and one that was set aside");
}

#[test]
fn what_is_no_file_is_not_followed() {
    let (folder, path) = folder();
    let target = folder.path().join("target");
    fs::write(&target, "precious").expect("written");
    std::os::unix::fs::symlink(&target, &path).expect("a link");
    assert!(matches!(Recorder::open(&path, EXTENT), Err(HistoryError::Io { .. })));
    assert!(Lines::open(&path).is_err());
    assert_eq!(fs::read(&target).expect("read"), b"precious");
    let absent = folder.path().join("no/such/folder/history.ring");
    assert!(matches!(Lines::open(&absent), Err(HistoryError::Absent)));
    assert!(matches!(Recorder::open(&absent, EXTENT), Err(HistoryError::Io { .. })));
}

#[test]
fn a_reader_takes_what_it_saw_when_it_began() {
    let (_folder, path) = folder();
    let mut recorder = open(&path);
    for n in 1..=5 {
        recorder.take(sample(n)).expect("taken");
    }
    let mut open = Lines::open(&path).expect("a history");
    for n in 6..=7 {
        recorder.take(sample(n)).expect("taken");
    }
    let mut text = String::new();
    open.read_to_string(&mut text).expect("lines");
    let loads: Vec<Value> = text.lines().skip(1).map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let loads: Vec<f64> = loads.iter().map(|line: &Value| line["load_1min"].as_f64().expect("a load")).collect();
    assert_eq!(loads, [3.0, 4.0, 5.0], "1 and 2 were overwritten meanwhile");
}

/// What may befall the file.
#[derive(Clone, Debug)]
enum Fate {
    /// So many samples are taken.
    Take(u8),
    /// The agent is killed and started again.
    Restart,
    /// The file is cut at this part of its length.
    Cut(f64),
    /// A bit behind the first page turns over.
    Flip(f64, u8),
    /// The last write to this slot never reached the disk.
    Lose(u8),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => (1..9_u8).prop_map(Fate::Take),
        2 => Just(Fate::Restart),
        1 => (0.0..1.0).prop_map(Fate::Cut),
        1 => ((0.0..1.0), 0..8_u8).prop_map(|(at, bit)| Fate::Flip(at, bit)),
        1 => (0..9_u8).prop_map(Fate::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_what_is_read_was_written_and_in_order(fates in prop::collection::vec(fate(), 1..24)) {
        let (_folder, path) = folder();
        let mut recorder = Some(open(&path));
        let (mut taken, mut harmed) = (0, false);
        // What each slot held before its last write.
        let mut before: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for fate in fates {
            let bytes = fs::read(&path).expect("read");
            match fate {
                Fate::Take(count) => for _ in 0..count {
                    taken += 1;
                    let old = fs::read(&path).expect("read");
                    recorder.as_mut().expect("open").take(sample(taken)).expect("taken");
                    let new = fs::read(&path).expect("read");
                    for (slot, (was, is)) in old[4096..].chunks(512).zip(new[4096..].chunks(512)).enumerate() {
                        if was != is {
                            before.insert(slot as u64, was.to_vec());
                        }
                    }
                },
                Fate::Restart => {}
                Fate::Cut(part) => {
                    harmed = true;
                    let length = 4096 + ((bytes.len() - 4096) as f64 * part) as usize;
                    fs::write(&path, &bytes[..length]).expect("cut");
                }
                Fate::Flip(part, bit) => {
                    harmed = true;
                    let mut bytes = bytes;
                    let at = 4096 + ((bytes.len() - 4096) as f64 * part) as usize;
                    bytes[at] ^= 1 << bit;
                    fs::write(&path, bytes).expect("flipped");
                }
                Fate::Lose(slot) => if let Some(was) = before.get(&slot.into()) {
                    harmed = true;
                    let file = OpenOptions::new().write(true).open(&path).expect("opened");
                    file.write_all_at(was, 4096 + u64::from(slot) * 512).expect("lost");
                }
            }
            // Each harm comes with a crash.
            if !matches!(fate, Fate::Take(_)) {
                drop(recorder.take());
                recorder = Some(open(&path));
            }
            let size = fs::metadata(&path).expect("stat").len();
            prop_assert_eq!(size, EXTENT.bytes());
            if taken == 0 || (harmed && matches!(Lines::open(&path), Err(HistoryError::Empty))) {
                continue;
            }
            let (_, all) = lines(&path);
            // Single samples have their own number; averages lie between their samples'.
            let loads = loads(&path);
            prop_assert!(loads.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", loads);
            for (line, load) in all.iter().zip(&loads) {
                prop_assert!(*load >= 1.0 && *load <= taken as f64);
                if line["interval_seconds"] == 10.0 {
                    prop_assert_eq!(line["uptime_seconds"].as_f64(), Some(load * 10.0));
                }
            }
            if !harmed {
                // Up to two of the five are in an average that is not over yet for all.
                let whole: Vec<f64> = (1..=taken).rev().take(3).map(|n| n as f64).collect();
                let last: Vec<f64> = loads.iter().rev().take(whole.len()).copied().collect();
                prop_assert_eq!(last, whole);
            }
            prop_assert!(answer(&path, Duration::from_secs(100_000), 50).is_ok());
        }
    }
}

#[test]
fn a_file_of_any_bytes_is_no_panic() {
    let (_folder, path) = folder();
    drop(open(&path));
    let whole = fs::read(&path).expect("read");
    let mut state = 7_u64;
    for round in 0..200 {
        let mut bytes = whole.clone();
        for byte in &mut bytes[if round % 2 == 0 { 16 } else { 4096 }..] {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        fs::write(&path, &bytes).expect("written");
        match RingFile::open(&path) {
            Err(error) => assert!(matches!(error, HistoryError::Damaged(_)), "{error}"),
            Ok(_) => assert!(matches!(Lines::open(&path), Err(HistoryError::Empty))),
        }
    }
}
