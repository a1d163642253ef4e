//! Compressed siblings: looked through inside, passed on as they are or redacted in their own format, or withheld.

use std::io::Write as _;
use std::sync::Mutex;

use super::*;

const LOG: &str = "May  1 10:00:00 host app[1]: nothing to see here, move along\n";
const KINDS: [Kind; 3] = [Kind::Gzip, Kind::Xz, Kind::Zstd];

fn pack(kind: Kind, plain: &[u8]) -> Vec<u8> {
    match kind {
        Kind::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(plain).and_then(|()| encoder.finish()).expect("compresses")
        }
        Kind::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
            encoder.write_all(plain).and_then(|()| encoder.finish()).expect("compresses")
        }
        _ => zstd::encode_all(plain, 3).expect("compresses"),
    }
}

fn unpack(kind: Kind, packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match kind {
        Kind::Gzip => flate2::bufread::MultiGzDecoder::new(packed).read_to_end(&mut plain),
        Kind::Xz => liblzma::bufread::XzDecoder::new_multi_decoder(packed).read_to_end(&mut plain),
        _ => zstd::stream::copy_decode(packed, &mut plain).map(|()| 0),
    }
    .expect("decompresses");
    plain
}

/// A content that can be read once, as a command's output.
struct Once(io::Cursor<Vec<u8>>);

impl Read for Once {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Content for Once {
    fn open(&mut self) -> io::Result<()> {
        if self.0.position() == 0 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    fn again(&self) -> bool {
        false
    }
}

fn once(kind: Kind, bytes: Vec<u8>) -> (Vec<u8>, CleanReport) {
    let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("builds");
    read_all(redactor.clean(record(kind, Box::new(Once(io::Cursor::new(bytes))))))
}

#[test]
fn what_has_no_secret_passes_as_it_is() {
    for kind in KINDS {
        let packed = pack(kind, LOG.repeat(20_000).as_bytes());
        let (out, report) = cleaned(kind, &packed);
        assert!(out == packed, "{kind:?}");
        assert_eq!(report, CleanReport::default());
    }
}

#[test]
fn what_has_a_secret_is_redacted_in_its_own_format() {
    for kind in KINDS {
        let plain = format!("{}password=hunter2\n{}", LOG.repeat(20_000), LOG.repeat(20_000));
        let packed = pack(kind, plain.as_bytes());
        for (out, report) in [cleaned(kind, &packed), once(kind, packed)] {
            assert_eq!(text(&unpack(kind, &out)), plain.replace("hunter2", "[redacted:password]"), "{kind:?}");
            assert_eq!(report.redacted["password"], 1);
            assert_eq!(failed(&report), ("", Outcome::Collected));
        }
    }
}

#[test]
fn members_and_frames_one_after_the_other_are_one_file() {
    for kind in KINDS {
        let clean = [pack(kind, b"one\n"), pack(kind, b""), pack(kind, b"two\n")].concat();
        assert!(cleaned(kind, &clean).0 == clean, "{kind:?}");
        let secret = [pack(kind, b"one\n"), pack(kind, b"token=abcdef99\n")].concat();
        let (out, _) = cleaned(kind, &secret);
        assert_eq!(text(&unpack(kind, &out)), "one\ntoken=[redacted:token]\n");
    }
}

#[test]
fn a_secret_across_two_members_is_found() {
    for kind in KINDS {
        let packed = [pack(kind, b"pass"), pack(kind, b"word=hun"), pack(kind, b"ter2\n")].concat();
        assert_eq!(text(&unpack(kind, &cleaned(kind, &packed).0)), "password=[redacted:password]\n");
    }
}

#[test]
fn what_is_broken_is_withheld() {
    for kind in KINDS {
        let packed = pack(kind, format!("{}password=hunter2\n", LOG.repeat(2000)).as_bytes());
        let mut flipped = packed.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x55;
        let trailing = [packed.clone(), b"password=hunter2 behind the end\n".repeat(4)].concat();
        for broken in [packed[..packed.len() - 9].to_vec(), packed[..12].to_vec(), flipped, trailing, vec![0x1f; 64]] {
            let (out, report) = cleaned(kind, &broken);
            assert!(out.is_empty(), "{kind:?}");
            assert!(report.reason.starts_with("withheld: cannot be read inside: "), "{kind:?}: {}", report.reason);
            assert_eq!(report.outcome, Outcome::Failed);
        }
    }
}

/// Noise, with a secret in its first line.
fn noise() -> String {
    let mut noise = "password=hunter2\n".to_owned();
    let mut state = 1_u64;
    while noise.len() < 4 << 20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("line {state:x}\n"));
    }
    noise
}

/// The look ends at the first secret; what was redacted from there on goes, up to the fault.
#[test]
fn what_breaks_behind_a_secret_is_cut() {
    for kind in KINDS {
        let mut packed = pack(kind, noise().as_bytes());
        packed.truncate(packed.len() - packed.len() / 4);
        let (out, report) = cleaned(kind, &packed);
        let plain = text(&unpack(kind, &out));
        assert!(plain.len() > 1 << 20 && plain.starts_with("password=[redacted:password]\nline "), "{kind:?}");
        assert_eq!((report.outcome, report.withheld), (Outcome::Truncated, true));
        assert!(report.reason.starts_with("withheld: cannot be read inside"), "{}", report.reason);
    }
}

/// Without a second reading, what was redacted before the fault has gone already; nothing else goes.
#[test]
fn what_breaks_in_the_middle_of_its_only_reading_is_cut() {
    let mut noise = String::new();
    let mut state = 1_u64;
    while noise.len() < 4 << 20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("line {state:x} password=hunter2\n"));
    }
    for kind in KINDS {
        let mut packed = pack(kind, noise.as_bytes());
        packed.truncate(packed.len() - packed.len() / 4);
        let (out, report) = once(kind, packed);
        let plain = text(&unpack(kind, &out));
        assert!(plain.len() > 1 << 20 && !plain.contains("hunter2"), "{kind:?}");
        assert_eq!(report.outcome, Outcome::Truncated);
        assert!(report.reason.starts_with("withheld: cannot be read inside"), "{}", report.reason);
    }
}

#[test]
fn what_cannot_be_redacted_inside_is_withheld() {
    let mut tar = vec![b'x'; 2048];
    tar[257..262].copy_from_slice(b"ustar");
    let utf16: Vec<u8> = "password=hunter2".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for kind in KINDS {
        for (inside, what) in [
            (pack(Kind::Gzip, b"password=hunter2"), "a compressed file"),
            (pack(Kind::Zstd, b"password=hunter2"), "a compressed file"),
            (tar.clone(), "a tar archive"),
            (b"\x7fELF\x02\x01\x01password=hunter2".to_vec(), "a program or a core dump"),
            (b"LPKSHHRH and more".to_vec(), "a binary journal"),
            (utf16.clone(), "UTF-16 text"),
            ((0..=255).cycle().take(4096).collect(), "binary data"),
        ] {
            for (out, report) in [cleaned(kind, &pack(kind, &inside)), once(kind, pack(kind, &inside))] {
                assert!(out.is_empty());
                assert_eq!(failed(&report), (format!("withheld: {what} inside").as_str(), Outcome::Failed));
            }
        }
    }
}

#[test]
fn a_bomb_is_withheld() {
    let bomb = pack(Kind::Zstd, &vec![b'a'; 80 << 20]);
    assert!(bomb.len() < 64 << 10);
    for (out, report) in [cleaned(Kind::Zstd, &bomb), once(Kind::Zstd, bomb)] {
        assert!(!text(&out).contains('\n'));
        assert!(report.reason.contains("expands more than a thousandfold"), "{}", report.reason);
    }
}

#[test]
fn a_window_beyond_the_memory_for_it_is_withheld() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("starts");
    encoder.window_log(27).and_then(|()| encoder.write_all(LOG.as_bytes())).expect("takes bytes");
    let packed = encoder.finish().expect("finishes");
    let (out, report) = cleaned(Kind::Zstd, &packed);
    assert!(out.is_empty() && report.reason.starts_with("withheld: cannot be read inside"), "{}", report.reason);
}

#[test]
fn a_second_reading_gives_the_same() {
    let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("builds");
    for kind in KINDS.into_iter().chain([Kind::Text]) {
        for plain in ["nothing\n".repeat(100_000), "password=hunter2\n".repeat(50_000)] {
            let bytes = if kind == Kind::Text { plain.into_bytes() } else { pack(kind, plain.as_bytes()) };
            let mut clean = redactor.clean(record(kind, Box::new(io::Cursor::new(bytes))));
            let (mut first, mut second) = (Vec::new(), Vec::new());
            clean.read_to_end(&mut first).expect("never errs");
            clean.rewind().expect("is in memory");
            let mut some = [0; 10];
            assert!(clean.read(&mut some).expect("never errs") > 0);
            clean.rewind().expect("also in the middle");
            clean.read_to_end(&mut second).expect("never errs");
            assert!(first == second, "{kind:?}");
            assert_eq!(clean.finish().outcome, Outcome::Collected);
        }
    }
}

/// A content that is another one each time it is opened.
struct Changing {
    versions: Mutex<Vec<Vec<u8>>>,
    now: io::Cursor<Vec<u8>>,
}

impl Read for Changing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.now.read(out)
    }
}

impl Content for Changing {
    fn open(&mut self) -> io::Result<()> {
        let version = self.versions.lock().expect("is not poisoned").pop().expect("has another version");
        self.now = io::Cursor::new(version);
        Ok(())
    }

    fn again(&self) -> bool {
        true
    }
}

#[test]
fn what_changes_after_the_look_is_withheld() {
    for kind in KINDS {
        let looked_at = pack(kind, LOG.repeat(10).as_bytes());
        let then = pack(kind, b"password=hunter2\n");
        let longer = [looked_at.clone(), then.clone()].concat();
        let cut = looked_at[..looked_at.len() / 2].to_vec();
        for second in [then, longer, cut] {
            let versions = Mutex::new(vec![second, looked_at.clone()]);
            let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("builds");
            let content = Changing { versions, now: io::Cursor::default() };
            let (out, report) = read_all(redactor.clean(record(kind, Box::new(content))));
            assert!(out.is_empty(), "{kind:?}");
            assert_eq!(failed(&report), ("withheld: changed between two readings", Outcome::Failed));
        }
    }
}

/// What is left of a packed log for a window that begins at ten o'clock, and perhaps ends at half past.
fn windowed(kind: Kind, plain: &[u8], until: bool, name: Option<Kind>) -> (Vec<u8>, CleanReport) {
    let ten: i64 = 1_777_629_600_000;
    let window = crate::window::Window { since: Some(ten), until: until.then_some(ten + 30 * 60_000) };
    let lenses = crate::agent::source::slice::Lenses::new(window, jiff::tz::TimeZone::UTC);
    let lens = lenses.lens(i128::from(ten + 3_600_000) * 1_000_000);
    let content = Box::new(io::Cursor::new(pack(kind, plain)));
    let record = Record { lens: Some(lens), ..record(name.unwrap_or(kind), content) };
    let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("builds");
    read_all(redactor.clean(record))
}

/// A line a minute, from nine to eleven on the first of May 2026.
fn morning() -> Vec<String> {
    (0..120).map(|n| format!("May  1 {:02}:{:02}:00 host app[1]: line {n}\n", 9 + n / 60, n % 60)).collect()
}

#[test]
fn lines_outside_of_the_window_are_left_out_inside() {
    let lines = morning();
    for kind in KINDS {
        let (out, report) = windowed(kind, lines.concat().as_bytes(), true, None);
        assert_eq!(text(&unpack(kind, &out)), lines[60..=90].concat(), "{kind:?}");
        assert_eq!(failed(&report), ("", Outcome::Collected));
        let slice = report.window.expect("a slice");
        assert_eq!(slice.from, lines[..60].concat().len() as u64);
        assert_eq!(slice.left_out, (lines.concat().len() - lines[60..=90].concat().len()) as u64);
        // A secret that is left out is none that was redacted.
        let mut secret = morning();
        for at in [10, 70] {
            secret[at] = secret[at].replace('\n', " password=hunter2!x\n");
        }
        let (out, report) = windowed(kind, secret.concat().as_bytes(), false, None);
        let plain = text(&unpack(kind, &out));
        assert!(!plain.contains("hunter2") && plain.starts_with("May  1 10:00:00"), "{plain}");
        assert_eq!(report.redacted.values().sum::<u64>(), 1);
    }
}

#[test]
fn a_packed_log_that_lies_in_the_window_passes_as_it_is() {
    for kind in KINDS {
        let plain = morning()[60..].concat();
        let (out, report) = windowed(kind, plain.as_bytes(), false, None);
        assert!(out == pack(kind, plain.as_bytes()), "{kind:?}");
        let slice = report.window.expect("a slice");
        assert_eq!((slice.from, slice.left_out), (0, 0));
    }
}

#[test]
fn a_packed_log_of_another_time_is_skipped() {
    for kind in KINDS {
        for (plain, until) in [(morning()[..60].concat(), false), (morning()[100..].concat(), true)] {
            let (out, report) = windowed(kind, plain.as_bytes(), until, None);
            assert_eq!((out.len(), failed(&report)), (0, ("no line of it is in the window", Outcome::Skipped)));
        }
    }
}

#[test]
fn a_window_hides_nothing_that_must_be_withheld() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    tar.extend_from_slice(morning().concat().as_bytes());
    for kind in KINDS {
        let (out, report) = windowed(kind, &tar, true, None);
        assert_eq!((out.len(), failed(&report)), (0, ("withheld: a tar archive inside", Outcome::Failed)), "{kind:?}");
        let mut packed = pack(kind, morning().concat().as_bytes());
        packed.truncate(packed.len() / 2);
        let (out, report) = cleaned(kind, &packed);
        assert_eq!((out.len(), report.outcome), (0, Outcome::Failed));
    }
    // What is not what it says it is.
    let (out, report) = windowed(Kind::Gzip, b"x", true, Some(Kind::Xz));
    assert_eq!((out.len(), report.outcome), (0, Outcome::Failed));
}

/// A member of gzip with a name and a comment in its header.
fn with_head(name: &str, comment: &str, plain: &[u8]) -> Vec<u8> {
    let head = flate2::GzBuilder::new().filename(name).comment(comment);
    let mut encoder = head.write(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("compresses")
}

#[test]
fn headers_of_gzip_are_looked_through_too() {
    let plain = LOG.repeat(100);
    let ordinary = with_head("syslog.1", "rotated", plain.as_bytes());
    let (out, report) = cleaned(Kind::Gzip, &ordinary);
    assert_eq!((out, report.redacted.len()), (ordinary.clone(), 0), "an ordinary name stays, byte by byte");
    let odd = [
        with_head("syslog.1", "password=hunter2", plain.as_bytes()),
        with_head("token=abc123def", "", plain.as_bytes()),
        [ordinary.clone(), with_head("x", "password=hunter2", b"")].concat(),
        [ordinary, with_head("x", "password=hunter2", plain.as_bytes())].concat(),
    ];
    for packed in odd {
        let (out, report) = cleaned(Kind::Gzip, &packed);
        assert_eq!(report.redacted.values().sum::<u64>(), 1, "{report:?}");
        assert!(unpack(Kind::Gzip, &out) == unpack(Kind::Gzip, &packed), "the content is the same");
        let has = |text: &[u8]| memchr::memmem::find(&out, text).is_some();
        assert!(!has(b"hunter2") && !has(b"abc123def"), "what was in the header is gone");
    }
}

#[test]
fn frames_of_zstd_that_give_no_content_do_not_pass() {
    let plain = LOG.repeat(100);
    let frame = pack(Kind::Zstd, plain.as_bytes());
    let note = b"password=hunter2";
    let mut skippable = 0x184D_2A50_u32.to_le_bytes().to_vec();
    skippable.extend_from_slice(&u32::try_from(note.len()).expect("small").to_le_bytes());
    skippable.extend_from_slice(note);
    for parts in [[&frame, &skippable, &frame], [&skippable, &frame, &frame], [&frame, &frame, &skippable]] {
        let packed = parts.into_iter().flatten().copied().collect::<Vec<_>>();
        let (out, report) = cleaned(Kind::Zstd, &packed);
        assert_eq!(report.outcome, Outcome::Collected, "{}", report.reason);
        assert!(memchr::memmem::find(&out, note).is_none());
        assert_eq!(unpack(Kind::Zstd, &out), plain.repeat(2).into_bytes());
    }
    let (out, _) = cleaned(Kind::Zstd, &[frame.clone(), frame.clone()].concat());
    assert_eq!(out, [frame.clone(), frame].concat(), "frames with content pass as they are");
}
