//! The state against crashes, full disks, others' hands and later versions.

use std::collections::HashSet;
use std::os::unix::fs::DirBuilderExt as _;

use super::*;
use crate::coordinator::roster::{ClusterKind, ClusterRow};
use crate::coordinator::tasks::{Log, NewTask};
use crate::id::{ClusterId, TaskId};
use crate::protocol::control::TaskState;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state");
    (folder, path)
}

fn cluster(name: &str) -> ClusterRow {
    ClusterRow { id: ClusterId::random(), name: name.into(), kind: ClusterKind::Managed, created_ms: 1 }
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn only_the_owner_can_look_in() {
    let (_keep, path) = folder();
    let store = Store::open(&path).expect("made");
    store.add_cluster(cluster("a")).await.expect("written");
    assert_eq!(mode(&path), 0o700);
    for file in std::fs::read_dir(&path).expect("listed") {
        let file = file.expect("listed").path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn loose_modes_are_tightened_and_a_folder_that_others_write_is_refused() {
    let (_keep, path) = folder();
    drop(Store::open(&path).expect("made"));
    std::fs::set_permissions(path.join(FILE), PermissionsExt::from_mode(0o644)).expect("chmod");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("chmod");
    drop(Store::open(&path).expect("opened"));
    assert_eq!((mode(&path), mode(&path.join(FILE))), (0o700, 0o600));
    for bad in [0o770, 0o702] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(bad)).expect("chmod");
        let error = Store::open(&path).expect_err("others may write");
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
}

#[tokio::test]
async fn a_later_version_is_left_alone() {
    let (_keep, path) = folder();
    let store = Store::open(&path).expect("made");
    store.sure(|tx| Ok(tx.pragma_update(None, "user_version", 99)?)).await.expect("written");
    let error = Store::open(&path).expect_err("too new");
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn something_else_in_its_place_is_refused() {
    let (_keep, path) = folder();
    std::fs::DirBuilder::new().mode(0o700).create(&path).expect("made");
    std::fs::write(path.join(FILE), "no database, though long enough for one".repeat(100)).expect("written");
    assert!(matches!(Store::open(&path), Err(StoreError::Sqlite(_))));
}

#[tokio::test]
async fn a_full_disk_is_a_clear_error_and_harms_nothing() {
    let (_keep, path) = folder();
    let store = Store::open(&path).expect("made");
    store.add_cluster(cluster("before")).await.expect("written");
    store.bound_pages(1).await.expect("bounded");
    let id = store.add_task(task(), 2000, 1).await.expect("room for a small row");
    let full = store.append_log(id, Log::Debug, vec![b'x'; 1 << 20]).await.expect_err("no room");
    assert!(matches!(full, StoreError::Full), "{full}");
    assert_eq!(Refusal::from(full), Refusal::Full);
    assert_eq!(store.read_log(id, Log::Debug, 0, 10).await.expect("readable").expect("there").total, 0);
    store.bound_pages(1 << 20).await.expect("room again");
    assert!(store.append_log(id, Log::Debug, vec![b'x'; 1 << 20]).await.expect("written"));
    let check: String =
        store.quick(|tx| Ok(tx.query_row("PRAGMA integrity_check", [], |row| row.get(0))?)).await.expect("checked");
    assert_eq!(check, "ok");
    assert_eq!(store.clusters().await.expect("read").len(), 1);
}

#[tokio::test]
async fn an_operation_that_fails_leaves_nothing() {
    let (_keep, path) = folder();
    let store = Store::open(&path).expect("made");
    let failed: Result<(), _> = store
        .sure(|tx| {
            tx.execute("INSERT INTO meta (key, value) VALUES ('half', x'00')", [])?;
            Err(StoreError::Corrupt("something"))
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(store.meta("half").await.expect("read"), None);
}

#[tokio::test]
async fn the_first_value_stands() {
    let (_keep, path) = folder();
    let store = Store::open(&path).expect("made");
    let offers: Vec<_> = (0..20u8)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.meta_once("key", vec![n]).await.expect("kept") })
        })
        .collect();
    let mut kept = HashSet::new();
    for offer in offers {
        kept.insert(offer.await.expect("joined"));
    }
    assert_eq!(kept.len(), 1);
}

fn task() -> NewTask {
    NewTask { kind: "bundle".into(), description: "d".into(), user: "u".into(), ..NewTask::default() }
}

#[tokio::test]
async fn a_log_is_read_from_any_byte() {
    let (_keep, path) = folder();
    let store = Store::open(&path).expect("made");
    let id = store.add_task(task(), 2000, 1).await.expect("made");
    for piece in ["one\n", "three\n", "\n"] {
        assert!(store.append_log(id, Log::Event, piece.into()).await.expect("written"));
    }
    let whole = b"one\nthree\n\n";
    for from in 0..=whole.len() + 2 {
        for most in 1..=whole.len() {
            let part = store.read_log(id, Log::Event, from as u64, most).await.expect("read").expect("there");
            let start = from.min(whole.len());
            assert_eq!(part.bytes, &whole[start..(start + most).min(whole.len())], "{from} {most}");
            assert_eq!(part.total, whole.len() as u64);
        }
    }
    assert_eq!(store.read_log(id, Log::Debug, 0, 9).await.expect("read").expect("there").total, 0);
    assert_eq!(store.read_log(TaskId(99), Log::Event, 0, 9).await.expect("read"), None);
}

#[tokio::test]
async fn old_tasks_are_forgotten_with_their_logs_and_numbers_never_come_back() {
    let (_keep, path) = folder();
    let store = Store::open(&path).expect("made");
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(store.add_task(task(), 2000, 1).await.expect("made"));
    }
    let [first, open, second] = ids[..] else { unreachable!("three were made") };
    for (id, at) in [(first, 2), (second, 3)] {
        store.append_log(id, Log::Event, b"x\n".to_vec()).await.expect("written");
        assert!(store.move_task(id, TaskState::Errored, at).await.expect("moved"));
    }
    let there = async |id| store.task(id).await.expect("read").is_some();
    let fourth = store.add_task(task(), 1, 4).await.expect("made");
    assert!(!there(first).await && there(second).await, "of those that are over, the newest stays");
    assert_eq!(store.forget_tasks(3, 1).await.expect("looked"), 0, "it is not too old yet");
    assert_eq!(store.forget_tasks(4, 1).await.expect("forgotten"), 1);
    assert_eq!(store.forget_tasks(i64::MAX, 0).await.expect("looked"), 0, "what is not over is kept");
    assert!(!there(second).await && there(open).await && there(fourth).await);
    assert!(store.move_task(fourth, TaskState::Cancelled, 5).await.expect("moved"));
    assert_eq!(store.forget_tasks(i64::MAX, 0).await.expect("forgotten"), 1);
    assert!(store.add_task(task(), 1, 6).await.expect("made") > fourth);
    let logs: i64 =
        store.quick(|tx| Ok(tx.query_row("SELECT count(*) FROM task_logs", [], |r| r.get(0))?)).await.expect("read");
    assert_eq!(logs, 0);
}

#[tokio::test]
async fn a_panic_undoes_its_own_operation_alone() {
    let (_keep, path) = folder();
    let store = Store::open(&path).expect("made");
    let fault: Result<(), _> = store
        .sure(|tx| {
            tx.execute("INSERT INTO meta (key, value) VALUES ('half', x'00')", [])?;
            panic!("a fault of the test's own")
        })
        .await;
    assert!(matches!(fault, Err(StoreError::Closed)), "{fault:?}");
    store.alive().await.expect("the others go on");
    assert_eq!(store.meta("half").await.expect("read"), None);
}

/// Commits in the write-ahead log: frames that say how large the file is with them.
fn commits(folder: &Path) -> usize {
    let log = std::fs::read(folder.join(format!("{FILE}-wal"))).expect("a log");
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().expect("four bytes"));
    let frame = 24 + number(8) as usize;
    (32..log.len()).step_by(frame).filter(|at| number(at + 4) > 0).count()
}

/// Holds the store up until `many` jobs of `queued` wait.
async fn together<T>(store: &Store, many: usize, queued: impl Future<Output = T>) -> T {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begun, begins) = oneshot::channel();
    let holds = store.quick(move |_| {
        begun.send(()).expect("somebody waits");
        wait.recv().expect("it goes on");
        Ok(())
    });
    let queued = async {
        begins.await.expect("it begins");
        let all_wait = async {
            while store.jobs.capacity() > QUEUE - many {
                tokio::task::yield_now().await;
            }
            go.send(()).expect("it waits");
        };
        tokio::join!(queued, all_wait).0
    };
    let (held, done) = tokio::join!(holds, queued);
    held.expect("it only waited");
    done
}

#[tokio::test]
async fn what_waits_together_is_committed_together_and_each_stands_alone() {
    const MANY: usize = 50;
    let (_keep, path) = folder();
    let store = Store::open(&path).expect("made");
    store.add_cluster(cluster("first")).await.expect("written");
    let before = commits(&path);
    let queued = async {
        let adds = futures_util::future::join_all((0..MANY).map(|n| store.add_cluster(cluster(&format!("c{n}")))));
        let fails = store.sure(|tx| {
            tx.execute("INSERT INTO meta (key, value) VALUES ('half', x'00')", [])?;
            Ok(tx.execute("INSERT INTO meta (key, value) VALUES ('half', x'00')", [])?)
        });
        let panics = store.sure(|tx| -> Result<(), StoreError> {
            tx.execute("INSERT INTO meta (key, value) VALUES ('half', x'00')", [])?;
            panic!("a fault in one operation")
        });
        tokio::join!(adds, fails, panics, store.add_cluster(cluster("last")))
    };
    let (adds, fails, panics, last) = together(&store, MANY + 3, queued).await;
    assert!(adds.into_iter().chain([last]).all(|added| added.expect("written")));
    assert!(matches!(fails, Err(StoreError::Sqlite(_))), "{fails:?}");
    assert!(matches!(panics, Err(StoreError::Closed)), "{panics:?}");
    assert_eq!(store.meta("half").await.expect("readable"), None, "what failed was undone whole");
    assert_eq!(store.clusters().await.expect("readable").len(), MANY + 2);
    assert_eq!(commits(&path) - before, 1);
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_whoever_writes_and_still_lets_read() {
    let (_keep, path) = folder();
    let store = Store::open(&path).expect("made");
    store.add_cluster(cluster("before")).await.expect("written");
    store.bound_pages(1).await.expect("bounded");
    let queued = async {
        let large =
            store.sure(|tx| Ok(tx.execute("INSERT INTO meta (key, value) VALUES ('large', zeroblob(1048576))", [])?));
        tokio::join!(store.clusters(), large, store.clusters())
    };
    let (one, large, other) = together(&store, 3, queued).await;
    assert!(matches!(large, Err(StoreError::Full)), "{large:?}");
    assert_eq!((one.expect("read").len(), other.expect("read").len()), (1, 1));
}

#[tokio::test]
async fn the_oldest_tasks_go_when_logs_are_too_many_and_running_ones_stay() {
    let (_keep, path) = folder();
    let store = Store::open(&path).expect("made");
    let mut ids = Vec::new();
    for number in 0..4 {
        let id = store.add_task(task(), 2000, 1).await.expect("added");
        for _ in 0..10 {
            assert!(store.append_log(id, Log::Event, vec![b'x'; 100]).await.expect("appended"));
        }
        if number > 0 {
            assert!(store.end_task(id, TaskState::Errored, String::new(), Vec::new(), 2).await.expect("ended"));
        }
        ids.push(id);
    }
    assert_eq!(store.forget_logs(4000).await.expect("looked"), 0);
    assert_eq!(store.forget_logs(2500).await.expect("forgotten"), 1);
    let mut there = Vec::new();
    for id in &ids {
        there.push(store.task(*id).await.expect("read").is_some());
    }
    assert_eq!(there, [true, false, true, true], "the first runs");
}
