//! Keeping: published whole or not at all, read in ranges, given up in order, and clean after any end.

use futures_util::{TryStreamExt as _, stream};

use super::*;
use crate::coordinator::kit::Kit;

type Body = stream::Iter<std::vec::IntoIter<std::io::Result<bytes::Bytes>>>;

async fn open(kit: &Kit, bounds: Bounds) -> Stored {
    let folder = kit.folder.path().join("kept");
    Stored::open(kit.store(), &folder, bounds, kit.clock.clone(), &kit.shutdown).await.expect("opened")
}

fn body(pieces: Vec<std::io::Result<Vec<u8>>>) -> Body {
    let pieces: Vec<_> = pieces.into_iter().map(|piece| piece.map(bytes::Bytes::from)).collect();
    stream::iter(pieces)
}

fn row(kit: &Kit, id: BundleId, bytes: u64) -> StoredRow {
    StoredRow {
        id,
        name: BundleName::new("lab", kit.clock.now_ms()),
        of: "lab".into(),
        clusters: vec![ClusterId::random()],
        user: "admin".into(),
        task: TaskId(7),
        format: Format::TarZst,
        bytes,
        verdict: Verdict::Partial,
        nodes: 3,
        nodes_collected: 2,
        created_ms: kit.clock.now_ms(),
    }
}

async fn keep(kit: &Kit, stored: &Stored, content: &[u8]) -> StoredRow {
    let id = BundleId::random();
    let written = stored.write(id, Format::TarZst, body(vec![Ok(content.to_vec())])).await.expect("written");
    let row = row(kit, id, written.bytes());
    stored.publish(written, row.clone()).await.expect("published");
    kit.clock.advance(Duration::from_secs(60));
    row
}

async fn ids(stored: &Stored) -> Vec<BundleId> {
    stored.list().await.expect("listed").into_iter().map(|row| row.id).collect()
}

async fn read(stored: &Stored, id: BundleId, from: u64, to: Option<u64>) -> Result<Vec<u8>, Refusal> {
    let part = stored.read(id, from, to).await?;
    let (length, pieces) =
        (part.range.end - part.range.start, part.pieces.try_collect::<Vec<_>>().await.expect("read"));
    let bytes = pieces.concat();
    assert_eq!(bytes.len() as u64, length);
    Ok(bytes)
}

fn files(kit: &Kit) -> usize {
    std::fs::read_dir(kit.folder.path().join("kept")).expect("listed").count()
}

/// Removal of an upload happens on another thread.
async fn until_files(kit: &Kit, count: usize) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while files(kit) != count {
        assert!(std::time::Instant::now() < end, "{} files stay", files(kit));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_bundle_is_seen_once_it_is_published_and_read_in_ranges() {
    let kit = Kit::new().await;
    let stored = open(&kit, Bounds::default()).await;
    // Several parts, and pieces of the reader's own.
    let content: Vec<u8> = (0..20 << 20).map(|n: u32| (n >> 8) as u8 ^ n as u8).collect();
    let id = BundleId::random();
    let pieces = content.chunks(1_234_567).map(|piece| Ok(piece.to_vec())).collect();
    let written = stored.write(id, Format::TarZst, body(pieces)).await.expect("written");
    assert!(ids(&stored).await.is_empty());
    assert!(matches!(stored.read(id, 0, None).await.map(|_| ()), Err(Refusal::NotFound(_))));
    let row = row(&kit, id, written.bytes());
    stored.publish(written, row.clone()).await.expect("published");
    assert_eq!(stored.list().await.expect("listed"), std::slice::from_ref(&row));
    assert!(read(&stored, id, 0, None).await.expect("read") == content);
    let middle = read(&stored, id, 9_000_000, Some(9_000_100)).await.expect("read");
    assert_eq!(middle, content[9_000_000..9_000_100]);
    assert_eq!(read(&stored, id, row.bytes - 1, Some(u64::MAX)).await.expect("read"), content[content.len() - 1..]);
    for (from, to) in [(row.bytes, None), (u64::MAX, None), (5, Some(5)), (6, Some(5))] {
        assert!(matches!(read(&stored, id, from, to).await, Err(Refusal::Invalid(_))), "{from} {to:?}");
    }
    let again = open(&kit, Bounds::default()).await;
    assert_eq!(again.list().await.expect("listed"), [row], "a restart changes nothing");
}

#[tokio::test]
async fn what_breaks_off_or_is_too_large_leaves_nothing() {
    let kit = Kit::new().await;
    let stored = open(&kit, Bounds { bytes: 100, ..Bounds::default() }).await;
    let broken = body(vec![Ok(vec![1; 50]), Err(std::io::Error::other("the node left"))]);
    let error = stored.write(BundleId::random(), Format::Tar, broken).await.map(|_| ()).expect_err("broken");
    assert!(error.is_the_bundle());
    let large = body(vec![Ok(vec![1; 50]), Ok(vec![1; 51])]);
    let error = stored.write(BundleId::random(), Format::Tar, large).await.map(|_| ()).expect_err("too large");
    assert!(matches!(error, WriteError::TooLarge(100)));
    let written = stored.write(BundleId::random(), Format::Tar, body(vec![Ok(vec![1])])).await.expect("written");
    written.abandon().await;
    until_files(&kit, 0).await;
    drop(stored.write(BundleId::random(), Format::Tar, body(vec![Ok(vec![1])])).await.expect("written"));
    until_files(&kit, 0).await;
}

#[tokio::test]
async fn a_disk_at_its_floor_takes_no_bundle_and_says_which_folder() {
    let kit = Kit::new().await;
    let stored = open(&kit, Bounds { floor: Floor::unreachable(), ..Bounds::default() }).await;
    let written = stored.write(BundleId::random(), Format::Tar, body(vec![Ok(vec![1; 50])])).await;
    let error = written.map(|_| ()).expect_err("refused");
    assert!(!error.is_the_bundle());
    let said = report::chain(&error);
    assert!(said.contains("kept: the disk has ") && said.contains("are to stay free"), "{said}");
    until_files(&kit, 0).await;
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many_too_much_or_too_old() {
    let kit = Kit::new().await;
    let stored = open(&kit, Bounds { count: 2, bytes: 10, age: Duration::from_secs(3600), ..Bounds::default() }).await;
    let first = keep(&kit, &stored, b"1").await;
    let second = keep(&kit, &stored, b"22").await;
    let third = keep(&kit, &stored, b"333").await;
    assert_eq!(ids(&stored).await, [third.id, second.id], "two at most");
    assert!(matches!(stored.find(first.id).await, Err(Refusal::NotFound(_))));
    let fourth = keep(&kit, &stored, b"4444444").await;
    assert_eq!(ids(&stored).await, [fourth.id, third.id]);
    let fifth = keep(&kit, &stored, b"55").await;
    assert_eq!(ids(&stored).await, [fifth.id, fourth.id]);
    let sixth = keep(&kit, &stored, b"666666666").await;
    assert_eq!(ids(&stored).await, [sixth.id], "ten bytes at most");
    assert_eq!(files(&kit), 1);
    kit.clock.advance(Duration::from_secs(3600));
    assert!(ids(&stored).await.is_empty(), "too old, whether it was removed already or not");
    assert!(matches!(stored.read(sixth.id, 0, None).await.map(|_| ()), Err(Refusal::NotFound(_))));
    drop(open(&kit, Bounds { age: Duration::from_secs(3600), ..Bounds::default() }).await);
    assert_eq!(files(&kit), 0);
}

#[tokio::test]
async fn a_start_cleans_up_what_an_earlier_run_left() {
    let kit = Kit::new().await;
    let stored = open(&kit, Bounds::default()).await;
    let (kept, lost) = (keep(&kit, &stored, b"kept").await, keep(&kit, &stored, b"lost").await);
    let folder = kit.folder.path().join("kept");
    let put = |name: &str| std::fs::write(folder.join(name), b"x").expect("written");
    std::fs::remove_file(folder.join(key(&lost).as_ref())).expect("removed");
    put(&format!("{}.tar.zst#1", BundleId::random()));
    put(&format!("{}.tar.zst", BundleId::random()));
    put("somebody's own.txt");
    let again = open(&kit, Bounds::default()).await;
    assert_eq!(ids(&again).await, [kept.id]);
    assert_eq!(read(&again, kept.id, 0, None).await.expect("read"), b"kept");
    assert_eq!(files(&kit), 2, "what is not ours stays");
}

#[tokio::test]
async fn a_removal_ends_no_reading() {
    let kit = Kit::new().await;
    let stored = open(&kit, Bounds::default()).await;
    let row = keep(&kit, &stored, &[7; 1 << 20]).await;
    let part = stored.read(row.id, 0, None).await.expect("there");
    stored.remove(row.id).await.expect("removed");
    assert!(matches!(stored.remove(row.id).await, Err(Refusal::NotFound(_))));
    let pieces: Vec<_> = part.pieces.try_collect().await.expect("read on");
    assert_eq!(pieces.concat().len(), 1 << 20);
    assert_eq!(files(&kit), 0);
}
