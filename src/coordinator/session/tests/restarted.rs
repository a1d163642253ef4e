//! Agents that are restarted inside a large entry: they go on, or give it up, or lie about it.

use std::time::Duration;

use serde_json::json;

use super::kit::{Agent, Reading, Rig, name, noise};
use crate::bundle::Format;
use crate::bundle::outcome::{Outcome, Verdict};
use crate::bundle::segment::{Note, OpenEntry};
use crate::limits::{SEGMENT_RAW, STALL};

/// Room in the coordinator's spool for the open entry, which waits there.
const SPOOLED: u64 = 1 << 30;
/// Room for the list of what is held alone: the open entry goes live.
const LIVE: u64 = 64 << 10;
const BOTH: [u64; 2] = [SPOOLED, LIVE];
/// Content in the first part of a large entry.
const FIRST: usize = SEGMENT_RAW - 512;

fn content() -> Vec<u8> {
    noise(1, 2 * SEGMENT_RAW)
}

/// A node whose agent was restarted after the first part of `large`.
async fn restarted(spool: u64) -> (Rig, Reading, Agent) {
    // No node is eager at this rate: where the open entry goes is a matter of room.
    let rig = Rig::new(|settings| (settings.turn_rate, settings.spool) = (u64::MAX, spool));
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    agent.files(&[("one", b"1"), ("two", b"2")]).await;
    let first = agent.parts("large", &content()).swap_remove(0);
    agent.send(first, false).await;
    let agent = agent.restarted().await.ordered().await;
    assert_eq!(agent.order.as_ref().map(|order| (order.attempt, order.next)), Some((2, 0)));
    assert_eq!(agent.held().await, ["one", "two"]);
    (rig, reading, agent)
}

fn told(agent: &Agent) -> Option<OpenEntry> {
    agent.order.as_ref().and_then(|order| order.open.clone())
}

async fn go_on(agent: &mut Agent) {
    let parts = agent.parts("large", &content());
    let answer = agent.put(&agent.continuing(parts[1].clone(), false)).await;
    assert_eq!(answer.ack(), (200, 1), "{answer:?}");
    agent.next = 1;
    agent.send(parts[2].clone(), true).await;
}

#[tokio::test]
async fn an_agent_goes_on_inside_an_entry() {
    for spool in BOTH {
        let (_rig, reading, mut agent) = restarted(spool).await;
        let open = told(&agent).expect("the open entry");
        assert_eq!((open.path.as_str(), open.sent, open.size), ("large", FIRST as u64, content().len() as u64));
        assert_eq!(open.blake3, blake3::hash(&content()[..FIRST]).to_hex().as_str());
        assert_eq!(open.placed, spool == LIVE);
        go_on(&mut agent).await;
        agent.files(&[("small", b"s")]).await;
        agent.finish().await;
        let bundle = reading.bundle().await;
        assert_eq!(bundle.verdict, Verdict::Complete, "{}", bundle.warnings);
        assert!(bundle.files["nodes/a/large"] == content() && bundle.files["nodes/a/small"] == b"s");
        assert_eq!(bundle.node("a")["attempts"], 2);
    }
}

#[tokio::test]
async fn an_agent_may_be_restarted_again_and_go_on_again() {
    for spool in BOTH {
        let (_rig, reading, agent) = restarted(spool).await;
        let agent = agent.restarted().await.ordered().await;
        assert_eq!(told(&agent).expect("still open").sent, FIRST as u64);
        let parts = agent.parts("large", &content());
        assert_eq!(agent.put(&agent.continuing(parts[1].clone(), false)).await.ack(), (200, 1));
        let mut agent = agent.restarted().await.ordered().await;
        assert_eq!(told(&agent).expect("still open").sent, (FIRST + SEGMENT_RAW) as u64);
        assert_eq!(agent.put(&agent.continuing(parts[2].clone(), true)).await.ack(), (200, 1));
        agent.next = 1;
        agent.finish().await;
        let bundle = reading.bundle().await;
        assert_eq!(bundle.verdict, Verdict::Complete, "{}", bundle.warnings);
        assert!(bundle.files["nodes/a/large"] == content());
    }
}

#[tokio::test]
async fn an_entry_in_the_spool_that_is_not_gone_on_with_is_sent_anew() {
    let (_rig, reading, mut agent) = restarted(SPOOLED).await;
    let other = noise(2, 2 * SEGMENT_RAW);
    agent.large("large", &other).await;
    agent.finish().await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.verdict, Verdict::Complete);
    assert!(bundle.files["nodes/a/large"] == other, "the second process's bytes stand there");
}

#[tokio::test]
async fn a_live_entry_that_is_not_gone_on_with_stays_cut() {
    let (_rig, reading, mut agent) = restarted(LIVE).await;
    let other = noise(2, 2 * SEGMENT_RAW);
    agent.large("large~1", &other).await;
    assert_eq!(agent.held().await, ["one", "two", "large", "large~1"]);
    agent.finish().await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.verdict, Verdict::Partial);
    let row = bundle.file("nodes/a/large");
    assert_eq!((&row["outcome"], &row["length"]), (&json!("truncated"), &json!(FIRST)));
    assert!(bundle.files["nodes/a/large"][..FIRST] == content()[..FIRST]);
    assert!(bundle.files["nodes/a/large"][FIRST..].iter().all(|byte| *byte == 0));
    assert!(bundle.files["nodes/a/large~1"] == other);
    assert_eq!(bundle.node("a")["outcome"], "truncated");
}

#[tokio::test]
async fn an_agent_that_has_nothing_more_leaves_what_is_held() {
    for spool in BOTH {
        let (_rig, reading, agent) = restarted(spool).await;
        agent.finish().await;
        let bundle = reading.bundle().await;
        assert_eq!(bundle.verdict, Verdict::Partial);
        let row = bundle.file("nodes/a/large");
        assert_eq!((&row["outcome"], &row["length"]), (&json!("truncated"), &json!(FIRST)), "{spool}");
        assert_eq!(bundle.node("a")["reason"], "a file was cut when its agent was restarted");
    }
}

#[tokio::test]
async fn an_agent_that_goes_on_where_nothing_is_open_is_out() {
    // In the first attempt, and after a restart between entries.
    for after_restart in [false, true] {
        let rig = Rig::new(|_| {});
        let reading = rig.start(Format::TarZst, &["a"]);
        let mut agent = rig.agent("a").await.ordered().await;
        if after_restart {
            agent.files(&[("x", b"1")]).await;
            agent = agent.restarted().await.ordered().await;
            assert_eq!(told(&agent), None);
        }
        let whole = super::kit::frames(&agent.entry("y", b"2"));
        assert_eq!(agent.put(&agent.continuing(whole, true)).await.status, 422);
        let bundle = reading.bundle().await;
        assert_eq!(bundle.node("a")["outcome"], "failed");
        assert!(bundle.warnings.contains("nothing to go on with"), "{}", bundle.warnings);
    }
}

#[tokio::test]
async fn only_the_first_segment_goes_on_and_with_nothing_but_the_rest() {
    for spool in BOTH {
        for lies_later in [true, false] {
            let (_rig, reading, mut agent) = restarted(spool).await;
            let parts = agent.parts("large", &content());
            if lies_later {
                let answer = agent.put(&agent.continuing(parts[1].clone(), false)).await;
                assert_eq!(answer.ack(), (200, 1), "{answer:?}");
                agent.next = 1;
                assert_eq!(agent.put(&agent.continuing(parts[2].clone(), true)).await.status, 422);
            } else {
                let more = [vec![0; 512], agent.entry("y", b"2")].concat();
                let rest = [&parts[1][..], &super::kit::frames(&more)].concat().into();
                assert_eq!(agent.put(&agent.continuing(rest, true)).await.status, 422);
            }
            let bundle = reading.bundle().await;
            assert_eq!(bundle.node("a")["outcome"], "failed");
            assert_eq!(bundle.file("nodes/a/large")["outcome"], "truncated");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_late_to_go_on_is_ordered_anew_without_the_entry() {
    let (rig, reading, mut agent) = restarted(LIVE).await;
    let before = agent.parts("large", &content()).swap_remove(1);
    let late = agent.continuing(before, false);
    tokio::time::advance(STALL).await;
    for _ in 0..8 {
        // Whenever the node's part looks at the clock, its time is up.
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    agent = agent.ordered().await;
    let order = agent.order.as_ref().expect("an order");
    assert_eq!((order.attempt, order.next, &order.open), (3, 0, &None));
    // What was on its way when the order came costs nothing.
    assert_eq!(agent.put(&late).await.status, 410);
    assert_eq!(agent.held().await, ["one", "two", "large"]);
    agent.files(&[("small", b"s")]).await;
    agent.finish().await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.file("nodes/a/large")["outcome"], "truncated");
    assert_eq!(bundle.files["nodes/a/small"], b"s");
    assert!(rig.engine.online(&name("a")).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_entry_in_the_spool_waits_for_its_agent_as_long_as_nobody_waits_for_it() {
    let (_rig, reading, mut agent) = restarted(SPOOLED).await;
    for _ in 0..4 {
        tokio::time::advance(STALL / 2).await;
        // A sign of life, and nothing of the entry.
        agent = agent.again().await.ordered().await;
    }
    go_on(&mut agent).await;
    agent.finish().await;
    assert!(reading.bundle().await.files["nodes/a/large"] == content());
}

#[tokio::test]
async fn what_was_noted_is_told_to_a_restarted_agent() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let agent = rig.agent("a").await.ordered().await;
    let gone = Note { path: "files/*.gone".into(), outcome: Outcome::Skipped, ..Note::default() };
    let own = Note { path: "x".into(), entry: true, ..Note::default() };
    let whole = super::kit::frames(&agent.entry("x", b"1"));
    let segment = agent.segment(whole, true, vec![gone.clone(), own]);
    assert_eq!(agent.put(&segment).await.ack(), (200, 1));
    let agent = agent.restarted().await.ordered().await;
    let lines = agent.held_lines().await;
    assert_eq!(lines, [json!({ "noted": gone.key() }), json!("x")]);
    agent.finish().await;
    assert_eq!(reading.bundle().await.manifest["sources"].as_array().map(Vec::len), Some(1));
}
