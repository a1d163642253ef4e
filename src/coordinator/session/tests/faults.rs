//! What goes wrong without anybody lying: nodes that never come, stall, die; readers that leave; no room.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use serde_json::json;

use super::kit::{LONG, Rig, name, noise, passing, soon};
use crate::bundle::Format;
use crate::bundle::outcome::{Outcome, Verdict};
use crate::coordinator::run::{Event, StartError, StepState, TaskEnd};
use crate::limits::SEGMENT_RAW;
use crate::protocol::agents::Down;
use crate::protocol::redaction::AskedRule;

#[tokio::test(start_paused = true)]
async fn a_node_that_never_connects_is_skipped_and_says_so_in_the_bundle() {
    let rig = Rig::new(|settings| settings.grace = Duration::from_secs(5));
    let agent = rig.agent("a").await;
    let reading = rig.start(Format::TarZst, &["a", "ghost"]);
    let mut agent = agent.ordered().await;
    agent.files(&[("x", b"1")]).await;
    agent.finish().await;
    passing(rig.over("ghost")).await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.verdict, Verdict::Partial);
    let row = bundle.node("ghost");
    assert_eq!((&row["outcome"], &row["files"], &row["attempts"]), (&json!("skipped"), &json!(0), &json!(0)));
    assert!(bundle.warnings.contains("ghost: skipped: not connected"), "{}", bundle.warnings);
    assert_eq!(bundle.node("a")["outcome"], "collected");
    let (state, data) = rig.over("ghost").await;
    assert_eq!(state, StepState::Failed);
    assert!(data["error"].as_str().is_some_and(|error| error.contains("not connected")), "{data}");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_refuse_every_order_are_named_before_they_are_asked() {
    let rig = Rig::new(|_| {});
    let on = rig.agent("on").await;
    let mut off = Vec::new();
    for number in 1..=6 {
        off.push(rig.agent(&format!("off-{number}")).await.refusing().await);
    }
    let names: Vec<String> = (1..=6).map(|number| format!("off-{number}")).chain(["on".to_owned()]).collect();
    let reading = rig.start(Format::TarZst, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let said = rig.event(|event| matches!(event, Event::Warning(_))).await;
    let named = "off-1, off-2, off-3, off-4, off-5 … and 1 more";
    assert_eq!(said, Event::Warning(format!("collection is switched off on 6 nodes: {named}")));
    // The order comes all the same: who asked is written down at the node.
    for agent in off {
        agent.ordered().await.end(Outcome::Skipped, "collection is switched off on this node").await;
    }
    let mut on = on.ordered().await;
    on.files(&[("x", b"1")]).await;
    on.finish().await;
    let bundle = reading.bundle().await;
    assert_eq!((bundle.verdict, &bundle.node("off-6")["outcome"]), (Verdict::Partial, &json!("skipped")));
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_agent_knows_no_rules_of_requests_is_left_out_where_there_are_any() {
    let rig = Rig::new(|_| {});
    let (new, _old) = (rig.agent("new").await, rig.agent("old").await.of_old().await);
    let rule = AskedRule::parse("customer=customer=(\\w+)").expect("a rule");
    let started = rig.try_start_without(Format::TarZst, &["new", "old"], vec![rule.clone()]);
    let reading = rig.reading(started.expect("a download"));
    let mut new = new.ordered().await;
    assert_eq!(new.order.as_ref().expect("an order").redact, [rule]);
    new.files(&[("x", b"1")]).await;
    new.finish().await;
    let bundle = reading.bundle().await;
    assert_eq!((bundle.verdict, &bundle.node("old")["outcome"]), (Verdict::Partial, &json!("skipped")));
    assert!(bundle.warnings.contains("old: skipped: its agent is too old"), "{}", bundle.warnings);
    assert_eq!(bundle.node("new")["outcome"], "collected");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_pauses_is_waited_for_and_seen_to_pause() {
    let rig = Rig::new(|settings| settings.patience = Duration::from_secs(60));
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    agent.files(&[("before", b"1")]).await;
    let paused = json!({"attempt": 1, "reason": "memory pressure", "most_ms": 300_000}).to_string();
    let answer = agent.call(Method::POST, "/agent/v1/tasks/7/pause", paused).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let pauses = |event: &Event| matches!(event, Event::Step(step) if step.data.as_ref().is_some_and(|data| data["paused"] == "memory pressure"));
    rig.event(pauses).await;
    for _ in 0..100 {
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    agent.files(&[("after", b"2")]).await;
    agent.finish().await;
    let bundle = reading.bundle().await;
    assert_eq!((bundle.verdict, &bundle.node("a")["outcome"]), (Verdict::Complete, &json!("collected")));
}

#[tokio::test(start_paused = true)]
async fn a_pause_does_not_last_for_ever() {
    let rig = Rig::new(|settings| settings.patience = Duration::from_secs(60));
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    agent.files(&[("before", b"1")]).await;
    let paused = json!({"attempt": 1, "reason": "x", "most_ms": u64::MAX}).to_string();
    agent.call(Method::POST, "/agent/v1/tasks/7/pause", paused).await;
    passing(rig.over("a")).await;
    assert_eq!(reading.bundle().await.node("a")["outcome"], "truncated");
}

#[tokio::test]
async fn a_disk_at_its_floor_costs_nothing_but_the_spool() {
    let rig = Rig::new(|settings| settings.floor = crate::floor::Floor::unreachable());
    let reading = rig.start(Format::TarZst, &["a", "b"]);
    let mut first = rig.agent("a").await.ordered().await;
    let mut second = rig.agent("b").await.ordered().await;
    let content = noise(3, 3 * SEGMENT_RAW);
    first.large("large", &content).await;
    second.files(&[("x", b"1")]).await;
    second.finish().await;
    first.finish().await;
    assert_eq!(reading.bundle().await.verdict, Verdict::Complete);
}

#[tokio::test]
async fn a_node_that_was_there_says_when_it_was_last_seen() {
    let rig = Rig::new(|settings| settings.grace = Duration::ZERO);
    drop(rig.agent("a").await);
    let bundle = rig.start(Format::TarZst, &["a"]).bundle().await;
    assert!(bundle.warnings.contains("not connected (last seen 20"), "{}", bundle.warnings);
}

#[tokio::test]
async fn a_node_that_connects_within_the_grace_is_not_skipped() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["late"]);
    let mut agent = rig.agent("late").await.ordered().await;
    agent.files(&[("x", b"1")]).await;
    agent.finish().await;
    assert_eq!(reading.bundle().await.verdict, Verdict::Complete);
}

/// Stalls inside a large entry, which is live only if there is no `spool`: while the clock stands still no node is eager.
async fn stalls_inside(spool: u64, dies: bool) {
    for format in [Format::TarZst, Format::Tar] {
        let rig = Rig::new(|settings| settings.spool = spool);
        let reading = rig.start(format, &["a", "b"]);
        let mut staller = rig.agent("a").await.ordered().await;
        let mut other = rig.agent("b").await.ordered().await;
        let content = noise(1, 3 * SEGMENT_RAW);
        staller.files(&[("before", b"1")]).await;
        let parts = staller.parts("large", &content);
        staller.send(parts[0].clone(), false).await;
        staller.send(parts[1].clone(), false).await;
        let staller = if dies {
            drop(staller);
            None
        } else {
            Some(staller)
        };
        other.files(&[("x", b"1")]).await;
        passing(other.finish()).await;
        passing(rig.over("a")).await;
        let bundle = reading.bundle().await;
        assert_eq!(bundle.verdict, Verdict::Partial);
        assert_eq!(bundle.node("b")["outcome"], "collected");
        assert_eq!(bundle.node("a")["outcome"], "truncated");
        assert_eq!(bundle.files["nodes/a/before"], b"1");
        let row = bundle.file("nodes/a/large");
        let length = 2 * SEGMENT_RAW - 512;
        assert_eq!((&row["outcome"], &row["length"]), (&json!("truncated"), &json!(length)));
        let got = &bundle.files["nodes/a/large"];
        assert_eq!(got.len(), content.len());
        assert!(got[..length] == content[..length] && got[length..].iter().all(|byte| *byte == 0));
        let why = if dies { "connection lost" } else { "stalled" };
        assert!(bundle.warnings.contains(why), "{}", bundle.warnings);
        if let Some(mut staller) = staller {
            assert!(matches!(staller.line().await, Some(Down::Cancel { .. })), "it is told that it is out");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stall_inside_a_live_entry_is_padded() {
    stalls_inside(0, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_stall_inside_a_spooled_entry_is_padded() {
    stalls_inside(1 << 30, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_death_inside_a_live_entry_is_padded() {
    stalls_inside(0, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_death_inside_a_spooled_entry_is_padded() {
    stalls_inside(1 << 30, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_silent_between_entries_keeps_what_it_sent() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a", "b"]);
    let mut agent = rig.agent("a").await.ordered().await;
    let _silent = rig.agent("b").await.ordered().await;
    agent.files(&[("x", b"1")]).await;
    passing(async { futures_util::future::join(rig.over("a"), rig.over("b")).await }).await;
    let bundle = reading.bundle().await;
    assert_eq!((&bundle.node("a")["outcome"], &bundle.node("b")["outcome"]), (&json!("truncated"), &json!("skipped")));
    assert!(bundle.warnings.contains("no sign of life"), "{}", bundle.warnings);
    assert_eq!(bundle.files["nodes/a/x"], b"1");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_only_drips_is_given_up() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    // Never still for long enough to be a stall, and hardly a byte in hours.
    let dripping = async {
        for number in 0.. {
            let tar = agent.entry(&format!("f{number}"), b"drop");
            let answer = agent.put(&agent.segment(super::kit::frames(&tar), true, Vec::new())).await;
            if answer.status == StatusCode::GONE {
                break;
            }
            agent.next += 1;
            for _ in 0..20 {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        }
    };
    soon(dripping).await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.node("a")["outcome"], "truncated");
    assert!(bundle.warnings.contains("too little for too long"), "{}", bundle.warnings);
}

#[tokio::test]
async fn thousands_of_nodes_that_are_not_there_hold_up_nobody() {
    let rig = Rig::new(|settings| settings.grace = Duration::ZERO);
    let names: Vec<String> = (0..5000).map(|number| format!("n{number}")).chain(["a".to_owned()]).collect();
    let agent = rig.agent("a").await;
    let reading = rig.start(Format::TarZst, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut agent = agent.ordered().await;
    agent.files(&[("x", b"1")]).await;
    agent.finish().await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.manifest["nodes"].as_array().map(Vec::len), Some(5001));
    assert_eq!(bundle.node("a")["outcome"], "collected");
    rig.all_is_free().await;
}

#[tokio::test]
async fn an_agent_that_ends_inside_an_entry_is_cut() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    let part = agent.parts("large", &noise(1, 2 * SEGMENT_RAW)).swap_remove(0);
    agent.send(part, false).await;
    assert_eq!(agent.end(Outcome::Collected, "").await.status, StatusCode::NO_CONTENT);
    let bundle = reading.bundle().await;
    assert_eq!(bundle.verdict, Verdict::Partial);
    assert_eq!(bundle.file("nodes/a/large")["outcome"], "truncated");
}

#[tokio::test]
async fn without_room_in_the_spool_an_entry_goes_live() {
    let rig = Rig::new(|settings| {
        settings.turn_rate = u64::MAX;
        settings.spool = (SEGMENT_RAW + SEGMENT_RAW / 2) as u64;
    });
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    let content = noise(1, 3 * SEGMENT_RAW);
    // The allowance is nothing at this rate, so the parts must come without a pause that the clock can see; whatever
    // becomes of the entry, what was sent of it is in the bundle.
    for (at, part) in agent.parts("large", &content).into_iter().enumerate() {
        let answer = agent.put(&agent.segment(part, at == 3, Vec::new())).await;
        if answer.status != StatusCode::OK {
            break;
        }
        agent.next += 1;
    }
    let _ = agent.end(Outcome::Collected, "").await;
    let bundle = reading.bundle().await;
    let got = &bundle.files["nodes/a/large"];
    assert!(got[..2 * SEGMENT_RAW - 512] == content[..2 * SEGMENT_RAW - 512]);
}

#[tokio::test]
async fn a_spool_that_cannot_be_made_costs_nothing_but_the_choice() {
    let rig = Rig::new(|settings| settings.spool = 0);
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    let content = noise(1, 2 * SEGMENT_RAW);
    agent.large("large", &content).await;
    agent.finish().await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.verdict, Verdict::Complete);
    assert!(bundle.files["nodes/a/large"] == content);
}

#[tokio::test]
async fn a_restart_whose_past_is_not_known_ends_the_node() {
    let rig = Rig::new(|settings| settings.spool = 0);
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    // More than is remembered without a spool.
    let names: Vec<String> = (0..200).map(|number| format!("{}-{number}", "long".repeat(25))).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"1"[..])).collect();
    agent.files(&files).await;
    let _agent = agent.restarted().await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.node("a")["outcome"], "truncated");
    assert!(bundle.warnings.contains("no room to remember"), "{}", bundle.warnings);
}

#[tokio::test]
async fn a_revoked_node_is_out_at_once() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    agent.files(&[("x", b"1")]).await;
    assert!(rig.engine.disconnect(&name("a")));
    let bundle = reading.bundle().await;
    assert!(bundle.warnings.contains("revoked"), "{}", bundle.warnings);
    assert_eq!(bundle.files["nodes/a/x"], b"1");
    let late = agent.put(&agent.segment(super::kit::frames(b""), true, Vec::new())).await;
    assert_eq!(late.status, StatusCode::GONE);
}

#[tokio::test]
async fn an_operator_ends_a_download_and_the_reader_sees_no_clean_end() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let _agent = rig.agent("a").await.ordered().await;
    rig.stop.cancel();
    reading.error().await;
    assert_eq!(rig.end().await, (TaskEnd::Cancelled, "cancelled".to_owned()));
    rig.all_is_free().await;
}

#[tokio::test]
async fn an_agent_that_comes_back_is_told_of_what_ended_meanwhile() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let agent = rig.agent("a").await.ordered().await;
    let working = vec![(crate::id::TaskId(7), 1), (crate::id::TaskId(99), 1)];
    let cancelled = |down: Option<Down>| match down {
        Some(Down::Cancel { task, .. }) => task.0,
        other => panic!("a cancel, not {other:?}"),
    };
    let mut agent = agent.again_working(working.clone()).await;
    let lines = [agent.line().await, agent.line().await];
    let (orders, cancels): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| matches!(line, Some(Down::Collect(order)) if order.task.0 == 7));
    assert_eq!(orders.len(), 1, "what runs goes on");
    assert_eq!(cancels.into_iter().map(cancelled).collect::<Vec<_>>(), [99], "what nobody knows is over");
    rig.stop.cancel();
    reading.error().await;
    rig.all_is_free().await;
    let mut agent = agent.again_working(working).await;
    assert_eq!([cancelled(agent.line().await), cancelled(agent.line().await)], [7, 99]);
}

#[tokio::test]
async fn a_stop_of_the_coordinator_ends_its_downloads_without_a_clean_end() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    assert!(rig.shutdown.finish(LONG).await);
    reading.error().await;
    assert_eq!(rig.end().await.0, TaskEnd::Errored);
    while agent.line().await.is_some() {}
    assert!(matches!(rig.try_start(Format::Tar, &["a"]), Err(StartError::Stopping)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stands_still_is_given_up() {
    let rig = Rig::new(|_| {});
    let mut download = rig.try_start(Format::TarZst, &["a"]).expect("a download");
    let mut agent = rig.agent("a").await.ordered().await;
    // Until nothing moves any more, and for longer than a reader may stand still.
    let sending = async {
        for number in 0.. {
            let tar = agent.entry(&format!("f{number}"), &noise(number, SEGMENT_RAW / 2));
            let answer = agent.put(&agent.segment(super::kit::frames(&tar), true, Vec::new())).await;
            if answer.status == StatusCode::GONE {
                break;
            }
            agent.next += 1;
        }
    };
    passing(sending).await;
    assert_eq!(rig.end().await, (TaskEnd::Errored, "the client stopped reading".to_owned()));
    let mut last = None;
    while let Some(piece) = soon(download.body.next()).await {
        last = Some(piece.is_err());
    }
    assert_eq!(last, Some(true));
}

#[tokio::test]
async fn more_downloads_than_memory_moves_are_refused() {
    let rig = Rig::new(|settings| {
        settings.memory = 1;
    });
    let first = rig.try_start(Format::Tar, &["a"]).expect("a download");
    assert!(matches!(rig.try_start(Format::Tar, &["b"]), Err(StartError::Busy)));
    drop(first);
    assert_eq!(rig.end().await.0, TaskEnd::Cancelled);
    rig.all_is_free().await;
    assert!(matches!(rig.try_start(Format::Tar, &[]), Err(StartError::NoNodes)));
}

#[tokio::test]
async fn a_downloads_stages_stand_in_its_log_in_order() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    agent.files(&[("x", b"1")]).await;
    agent.finish().await;
    reading.bundle().await;
    let mut stages = Vec::new();
    rig.event(
        |event| matches!(event, Event::Step(step) if step.stage == "Sealing" && step.state == StepState::Finished),
    )
    .await;
    for event in rig.events() {
        if let Event::Step(step) = event {
            stages.push((step.stage, step.state));
        }
    }
    let expected: Vec<_> = ["Preparing", "Collecting", "Sealing"]
        .into_iter()
        .flat_map(|stage| [(stage, StepState::Started), (stage, StepState::Finished)])
        .collect();
    assert_eq!(stages, expected);
}
