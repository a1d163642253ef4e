//! Turns and keeping, with a whole coordinator whose nodes are not connected: a bundle of them lasts as long as they are waited for.

use std::time::Duration;

use futures_util::{FutureExt as _, TryStreamExt as _};

use super::*;
use crate::coordinator::kit::Kit;
use crate::coordinator::verbs::{BundleRequest, Log, TaskFilter, TaskRow, Verbs};
use crate::protocol::control::TaskState;

/// A coordinator with a node that is never there, and waited for so long.
async fn kit(grace_secs: u64, waiting: usize) -> Kit {
    let kit = Kit::configured(|config| {
        config.limits.grace_secs = grace_secs;
        config.limits.waiting_bundles = waiting;
    })
    .await;
    kit.absent_node("n1").await;
    kit
}

fn request() -> BundleRequest {
    BundleRequest {
        cluster: "default".into(),
        nodes: Vec::new(),
        collectors: Vec::new(),
        redact: Vec::new(),
        budgets: Default::default(),
        window: Default::default(),
        format: Format::TarZst,
        case: None,
        note: None,
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(std::time::Instant::now() < end, "waited in vain for {what}");
        tokio::task::yield_now().await;
    }
}

async fn over(kit: &Kit, id: TaskId) -> TaskRow {
    let admin = kit.admin();
    until("the task's end", async || kit.verbs.task(&admin, id).await.ok().filter(|row| row.state.is_final())).await
}

async fn queued(verbs: &Verbs, kit: &Kit) -> Option<TaskRow> {
    let filter = TaskFilter { states: vec![TaskState::Queued], ..TaskFilter::default() };
    verbs.tasks(&kit.admin(), filter).await.expect("listed").into_iter().next()
}

async fn events(kit: &Kit, id: TaskId) -> String {
    let part = kit.verbs.task_log(&kit.admin(), id, Log::Event, 0, 1 << 20).await.expect("read");
    String::from_utf8(part.bytes).expect("text")
}

#[tokio::test]
async fn a_second_bundle_waits_for_the_first_and_a_third_is_refused() {
    let kit = kit(3600, 1).await;
    let admin = kit.admin();
    let first = kit.verbs.start_bundle(&admin, request()).await.expect("begun");
    let (verbs, who) = (kit.verbs.clone(), admin.clone());
    let second = tokio::spawn(async move { verbs.start_bundle(&who, request()).await });
    let waits = until("the second to wait", async || queued(&kit.verbs, &kit).await).await;
    until("the event", async || events(&kit, waits.id).await.contains("waits for task").then_some(())).await;
    assert!(events(&kit, waits.id).await.contains(&format!("waits for task {}", first.task)));
    let refused = kit.verbs.start_bundle(&admin, request()).await.map(|_| ()).expect_err("full");
    assert!(matches!(&refused, Refusal::TooMany(why) if why.contains(&format!("task {}", first.task))), "{refused}");
    assert_eq!(kit.verbs.tasks(&admin, TaskFilter::default()).await.expect("listed").len(), 2, "no task for a refusal");
    let other = crate::coordinator::principal::Principal { name: "other".into(), ..admin.clone() };
    drop(kit.verbs.start_bundle(&other, request()).await.expect("another requester has a turn of its own"));

    kit.verbs.cancel_task(&admin, first.task).await.expect("asked");
    let second = second.await.expect("joined").expect("its turn has come");
    assert_eq!(second.task, waits.id);
    assert_eq!(over(&kit, first.task).await.state, TaskState::Cancelled);
    assert_eq!(kit.verbs.task(&admin, second.task).await.expect("there").state, TaskState::Processing);
}

#[tokio::test]
async fn who_waits_can_be_cancelled_and_who_goes_away_leaves_the_queue() {
    let kit = kit(3600, 1).await;
    let admin = kit.admin();
    let _first = kit.verbs.start_bundle(&admin, request()).await.expect("begun");
    for leaves in [true, false] {
        let (verbs, who) = (kit.verbs.clone(), admin.clone());
        let second = tokio::spawn(async move { verbs.start_bundle(&who, request()).await.map(|_| ()) });
        let waits = until("the second to wait", async || queued(&kit.verbs, &kit).await).await;
        if leaves {
            second.abort();
        } else {
            kit.verbs.cancel_task(&admin, waits.id).await.expect("asked");
            assert!(matches!(second.await.expect("joined"), Err(Refusal::Conflict(_))));
        }
        let row = over(&kit, waits.id).await;
        assert_eq!(row.state, TaskState::Cancelled);
        let why = row.result.expect("a line");
        assert!(why.contains(if leaves { "went away" } else { "cancelled while it waited" }), "{why}");
    }
}

#[tokio::test]
async fn a_refusal_before_collection_leaves_the_download_token_as_it_is() {
    let kit = kit(3600, 0).await;
    let admin = kit.admin();
    let cluster = kit.verbs.cluster(&admin, "default").await.expect("found").row.id;
    let first = kit.verbs.start_bundle(&admin, request()).await.expect("begun");
    let token = kit.verbs.bundle_token(&admin, cluster).await.expect("given").token;
    let spend = async || kit.verbs.start_bundle_by_token(cluster, token.expose(), request(), None).await;
    assert!(matches!(spend().await.map(|_| ()), Err(Refusal::TooMany(_))));
    drop(first);
    let second = until("the turn to be free", async || spend().await.ok()).await;
    assert!(matches!(spend().await.map(|_| ()), Err(Refusal::Unauthenticated)), "now it is used");
    drop(second);
}

#[tokio::test]
async fn a_kept_bundle_is_listed_when_it_is_whole_with_its_verdict() {
    let kit = kit(0, 1).await;
    let admin = kit.admin();
    let task = kit.verbs.keep_bundle(&admin, request()).await.expect("begun");
    let row = over(&kit, task.id).await;
    assert_eq!(row.state, TaskState::Done, "{:?}", row.result);
    let id: BundleId = row.result.as_deref().expect("a result").parse().expect("an id");
    let (kept, expires) = kit.verbs.stored_bundle(&admin, id).await.expect("kept");
    assert_eq!((kept.verdict, kept.nodes, kept.nodes_collected), (Verdict::Partial, 1, 0));
    assert_eq!((kept.task, kept.of.as_str(), expires - kept.created_ms), (task.id, "default", 14 * 24 * 3_600_000));
    let part = kit.verbs.read_stored(&admin, id, 0, None).await.expect("read");
    let bytes = part.pieces.try_collect::<Vec<_>>().await.expect("read").concat();
    assert_eq!(bytes.len() as u64, kept.bytes);
    let key = *kit.verbs.seal_public_key();
    let report = crate::bundle::verify::verify(&bytes[..], Some(&key), kit.folder.path(), &mut |_| {}).expect("read");
    assert_eq!(report.verdict, Verdict::Partial);
    let kit = kit.restarted().await;
    assert_eq!(kit.verbs.stored_bundles(&admin).await.expect("listed").len(), 1, "it is still there");
    kit.verbs.delete_stored(&admin, id).await.expect("deleted");
    assert!(kit.verbs.stored_bundles(&admin).await.expect("listed").is_empty());
}

#[tokio::test]
async fn a_cancelled_bundle_is_not_kept() {
    let kit = kit(3600, 1).await;
    let admin = kit.admin();
    let task = kit.verbs.keep_bundle(&admin, request()).await.expect("begun");
    until("it to run", async || {
        let row = kit.verbs.task(&admin, task.id).await.expect("there");
        (row.state == TaskState::Processing).then_some(())
    })
    .await;
    kit.verbs.cancel_task(&admin, task.id).await.expect("asked");
    let row = over(&kit, task.id).await;
    assert_eq!((row.state, row.result.as_deref()), (TaskState::Cancelled, Some("cancelled")));
    assert!(kit.verbs.stored_bundles(&admin).await.expect("listed").is_empty());
    let folder = kit.config.stored_dir();
    until("nothing to be left", async || std::fs::read_dir(&folder).expect("listed").next().is_none().then_some(()))
        .await;
    let next = kit.verbs.start_bundle(&admin, request());
    assert!(next.now_or_never().is_none_or(|begun| begun.is_ok()), "its turn is free");
}

#[tokio::test]
async fn a_folder_that_takes_no_bundle_ends_the_task_and_says_why() {
    let kit = kit(0, 1).await;
    let admin = kit.admin();
    let folder = kit.config.stored_dir();
    std::fs::remove_dir(&folder).expect("empty");
    std::fs::write(&folder, b"no folder").expect("written");
    let task = kit.verbs.keep_bundle(&admin, request()).await.expect("begun");
    let row = over(&kit, task.id).await;
    assert_eq!(row.state, TaskState::Errored);
    assert!(row.result.as_deref().expect("a line").starts_with("the bundle cannot be kept"), "{:?}", row.result);
}
