//! What goes well: several nodes, large files, cut connections, restarts, slow readers.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use serde_json::json;

use super::kit::{Rig, frames, hello, name, noise, passing, soon};
use crate::bundle::Format;
use crate::bundle::outcome::{Outcome, Verdict};
use crate::bundle::segment::Note;
use crate::coordinator::run::{Event, StepState, TaskEnd};
use crate::limits::{SEGMENT_RAW, STALL};
use crate::protocol::agents::Down;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_become_one_bundle() {
    for (format, live_from) in
        [(Format::TarZst, 0), (Format::TarZst, 1 << 30), (Format::Tar, 0), (Format::Tar, 1 << 30)]
    {
        let rig = Rig::new(|settings| settings.live_from = live_from);
        let reading = rig.start(format, &["a", "b", "c"]);
        let work = ["a", "b", "c"].into_iter().enumerate().map(async |(seed, node)| {
            let mut agent = rig.agent(node).await.ordered().await;
            agent.files(&[("node.json", b"{}"), ("files/etc/hosts", node.as_bytes())]).await;
            agent.large("files/var/log/large", &noise(seed as u64, 3 * SEGMENT_RAW + 777)).await;
            agent.files(&[("commands/last.txt", b"last")]).await;
            agent.finish().await;
        });
        futures_util::future::join_all(work).await;
        let bundle = reading.bundle().await;
        assert_eq!(bundle.verdict, Verdict::Complete);
        for (seed, node) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(bundle.files[&format!("nodes/{node}/files/etc/hosts")], node.as_bytes());
            let large = &bundle.files[&format!("nodes/{node}/files/var/log/large")];
            assert!(*large == noise(seed as u64, 3 * SEGMENT_RAW + 777), "{node}");
            let row = bundle.node(node);
            assert_eq!((&row["outcome"], &row["files"], &row["attempts"]), (&json!("collected"), &json!(4), &json!(1)));
            assert_eq!(rig.over(node).await.0, StepState::Finished);
        }
        let (end, result) = rig.end().await;
        assert_eq!(end, TaskEnd::Done);
        assert!(result.contains("\"verdict\":\"complete\""), "{result}");
        rig.all_is_free().await;
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_the_part_of_what_the_first_segment_expects() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    // Lines of progress have some seconds between them.
    tokio::time::advance(STALL / 2).await;
    let entry = agent.entry("x", b"content");
    let mut first = agent.segment(frames(&entry), true, Vec::new());
    first.head.estimate = Some(4 * entry.len() as u64);
    assert_eq!(agent.put(&first).await.ack(), (200, 1));
    agent.next = 1;
    let told = rig
        .event(|event| matches!(event, Event::Step(step) if step.tags == ["a"] && step.state == StepState::InProgress));
    let Event::Step(step) = told.await else { unreachable!("only steps match") };
    assert_eq!((step.progress, step.data), (25, Some(json!({ "bytes": entry.len() }))));
    agent.finish().await;
    assert_eq!(reading.bundle().await.verdict, Verdict::Complete);
}

#[tokio::test]
async fn a_repeated_segment_is_answered_the_same_and_another_number_is_refused() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    let segment = agent.segment(frames(&agent.entry("x", b"1")), true, Vec::new());
    for _ in 0..3 {
        assert_eq!(agent.put(&segment).await.ack(), (200, 1));
    }
    agent.next = 5;
    let early = agent.segment(frames(&agent.entry("y", b"2")), true, Vec::new());
    assert_eq!(agent.put(&early).await.ack(), (409, 1));
    agent.next = 1;
    agent.files(&[("y", b"2")]).await;
    assert_eq!(agent.end(Outcome::Collected, "").await.status, StatusCode::NO_CONTENT);
    // The answer may have been lost: the same end again is no fault, while the task lives or after it.
    let again = agent.end(Outcome::Collected, "").await.status;
    assert!(matches!(again, StatusCode::NO_CONTENT | StatusCode::GONE), "{again}");
    let bundle = reading.bundle().await;
    assert_eq!(bundle.verdict, Verdict::Complete);
    assert_eq!(bundle.node("a")["files"], 2);
}

#[tokio::test]
async fn a_cut_connection_goes_on_where_it_was() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    let content = noise(1, 3 * SEGMENT_RAW);
    let parts = agent.parts("large", &content);
    agent.send(parts[0].clone(), false).await;
    agent.send(parts[1].clone(), false).await;
    let mut agent = agent.again().await.ordered().await;
    assert_eq!(agent.order.as_ref().map(|order| (order.attempt, order.next)), Some((1, 2)));
    agent.send(parts[2].clone(), false).await;
    agent.send(parts[3].clone(), true).await;
    agent.finish().await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.verdict, Verdict::Complete);
    assert!(bundle.files["nodes/a/large"] == content);
}

#[tokio::test]
async fn notes_reach_the_manifest_also_through_the_spool() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    let parts = agent.parts("large", &noise(1, SEGMENT_RAW));
    let missing =
        Note { path: "files/gone".into(), outcome: Outcome::Skipped, reason: "not there".into(), ..Note::default() };
    let whole = Note { path: "large".into(), entry: true, collector: "logs".into(), ..Note::default() };
    for (part, notes, boundary) in [(0, vec![missing], false), (1, vec![whole], true)] {
        let segment = agent.segment(parts[part].clone(), boundary, notes);
        assert_eq!(agent.put(&segment).await.status, StatusCode::OK);
        agent.next += 1;
    }
    agent.finish().await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.verdict, Verdict::Complete, "a missing source leaves the verdict");
    assert_eq!(bundle.file("nodes/a/large")["collector"], "logs");
    assert_eq!(bundle.manifest["sources"][0]["reason"], "not there");
    assert!(bundle.warnings.contains("files/gone"), "{}", bundle.warnings);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_no_stall_of_the_node() {
    // Without a spool the entry is live.
    let rig = Rig::new(|settings| (settings.memory, settings.spool) = (1, 0));
    let mut download = rig.try_start(Format::Tar, &["a"]).expect("a download");
    let mut agent = rig.agent("a").await.ordered().await;
    let door = rig.engine.door(download.task, &name("a")).expect("a door");
    let sender = tokio::spawn(async move {
        agent.large("large", &noise(1, 12 * SEGMENT_RAW)).await;
        agent.finish().await;
    });
    let mut bytes = 0;
    for waits in 1..=3 {
        // So little that much more is left than there is room for on the way.
        while bytes < waits * 2 * SEGMENT_RAW {
            bytes += soon(download.body.next()).await.expect("a piece").expect("no error").len();
        }
        // Until the node waits for us, and then for much longer than a stall.
        let before = door.pace.held_up();
        soon(async {
            while door.pace.held_up() == before {
                tokio::time::advance(Duration::from_millis(1)).await;
            }
        })
        .await;
        tokio::time::advance(STALL * 3).await;
    }
    while let Some(piece) = soon(download.body.next()).await {
        bytes += piece.expect("no error").len();
    }
    sender.await.expect("sent");
    assert!(bytes > 12 * SEGMENT_RAW);
    assert_eq!(rig.over("a").await.0, StepState::Finished);
}

#[tokio::test]
async fn a_newer_session_ends_the_older_and_versions_are_settled_first() {
    let rig = Rig::new(|_| {});
    let mut older = rig.agent("a").await;
    let mut newer = rig.agent("a").await;
    assert!(older.line().await.is_none());
    drop(older);
    assert!(rig.engine.online(&name("a")).is_some_and(|online| online.hello.instance == newer.instance));
    rig.engine.disconnect(&name("a"));
    assert!(newer.line().await.is_none());

    let mut other = hello(uuid::Uuid::new_v4());
    other.versions = vec![2, 3];
    let answer = rig.call(Method::POST, "/agent/v1/session", "a", serde_json::to_vec(&other).expect("JSON")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["code"], "version");
    assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("2, 3")), "{answer:?}");
}

#[tokio::test]
async fn heartbeats_need_a_session_and_measure_the_clock() {
    let rig = Rig::new(|_| {});
    let beat = |ahead: i64| {
        let now = rig.engine.clock().now_ms();
        serde_json::to_vec(&json!({"clock_ms": now + ahead, "round_trip_ms": 0, "vitals": {"at_ms": now,
            "uptime_secs": 5, "cpu": {"user": 1.0, "sys": 2.0, "wait": 3.0}, "load": [0.1, 0.2, 0.3],
            "memory": {"used_kb": 1, "total_kb": 2, "percent": 50.0}, "swap": {"used_kb": 0, "total_kb": 0, "percent": 0.0}}}))
        .expect("JSON")
    };
    assert_eq!(rig.call(Method::POST, "/agent/v1/heartbeat", "a", beat(0)).await.status, StatusCode::CONFLICT);
    let _agent = rig.agent("a").await;
    assert_eq!(rig.call(Method::POST, "/agent/v1/heartbeat", "a", beat(90_000)).await.status, StatusCode::OK);
    let online = rig.engine.online(&name("a")).expect("online");
    let offset = online.clock_offset_ms.expect("an offset");
    assert!((85_000..=90_000).contains(&offset), "{offset}");
    assert_eq!(online.last_vitals.expect("vitals").uptime_secs, 5);
}

#[tokio::test]
async fn queued_nodes_get_their_orders_when_others_are_done() {
    let rig = Rig::new(|settings| settings.active_nodes = 1);
    let mut agents = Vec::new();
    for node in ["a", "b"] {
        agents.push(rig.agent(node).await);
    }
    let reading = rig.start(Format::TarZst, &["a", "b"]);
    let second = agents.pop().expect("two agents");
    let mut first = agents.pop().expect("two agents").ordered().await;
    first.files(&[("x", b"1")]).await;
    let mut second = tokio::spawn(second.ordered());
    assert!(futures_util::poll!(&mut second).is_pending());
    first.finish().await;
    let mut second = soon(second).await.expect("an order");
    second.files(&[("x", b"1")]).await;
    second.finish().await;
    assert_eq!(reading.bundle().await.verdict, Verdict::Complete);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_nothing_for_long_gives_its_place_to_the_next() {
    let rig = Rig::new(|settings| {
        settings.active_nodes = 1;
        settings.silence = STALL * 100;
    });
    let (first, second) = (rig.agent("a").await, rig.agent("b").await);
    let reading = rig.start(Format::TarZst, &["a", "b"]);
    let mut first = first.ordered().await;
    let mut second = passing(second.ordered()).await;
    first.files(&[("x", b"late, and not too late")]).await;
    second.files(&[("x", b"1")]).await;
    first.finish().await;
    second.finish().await;
    assert_eq!(reading.bundle().await.verdict, Verdict::Complete);
}

#[tokio::test]
async fn no_place_is_held_for_a_node_that_left_while_it_queued() {
    let rig = Rig::new(|settings| settings.active_nodes = 1);
    let (first, away, last) = (rig.agent("a").await, rig.agent("b").await, rig.agent("c").await);
    let reading = rig.start(Format::TarZst, &["a", "b", "c"]);
    let first = first.ordered().await;
    drop(away);
    soon(async {
        while rig.engine.online(&name("b")).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    first.finish().await;
    last.ordered().await.finish().await;
    // It is waited for all the same.
    rig.agent("b").await.ordered().await.finish().await;
    assert_eq!(reading.bundle().await.verdict, Verdict::Complete);
}

#[tokio::test]
async fn a_node_that_refuses_says_why_in_the_bundle() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let agent = rig.agent("a").await.ordered().await;
    assert_eq!(agent.end(Outcome::Skipped, "not\ntoday").await.status, StatusCode::NO_CONTENT);
    let bundle = reading.bundle().await;
    assert_eq!(bundle.verdict, Verdict::Partial);
    assert_eq!(bundle.node("a")["outcome"], "skipped");
    assert!(bundle.warnings.contains("not\\ntoday"), "{}", bundle.warnings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_the_nodes() {
    let rig = Rig::new(|settings| {
        settings.active_nodes = 64;
        settings.memory = 24 << 20;
    });
    let names: Vec<String> = (0..64).map(|number| format!("n{number}")).collect();
    let nodes: Vec<&str> = names.iter().map(String::as_str).collect();
    let reading = rig.start(Format::TarZst, &nodes);
    let engine = rig.engine.clone();
    let most = std::sync::atomic::AtomicU64::new(0);
    let work = nodes.iter().enumerate().map(async |(seed, node)| {
        let mut agent = rig.agent(node).await.ordered().await;
        for part in 0..3 {
            agent.files(&[(&format!("f{part}"), &noise((seed * 8 + part) as u64, 300_000))]).await;
            most.fetch_max(engine.figures().memory_used, std::sync::atomic::Ordering::Relaxed);
        }
        agent.finish().await;
    });
    futures_util::future::join_all(work).await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.verdict, Verdict::Complete);
    assert_eq!(bundle.files.len(), 64 * 3 + 5);
    assert!(most.into_inner() <= 24 << 20);
    rig.all_is_free().await;
}

#[tokio::test]
async fn a_cancelled_download_tells_its_agents_and_frees_everything() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    agent.files(&[("x", b"1")]).await;
    let part = agent.parts("large", &noise(1, 2 * SEGMENT_RAW)).swap_remove(0);
    agent.send(part, false).await;
    soon(async {
        while rig.engine.figures().spool_used == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    reading.leave();
    assert!(matches!(agent.line().await, Some(Down::Cancel { reason, .. }) if reason.contains("client")));
    assert_eq!(rig.end().await.0, TaskEnd::Cancelled);
    rig.all_is_free().await;
    let late = agent.put(&agent.segment(frames(&agent.entry("y", b"2")), true, Vec::new())).await;
    assert_eq!(late.status, StatusCode::GONE);
}
