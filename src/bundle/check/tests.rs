//! One test for each rule, and what a fault must leave as it was.

use super::*;
use crate::bundle::entry::{BLOCK, EntryHead};
use crate::bundle::fixture::{BUNDLE, bundle, checker, entry, frames, node, path};
use crate::bundle::frame::Compressor;
use crate::bundle::path::PathError;

const MIB: usize = 1 << 20;

/// The fault of a segment that holds this tar and says that it ends between entries.
fn fault(tar: &[u8]) -> Fault {
    checker("a").check(&frames(tar), true).expect_err("must be refused")
}

/// An entry whose header is changed by hand; its checksum is set right again.
fn forged(change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let head = EntryHead { path: path(&format!("{BUNDLE}/nodes/a/x")), size: 0, mode: 0o644, mtime_ns: 0 };
    let mut header = tar::Header::from_byte_slice(&head.encode()).clone();
    change(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn named(name: &str) -> Vec<u8> {
    forged(|header| {
        let field = &mut header.as_mut_bytes()[..100];
        field.fill(0);
        field[..name.len()].copy_from_slice(name.as_bytes());
    })
}

/// A pax header with this record, before an entry that is legal.
fn pax(record: &str) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..14].copy_from_slice(b"././@PaxHeader");
    header.as_mut_bytes()[156] = b'x';
    for set in [tar::Header::set_uid, tar::Header::set_gid] {
        set(&mut header, 0);
    }
    header.set_mode(0o644);
    header.set_size(record.len() as u64);
    header.set_device_major(0).and_then(|()| header.set_device_minor(0)).expect("ustar");
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.extend_from_slice(record.as_bytes());
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    tar.extend_from_slice(&forged(|_| {}));
    tar
}

#[test]
fn whole_entries_pass_and_are_digested() {
    let tar = [entry("a", "files/x", b"one"), entry("a", "y", &[7; 3 * MIB])].concat();
    let piece = checker("a").keep_raw(true).check(&frames(&tar), true).expect("legal");
    assert_eq!(piece.raw.as_deref(), Some(tar.as_slice()));
    let rows: Vec<_> = piece.rows.iter().map(|row| (row.path.as_str(), row.size, row.content)).collect();
    let large = blake3::hash(&vec![7; 3 * MIB]);
    assert_eq!(rows, [("nodes/a/files/x", 3, blake3::hash(b"one")), ("nodes/a/y", 3 * MIB as u64, large)]);
    assert_eq!([piece.rows[0].head.as_slice(), b"one"].concat(), tar[..piece.rows[0].head.len() + 3]);
}

#[test]
fn other_folders_are_refused() {
    for name in ["nodes/b/x", "x", "nodes/a", "nodes/ab/x"] {
        assert_eq!(fault(&named(&format!("{BUNDLE}/{name}"))), Fault::Outside, "{name}");
    }
    assert_eq!(fault(&named("other/nodes/a/x")), Fault::Outside);
}

#[test]
fn paths_that_lead_outside_are_refused() {
    let inside = format!("{BUNDLE}/nodes/a");
    for (name, why) in [
        (format!("{inside}/../b/x"), PathError::Component),
        (format!("{inside}/./x"), PathError::Component),
        (format!("{inside}//x"), PathError::Component),
        ("/etc/passwd".to_owned(), PathError::Absolute),
        (format!("{inside}/x\n"), PathError::Character),
        (format!("{inside}/x\\y"), PathError::Character),
        (String::new(), PathError::Empty),
    ] {
        assert_eq!(fault(&named(&name)), Fault::Entry(EntryError::Path(why)), "{name:?}");
    }
    let long = format!("{inside}/{}", "x".repeat(300));
    let record = format!(" path={long}\n");
    let record = format!("{}{record}", record.len() + 3);
    assert_eq!(fault(&pax(&record)), Fault::Entry(EntryError::Path(PathError::TooLong)));
}

#[test]
fn links_devices_and_foreign_types_are_refused() {
    // Hard and symbolic link, devices, FIFO, contiguous, GNU long name, sparse, old dump, pax global, old regular.
    for kind in *b"123467LKSDg\0" {
        let tar = forged(|header| header.as_mut_bytes()[156] = kind);
        assert_eq!(fault(&tar), Fault::Entry(EntryError::Kind(kind)), "{}", char::from(kind));
    }
    // Two pax headers in a row.
    let twice = [&pax("12 size=100\n")[..2 * BLOCK], &pax("12 size=100\n")].concat();
    assert_eq!(fault(&twice), Fault::Entry(EntryError::Kind(b'x')));
}

#[test]
fn modes_beyond_the_four_are_refused() {
    for mode in [0o4644, 0o2644, 0o1644, 0o755, 0o700, 0o666, 0o777, 0] {
        assert_eq!(fault(&forged(|h| h.set_mode(mode))), Fault::Entry(EntryError::Mode(mode)), "{mode:o}");
    }
    assert!(checker("a").check(&frames(&forged(|h| h.set_mode(0o600))), true).is_ok());
}

#[test]
fn owners_are_refused() {
    let owner = Fault::Entry(EntryError::Owner);
    assert_eq!(fault(&forged(|h| h.set_uid(1000))), owner);
    assert_eq!(fault(&forged(|h| h.set_gid(1))), owner);
    assert_eq!(fault(&forged(|h| h.set_username("root").expect("set"))), owner);
    assert_eq!(fault(&forged(|h| h.set_groupname("root").expect("set"))), owner);
}

#[test]
fn fields_that_other_readers_might_interpret_are_refused() {
    let canonical = Fault::Entry(EntryError::Canonical);
    assert_eq!(fault(&forged(|h| h.as_mut_bytes()[157] = b'x')), canonical, "link name");
    assert_eq!(fault(&forged(|h| h.as_mut_bytes()[511] = 1)), canonical, "beyond the fields");
    assert_eq!(fault(&forged(|h| h.as_mut_bytes()[99] = 1)), canonical, "behind the name");
    assert_eq!(fault(&forged(|h| h.set_device_major(1).expect("set"))), canonical);
    // A size in another notation.
    let binary = forged(|h| {
        let field = &mut h.as_mut_bytes()[124..136];
        field.fill(0);
        field[0] = 0x80;
    });
    assert_eq!(fault(&binary), canonical);
}

#[test]
fn checksums_and_other_magics_are_refused() {
    let mut tar = forged(|_| {});
    tar[0] ^= 1;
    assert_eq!(fault(&tar), Fault::Entry(EntryError::Checksum));
    assert_eq!(
        fault(&forged(|h| h.as_mut_bytes()[257..265].copy_from_slice(b"ustar  \0"))),
        Fault::Entry(EntryError::Checksum)
    );
}

#[test]
fn pax_keys_beyond_the_three_are_refused() {
    for record in ["21 SCHILY.xattr.u=vw\n", "18 linkpath=/etc/\n", "9 uid=10\n", "junk\n", "99 path=x\n", "9 path=x "]
    {
        assert_eq!(fault(&pax(record)), Fault::Entry(EntryError::Pax), "{record:?}");
    }
    // Legal keys that say nothing which the header could not: not what our writer would write.
    for record in ["12 size=100\n", "17 mtime=12.500000\n", &format!("{} path={BUNDLE}/nodes/a/x\n", BUNDLE.len() + 20)]
    {
        let fault = fault(&pax(record));
        assert!(matches!(fault, Fault::Entry(EntryError::Canonical | EntryError::Pax)), "{record:?} {fault:?}");
    }
    let mut huge = tar::Header::new_ustar();
    huge.as_mut_bytes()[156] = b'x';
    huge.set_size(1 << 30);
    huge.set_cksum();
    assert_eq!(fault(huge.as_bytes()), Fault::Entry(EntryError::Pax));
}

#[test]
fn sizes_beyond_all_measure_are_refused() {
    let size = |bytes: u64| {
        let path = path(&format!("{BUNDLE}/nodes/a/x"));
        EntryHead { path, size: bytes, mode: 0o644, mtime_ns: 0 }.encode()
    };
    for bytes in [8 << 60, u64::MAX, i64::MAX as u64] {
        let fault = checker("a").check(&frames(&size(bytes)), false).expect_err("refused");
        assert_eq!(fault, Fault::Entry(EntryError::Size), "{bytes}");
    }
    // What is merely large is charged to the budget when it is declared.
    assert_eq!(checker("a").check(&frames(&size(1 << 60)), false).expect_err("refused"), Fault::Bytes);
}

#[test]
fn budgets_are_charged_when_declared() {
    let checker = |bytes, entries| Checker::new(&bundle(), &node("a"), Budget { bytes, entries });
    let two = frames(&[entry("a", "x", &[1; 100]), entry("a", "y", &[1; 100])].concat());
    // Each: a pax header of two blocks for the time's fraction, a header, a block of content. Two folders are implied.
    assert!(checker(8 * 512, 4).check(&two, true).is_ok());
    assert_eq!(checker(8 * 512 - 1, 4).check(&two, true).expect_err("refused"), Fault::Bytes);
    assert_eq!(checker(8 * 512, 3).check(&two, true).expect_err("refused"), Fault::Entries);
    let deep = frames(&entry("a", &"d/".repeat(200)[..399], b""));
    assert_eq!(checker(1 << 20, 50).check(&deep, true).expect_err("refused"), Fault::Entries);
}

#[test]
fn an_end_of_archive_is_refused() {
    assert_eq!(fault(&[0; 1024]), Fault::EndOfArchive);
    assert_eq!(fault(&[entry("a", "x", b"1"), vec![0; 512], entry("a", "y", b"1")].concat()), Fault::EndOfArchive);
}

#[test]
fn padding_must_be_zero() {
    let mut tar = entry("a", "x", b"1");
    let last = tar.len() - 1;
    tar[last] = 1;
    assert_eq!(fault(&tar), Fault::Entry(EntryError::Padding));
}

#[test]
fn repeated_and_blocked_paths_are_refused_over_segments() {
    let mut checker = checker("a");
    checker.check(&frames(&entry("a", "x/y", b"1")), true).expect("legal");
    for other in ["x/y", "x", "x/y/z"] {
        let tar = frames(&entry("a", other, b"2"));
        assert_eq!(checker.check(&tar, true).expect_err("refused"), Fault::Repeated, "{other}");
    }
    checker.check(&frames(&entry("a", "x/z", b"3")), true).expect("legal");
}

#[test]
fn bombs_and_foreign_frames_are_refused() {
    let mut compressor = Compressor::new().expect("context");
    let frame = compressor.frame(&[0; MIB]).expect("frame").bytes;
    assert_eq!(checker("a").check(&frame.repeat(5).into(), false).expect_err("refused"), Fault::Bomb);
    let small = compressor.frame(&[0; 10]).expect("frame").bytes;
    assert_eq!(checker("a").check(&small.repeat(65).into(), false).expect_err("refused"), Fault::Bomb);
    let stranger = Bytes::from(zstd::stream::encode_all(entry("a", "x", b"1").as_slice(), 3).expect("compresses"));
    assert_eq!(checker("a").check(&stranger, true).expect_err("refused"), Fault::Frame(FrameError::Header));
    let skippable = Bytes::from_static(b"\x50\x2a\x4d\x18\x00\x00\x00\x00");
    assert_eq!(checker("a").check(&skippable, true).expect_err("refused"), Fault::Frame(FrameError::Header));
}

#[test]
fn the_boundary_must_be_where_it_is_said_to_be() {
    let tar = entry("a", "x", &[1; 2000]);
    assert_eq!(checker("a").check(&frames(&tar), false).expect_err("refused"), Fault::Boundary);
    assert_eq!(checker("a").check(&frames(&tar[..tar.len() - 1]), true).expect_err("refused"), Fault::Boundary);
}

#[test]
fn a_segment_is_whole_entries_or_one_part_of_one() {
    let (x, y) = (entry("a", "x", &[1; 2000]), entry("a", "y", &[2; 2000]));
    let refused = |parts: &[(&[u8], bool)]| {
        let mut checker = checker("a");
        parts.iter().find_map(|(tar, boundary)| checker.check(&frames(tar), *boundary).err())
    };
    assert_eq!(refused(&[(&x[..1600], false), (&x[1600..1700], false), (&x[1700..], true), (&y, true)]), None);
    // A whole entry and the start of the next; the end of one and another; a header cut in two; nothing inside an entry.
    assert_eq!(refused(&[(&[&x[..], &y[..1600]].concat(), false)]), Some(Fault::Segment));
    assert_eq!(refused(&[(&x[..1600], false), (&[&x[1600..], &y[..]].concat(), true)]), Some(Fault::Segment));
    assert_eq!(refused(&[(&x[..100], false)]), Some(Fault::Segment));
    assert_eq!(refused(&[(&x[..1600], false), (&[], false)]), Some(Fault::Segment));
    // Between entries a segment may carry notes alone.
    assert_eq!(refused(&[(&x, true), (&[], true)]), None);
}

#[test]
fn a_fault_leaves_the_checker_as_it_was() {
    let x = entry("a", "x", &[1; 3000]);
    let (front, back) = x.split_at(2100);
    let mut checker = checker("a");
    checker.check(&frames(front), false).expect("legal");
    let before = (checker.inside(), checker.left());
    for bad in [&[0xff; 1000][..], &[back, &[0; 512]].concat(), &[back, &entry("a", "z", b"1")].concat()] {
        checker.check(&frames(bad), true).expect_err("refused");
        assert_eq!((checker.inside(), checker.left()), before);
    }
    let piece = checker.check(&frames(back), true).expect("the right one still passes");
    assert_eq!(piece.rows[0].content, blake3::hash(&[1; 3000]));
    checker.check(&frames(&entry("a", "z", b"1")), true).expect("z was not taken by the refused segment");
}

#[test]
fn padding_completes_an_entry_that_never_came() {
    let size = 9 * MIB + 100;
    let head = EntryHead { path: path(&format!("{BUNDLE}/nodes/a/x")), size: size as u64, mode: 0o600, mtime_ns: 0 };
    let tar = [head.encode(), vec![9; 5000]].concat();
    let mut checker = checker("a").keep_raw(true);
    let first = checker.check(&frames(&tar), false).expect("legal");
    let inside = checker.inside().expect("inside");
    assert_eq!((inside.declared, inside.missing), (size as u64, (size + 412 - 5000) as u64));
    let mut raw = first.raw.expect("kept").to_vec();
    let mut rows = Vec::new();
    let mut decompressor = Decompressor::new().expect("context");
    while let Some(piece) = checker.pad() {
        let zeros = piece.raw.expect("kept");
        let mut out = Vec::new();
        for frame in &piece.frames {
            decompressor.append(&frame.bytes, &mut out).expect("frames of ours");
        }
        assert!(out == zeros && zeros.len() <= SEGMENT_RAW);
        assert_eq!(piece.boundary, !piece.rows.is_empty());
        raw.extend_from_slice(&zeros);
        rows.extend(piece.rows);
    }
    let mut content = vec![9; 5000];
    content.resize(size, 0);
    assert_eq!((rows.len(), rows[0].content), (1, blake3::hash(&content)));
    assert_eq!(raw.len(), 512 + size + 412);
    assert!(checker.pad().is_none());
}

#[test]
fn folders_pass_with_their_modes() {
    let folder = |mode| {
        forged(|h| {
            h.as_mut_bytes()[BUNDLE.len() + 10] = b'/';
            h.as_mut_bytes()[156] = b'5';
            h.set_mode(mode);
        })
    };
    let piece = checker("a").check(&frames(&folder(0o755)), true).expect("legal");
    assert_eq!((piece.rows[0].path.as_str(), piece.rows[0].kind), ("nodes/a/x", Kind::Folder));
    assert_eq!(fault(&folder(0o644)), Fault::Entry(EntryError::Mode(0o644)));
}

proptest::proptest! {
    #[test]
    fn any_tar_is_checked_without_panic(noise: Vec<u8>, at: proptest::sample::Index, boundary: bool) {
        let mut tar = [entry("a", "x", b"1"), entry("a", &"long/".repeat(60)[..299], b"2")].concat();
        let at = at.index(tar.len());
        tar.splice(at..(at + noise.len()).min(tar.len()), noise.iter().copied());
        let _ = checker("a").check(&frames(&tar), boundary);
        let _ = checker("a").check(&Bytes::from(noise), boundary);
    }

    #[test]
    fn any_flipped_byte_of_a_header_is_refused(at in 0usize..1024, byte: u8) {
        // Between the two headers stands the pax header's body, which says the path and nothing about itself.
        let at = if at < 512 { at } else { at + 512 };
        let mut tar = entry("a", &"long/".repeat(60)[..299], b"2");
        tar[at] ^= byte;
        let checked = checker("a").check(&frames(&tar), true);
        proptest::prop_assert_eq!(checked.is_ok(), byte == 0);
    }

    #[test]
    fn entries_come_back_whatever_the_pieces(contents in proptest::collection::vec(proptest::collection::vec(0u8.., 0..2000), 1..5), step in 1usize..3000) {
        let tar: Vec<u8> = contents.iter().enumerate().flat_map(|(i, c)| entry("a", &format!("f{i}"), c)).collect();
        let mut parser = Parser::default();
        let (mut read, mut open) = (Vec::new(), Vec::new());
        for mut piece in tar.chunks(step) {
            while let Some(event) = parser.next(&mut piece).expect("legal") {
                match event {
                    Event::Head(_) => open.clear(),
                    Event::Data(data) => open.extend_from_slice(data),
                    Event::End => read.push(open.clone()),
                    Event::ZeroBlock => proptest::prop_assert!(false, "no zero block was written"),
                }
            }
        }
        proptest::prop_assert_eq!(read, contents);
    }

    #[test]
    fn a_header_that_is_encoded_is_decoded(below in "[a-zä/]{1,300}", size: u64, mtime_ns in -1_000_000_000i128..20_000_000_000_000_000_000) {
        let Ok(path) = EntryPath::parse(&format!("{BUNDLE}/nodes/a/{below}")) else { return Ok(()) };
        let head = EntryHead { path, size: size >> 3, mode: 0o600, mtime_ns };
        let decoded = crate::bundle::entry::decode(&head.encode());
        let Ok(crate::bundle::entry::Decoded::Whole(Kind::File, read)) = decoded else { panic!("{decoded:?}") };
        proptest::prop_assert_eq!((&read.path, read.size, read.mode), (&head.path, head.size, 0o600));
        let shown = mtime_ns.clamp(0, 0o777_7777_7777 * 1_000_000_000).div_euclid(1000) * 1000;
        proptest::prop_assert!(read.mtime_ns == shown || mtime_ns > 0o777_7777_7777 * 1_000_000_000);
    }
}
