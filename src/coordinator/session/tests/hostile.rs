//! Lying nodes: one test per rule, each through the real route. What they sent before stays, everyone else's data too.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;

use super::kit::{Agent, Answer, Rig, frames, head};
use crate::bundle::Format;
use crate::bundle::frame::{Compressor, FRAME_RAW};
use crate::bundle::outcome::Verdict;
use crate::bundle::segment::{Note, Segment};
use crate::coordinator::receive::BODY;
use crate::coordinator::run::{Event, Settings};

/// Sends what `lie` makes of the agent, and checks that it costs the liar its part and nobody else anything.
async fn out(change: impl FnOnce(&mut Settings), lie: impl AsyncFnOnce(&Agent) -> Answer, rule: &str) {
    let rig = Rig::new(change);
    let reading = rig.start(Format::TarZst, &["liar", "honest"]);
    let mut liar = rig.agent("liar").await.ordered().await;
    let mut honest = rig.agent("honest").await.ordered().await;
    liar.files(&[("true", b"1")]).await;
    let answer = lie(&liar).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{answer:?}");
    assert_eq!(answer.json()["code"], "rule_broken");
    let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(rule), "{message}");
    rig.event(|event| matches!(event, Event::Warning(text) if text.contains("liar") && text.contains(rule))).await;
    let late = liar.put(&liar.segment(frames(&liar.entry("late", b"1")), true, Vec::new())).await;
    assert_eq!(late.status, StatusCode::GONE);
    honest.files(&[("x", b"1")]).await;
    honest.finish().await;
    let bundle = reading.bundle().await;
    assert_eq!(bundle.verdict, Verdict::Partial);
    assert_eq!(bundle.files["nodes/liar/true"], b"1");
    assert_eq!(bundle.files["nodes/honest/x"], b"1");
    assert_eq!((&bundle.node("liar")["outcome"], &bundle.node("liar")["files"]), (&json!("failed"), &json!(1)));
    assert_eq!(bundle.node("honest")["outcome"], "collected");
    assert_eq!(rig.engine.figures().nodes_lost, 1);
}

/// Sends some tar as a segment of whole entries.
async fn tar(agent: &Agent, tar: &[u8]) -> Answer {
    agent.put(&agent.segment(frames(tar), true, Vec::new())).await
}

/// An entry whose header is changed by hand; the checksum is made right again.
fn forged(agent: &Agent, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut tar = agent.entry("x", b"1");
    change(&mut tar[..512]);
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar
}

fn renamed(agent: &Agent, path: &str) -> Vec<u8> {
    forged(agent, |header| {
        header[..100].fill(0);
        header[..path.len()].copy_from_slice(path.as_bytes());
    })
}

/// An entry that is legal but for where it lies.
fn elsewhere(path: &str) -> Vec<u8> {
    head(path, 0)
}

fn order(agent: &Agent) -> String {
    agent.order.as_ref().expect("an order").bundle.clone()
}

#[tokio::test]
async fn a_path_that_climbs() {
    let lie = async |a: &Agent| tar(a, &renamed(a, &format!("{}/nodes/liar/../x", order(a)))).await;
    out(|_| {}, lie, "`..`").await;
}

#[tokio::test]
async fn an_absolute_path() {
    out(|_| {}, async |a: &Agent| tar(a, &renamed(a, "/etc/passwd")).await, "absolute").await;
}

#[tokio::test]
async fn another_nodes_folder() {
    let lie = async |a: &Agent| tar(a, &elsewhere(&format!("{}/nodes/honest/x", order(a)))).await;
    out(|_| {}, lie, "outside").await;
}

#[tokio::test]
async fn the_bundles_own_files() {
    let lie = async |a: &Agent| tar(a, &elsewhere(&format!("{}/SEAL.json", order(a)))).await;
    out(|_| {}, lie, "outside").await;
}

#[tokio::test]
async fn another_bundles_folder() {
    let lie = async |a: &Agent| tar(a, &elsewhere("sheaf_other_20261121T093000Z_00000000/nodes/liar/x")).await;
    out(|_| {}, lie, "outside").await;
}

#[tokio::test]
async fn links_devices_and_fifos() {
    for kind in b"123467" {
        out(|_| {}, async |a: &Agent| tar(a, &forged(a, |header| header[156] = *kind)).await, "").await;
    }
}

#[tokio::test]
async fn a_set_id_mode() {
    let lie = async |a: &Agent| tar(a, &forged(a, |header| header[100..108].copy_from_slice(b"0004755\0"))).await;
    out(|_| {}, lie, "mode").await;
}

#[tokio::test]
async fn an_owner() {
    let lie = async |a: &Agent| tar(a, &forged(a, |header| header[108..116].copy_from_slice(b"0001750\0"))).await;
    out(|_| {}, lie, "owner").await;
}

#[tokio::test]
async fn an_end_of_archive() {
    let lie = async |a: &Agent| {
        let mut bytes = a.entry("x", b"1");
        bytes.extend_from_slice(&[0; 1024]);
        tar(a, &bytes).await
    };
    out(|_| {}, lie, "end of archive").await;
}

#[tokio::test]
async fn a_declared_size_of_8_eib() {
    let lie = async |a: &Agent| {
        let path = format!("{}/nodes/liar/x", order(a));
        a.put(&a.segment(frames(&head(&path, (1 << 63) - 1024)), false, Vec::new())).await
    };
    out(|_| {}, lie, "budget of bytes").await;
}

#[tokio::test]
async fn more_entries_than_allowed() {
    let lie = async |a: &Agent| tar(a, &[a.entry("d/e/f", b"1"), a.entry("y", b"1")].concat()).await;
    out(|settings| settings.node_entries = 6, lie, "budget of entries").await;
}

#[tokio::test]
async fn a_bomb() {
    // 20 MiB of zeros in a few kilobytes.
    let lie = async |a: &Agent| {
        let mut bytes = head(&format!("{}/nodes/liar/x", order(a)), 20 << 20);
        bytes.resize(bytes.len() + (20 << 20), 0);
        tar(a, &bytes).await
    };
    out(|_| {}, lie, "decompresses to more").await;
}

#[tokio::test]
async fn a_frame_that_lies_about_its_size() {
    let lie = async |a: &Agent| {
        let bytes = zstd::bulk::compress(&vec![0; 3 * FRAME_RAW], 1).expect("a frame");
        a.put(&a.segment(Bytes::from(bytes), true, Vec::new())).await
    };
    out(|_| {}, lie, "frame").await;
}

#[tokio::test]
async fn bytes_that_are_no_frame() {
    let lie = async |a: &Agent| a.put(&a.segment(Bytes::from_static(b"no frame at all"), true, Vec::new())).await;
    out(|_| {}, lie, "frame").await;
}

#[tokio::test]
async fn a_frame_with_a_flipped_bit() {
    let lie = async |a: &Agent| {
        let raw = a.entry("x", &super::kit::noise(1, 100_000));
        let mut bytes = Compressor::new().and_then(|mut c| c.frame(&raw)).expect("a frame").bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        a.put(&a.segment(bytes.into(), true, Vec::new())).await
    };
    out(|_| {}, lie, "decompress").await;
}

#[tokio::test]
async fn a_wrong_digest() {
    let lie = async |a: &Agent| {
        let mut segment = a.segment(frames(&a.entry("x", b"1")), true, Vec::new());
        segment.head.digest = blake3::hash(b"other").to_hex().to_string();
        a.put(&segment).await
    };
    out(|_| {}, lie, "digest").await;
}

#[tokio::test]
async fn a_head_that_is_not_its_address() {
    let lie = async |a: &Agent| {
        let mut segment = a.segment(frames(&a.entry("x", b"1")), true, Vec::new());
        segment.head.number += 1;
        send_to(a, 1, &segment).await
    };
    out(|_| {}, lie, "another segment").await;
}

async fn send_to(agent: &Agent, number: u64, segment: &Segment) -> Answer {
    agent.call(Method::PUT, &format!("/agent/v1/tasks/7/attempts/1/segments/{number}"), segment.encode()).await
}

#[tokio::test]
async fn a_head_that_is_no_json() {
    let lie = async |a: &Agent| {
        let body = [&[0, 0, 0, 4][..], b"nope"].concat();
        a.call(Method::PUT, "/agent/v1/tasks/7/attempts/1/segments/1", body).await
    };
    out(|_| {}, lie, "malformed").await;
}

#[tokio::test]
async fn a_body_that_is_too_large() {
    let lie = async |a: &Agent| a.call(Method::PUT, "/agent/v1/tasks/7/attempts/1/segments/1", vec![0; BODY + 1]).await;
    out(|_| {}, lie, "longer").await;
}

#[tokio::test]
async fn a_path_that_came_before() {
    out(|_| {}, async |a: &Agent| tar(a, &a.entry("true", b"2")).await, "already").await;
}

#[tokio::test]
async fn an_end_that_is_none() {
    let lie = async |a: &Agent| {
        let part = a.parts("large", &super::kit::noise(1, 5 << 20)).swap_remove(0);
        a.put(&a.segment(part, true, Vec::new())).await
    };
    out(|_| {}, lie, "does not end").await;
}

#[tokio::test]
async fn half_an_entry_after_a_whole_one() {
    let lie = async |a: &Agent| {
        let mut bytes = a.entry("x", b"1");
        bytes.extend_from_slice(&a.entry("y", &[7; 4096])[..2048]);
        a.put(&a.segment(frames(&bytes), false, Vec::new())).await
    };
    out(|_| {}, lie, "part of an entry").await;
}

#[tokio::test]
async fn nothing_at_all() {
    out(|_| {}, async |a: &Agent| a.put(&a.segment(Bytes::new(), true, Vec::new())).await, "empty").await;
}

#[tokio::test]
async fn more_notes_than_allowed() {
    let lie = async |a: &Agent| {
        let notes = (0..9).map(|n| Note { path: format!("gone{n}"), ..Note::default() }).collect();
        a.put(&a.segment(Bytes::new(), true, notes)).await
    };
    out(|settings| settings.node_entries = 8, lie, "notes are beyond").await;
}

#[tokio::test]
async fn a_lie_inside_an_entry_leaves_it_cut() {
    for live_from in [0, u64::MAX] {
        let rig = Rig::new(|settings| (settings.live_from, settings.turn_rate) = (live_from, 1));
        let reading = rig.start(Format::TarZst, &["liar"]);
        let mut liar = rig.agent("liar").await.ordered().await;
        let content = super::kit::noise(1, 9 << 20);
        let part = liar.parts("large", &content).swap_remove(0);
        let length = (4 << 20) - 512;
        liar.send(part, false).await;
        let answer = liar.put(&liar.segment(Bytes::from_static(b"no frame at all"), false, Vec::new())).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        let bundle = reading.bundle().await;
        assert_eq!(bundle.node("liar")["outcome"], "failed");
        assert_eq!(bundle.file("nodes/liar/large")["length"], length);
        assert!(bundle.files["nodes/liar/large"][..length] == content[..length]);
    }
}

#[tokio::test]
async fn requests_without_a_good_token_and_for_others_tasks() {
    let rig = Rig::new(|_| {});
    let reading = rig.start(Format::TarZst, &["a"]);
    let mut agent = rig.agent("a").await.ordered().await;
    let body = agent.segment(frames(&agent.entry("x", b"1")), true, Vec::new()).encode();
    let path = "/agent/v1/tasks/7/attempts/1/segments/0";
    let answer = rig.call(Method::PUT, path, "no such node!", body.clone()).await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthenticated")));
    // The node is the token's: another one has no part in this task, whatever the URL says.
    assert_eq!(rig.call(Method::PUT, path, "other", body.clone()).await.status, StatusCode::GONE);
    let elsewhere = path.replace("tasks/7", "tasks/8");
    assert_eq!(rig.call(Method::PUT, &elsewhere, "a", body.clone()).await.status, StatusCode::GONE);
    let early = path.replace("attempts/1", "attempts/2");
    assert_eq!(rig.call(Method::PUT, &early, "a", body).await.status, StatusCode::GONE);
    for bad in ["tasks/x/attempts/1/segments/0", "tasks/7/attempts/-1/segments/0"] {
        let status = rig.call(Method::PUT, &format!("/agent/v1/{bad}"), "a", "").await.status;
        assert!(status.is_client_error(), "{status}");
    }
    agent.files(&[("x", b"1")]).await;
    agent.finish().await;
    assert_eq!(reading.bundle().await.verdict, Verdict::Complete);
}
