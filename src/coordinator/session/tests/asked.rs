//! Questions to agents: answered, late, repeated, by the wrong node, many at once.

use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::kit::{Agent, LONG, Rig, name, soon};
use crate::coordinator::run::AskError;
use crate::protocol::agents::{Down, Vitals};
use crate::protocol::questions::{Answer, Applied, Apply, Ask, Deployment, Job, Question, Reply};

type Asking = JoinHandle<Result<Reply, AskError>>;

fn ask(rig: &Rig, node: &str, question: Question, deadline: Duration) -> Asking {
    let (engine, node) = (rig.engine.clone(), name(node));
    tokio::spawn(async move { engine.ask(&node, "admin", question, deadline).await })
}

async fn asked(agent: &mut Agent) -> Ask {
    match agent.line().await {
        Some(Down::Ask(ask)) => ask,
        other => panic!("a question, not {other:?}"),
    }
}

fn vitals(uptime_secs: u64) -> Answer {
    Answer::Reply(Reply::Vitals(Box::new(Vitals { uptime_secs, ..Vitals::default() })))
}

async fn answer(agent: &Agent, id: Uuid, answer: &Answer) -> StatusCode {
    let body = serde_json::to_vec(answer).expect("JSON");
    agent.call(Method::POST, &format!("/agent/v1/answers/{id}"), body).await.status
}

async fn replied(asking: Asking) -> Result<Reply, AskError> {
    soon(asking).await.expect("joined")
}

fn uptime(reply: Result<Reply, AskError>) -> u64 {
    match reply.expect("a reply") {
        Reply::Vitals(vitals) => vitals.uptime_secs,
        other => panic!("vitals, not {other:?}"),
    }
}

#[tokio::test]
async fn a_question_is_answered_once_and_by_its_node_alone() {
    let rig = Rig::new(|_| {});
    let (mut one, two) = (rig.agent("one").await, rig.agent("two").await);
    let asking = ask(&rig, "one", Question::Vitals, LONG);
    let question = asked(&mut one).await;
    assert_eq!((question.requested_by.as_str(), &question.question), ("admin", &Question::Vitals));
    assert_eq!(question.wait_ms, LONG.as_millis() as u64);
    assert_eq!(answer(&two, question.id, &vitals(666)).await, StatusCode::NOT_FOUND, "another node's");
    assert_eq!(answer(&one, Uuid::new_v4(), &vitals(666)).await, StatusCode::NOT_FOUND, "never asked");
    assert_eq!(answer(&one, question.id, &vitals(5)).await, StatusCode::NO_CONTENT);
    assert_eq!(answer(&one, question.id, &vitals(6)).await, StatusCode::NOT_FOUND, "repeated");
    assert_eq!(uptime(replied(asking).await), 5);
}

#[tokio::test]
async fn what_does_not_come_in_time_is_dropped_when_it_comes() {
    let rig = Rig::new(|_| {});
    let mut agent = rig.agent("one").await;
    // An agent that does not know the line behaves the same way: it says nothing.
    let asking = ask(&rig, "one", Question::Vitals, Duration::from_millis(1));
    let question = asked(&mut agent).await;
    assert_eq!(replied(asking).await, Err(AskError::TimedOut));
    assert_eq!(answer(&agent, question.id, &vitals(5)).await, StatusCode::NOT_FOUND);
    // The session goes on.
    let asking = ask(&rig, "one", Question::Vitals, LONG);
    let question = asked(&mut agent).await;
    assert_eq!(answer(&agent, question.id, &vitals(7)).await, StatusCode::NO_CONTENT);
    assert_eq!(uptime(replied(asking).await), 7);
}

#[tokio::test]
async fn a_question_outlives_its_session_and_ends_with_the_agents_process() {
    let rig = Rig::new(|_| {});
    assert_eq!(replied(ask(&rig, "one", Question::Vitals, LONG)).await, Err(AskError::NotConnected));
    let mut agent = rig.agent("one").await;
    let asking = ask(&rig, "one", Question::Vitals, LONG);
    let question = asked(&mut agent).await;
    // As after a reload: the same process says hello anew, and is asked the same.
    let mut again = agent.again().await;
    assert_eq!(asked(&mut again).await.id, question.id);
    assert_eq!(answer(&again, question.id, &vitals(5)).await, StatusCode::NO_CONTENT);
    assert_eq!(uptime(replied(asking).await), 5);
    let asking = ask(&rig, "one", Question::Vitals, LONG);
    let question = asked(&mut again).await;
    let other = rig.agent("one").await;
    assert_eq!(replied(asking).await, Err(AskError::NotConnected));
    assert_eq!(answer(&other, question.id, &vitals(5)).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_refusal_is_said_in_the_agents_words_and_nonsense_is_one() {
    let rig = Rig::new(|_| {});
    let mut agent = rig.agent("one").await;
    let refusal = Answer::Refused { reason: format!("no\x1b[2J\n{}", "x".repeat(10_000)) };
    let other = Answer::Reply(Reply::Forgotten { was_kept: true });
    for (given, expected) in [(refusal, "no\\u{1b}[2J\\nxxx"), (other, "another kind")] {
        let asking = ask(&rig, "one", Question::Vitals, LONG);
        let question = asked(&mut agent).await;
        assert_eq!(answer(&agent, question.id, &given).await, StatusCode::NO_CONTENT);
        let Err(AskError::Refused(reason)) = replied(asking).await else { panic!("refused") };
        assert!(reason.contains(expected) && reason.len() < 600, "{reason}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_refused_and_its_question_stays_open() {
    let rig = Rig::new(|_| {});
    let mut agent = rig.agent("one").await;
    let asking = ask(&rig, "one", Question::Vitals, LONG);
    let id = asked(&mut agent).await.id;
    let path = format!("/agent/v1/answers/{id}");
    for (body, expected) in [
        (b"".to_vec(), StatusCode::BAD_REQUEST),
        (b"{\"reply\":{\"vitals\":7}}".to_vec(), StatusCode::BAD_REQUEST),
        (b"{\"reply\":{\"sing\":{}}}".to_vec(), StatusCode::BAD_REQUEST),
        (vec![b' '; 2 << 20], StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(agent.call(Method::POST, &path, body).await.status, expected);
    }
    let bad = agent.call(Method::POST, "/agent/v1/answers/7", "{}").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        rig.call(Method::POST, &path, "", serde_json::to_vec(&vitals(6)).expect("JSON")).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(answer(&agent, id, &vitals(5)).await, StatusCode::NO_CONTENT);
    assert_eq!(uptime(replied(asking).await), 5);
}

#[tokio::test]
async fn what_a_node_says_is_cut_to_what_a_screen_can_show() {
    let rig = Rig::new(|_| {});
    let mut agent = rig.agent("one").await;
    let asking = ask(&rig, "one", Question::Vitals, LONG);
    let id = asked(&mut agent).await.id;
    let mut said: Value = serde_json::to_value(vitals(5)).expect("JSON");
    let unit = json!({"name": "u".repeat(2000), "state": "active", "sub_state": "running", "uptime_secs": 1,
        "mem_kb": 1, "mem_percent": 0.1, "cpu_percent": 0.1});
    said["reply"]["vitals"]["units"] = Value::Array(vec![unit; 400]);
    let body = serde_json::to_vec(&said).expect("JSON");
    assert_eq!(agent.call(Method::POST, &format!("/agent/v1/answers/{id}"), body).await.status, StatusCode::NO_CONTENT);
    let Ok(Reply::Vitals(vitals)) = replied(asking).await else { panic!("vitals") };
    assert!(vitals.units.len() <= 256 && vitals.units.iter().all(|unit| unit.name.len() <= 256));
}

#[tokio::test]
async fn many_nodes_are_asked_at_once_and_one_that_hangs_holds_up_nobody() {
    let rig = Rig::new(|_| {});
    let nodes: Vec<String> = (0..200).map(|n| format!("n{n}")).collect();
    let mut agents = Vec::new();
    for node in &nodes {
        agents.push(rig.agent(node).await);
    }
    let hanging = rig.agent("hanging").await;
    let lost = ask(&rig, "hanging", Question::Vitals, LONG);
    let asking: Vec<Asking> = nodes.iter().map(|node| ask(&rig, node, Question::Vitals, LONG)).collect();
    // Every one is on its way before the first is answered.
    let questions = join_all(agents.iter_mut().map(asked)).await;
    for (n, (agent, question)) in agents.iter().zip(&questions).enumerate().rev() {
        assert_eq!(answer(agent, question.id, &vitals(n as u64)).await, StatusCode::NO_CONTENT);
    }
    for (n, asking) in asking.into_iter().enumerate() {
        assert_eq!(uptime(replied(asking).await), n as u64);
    }
    drop(hanging);
    assert_eq!(replied(lost).await, Err(AskError::NotConnected));
}

#[tokio::test]
async fn a_node_that_reads_no_questions_keeps_its_session_and_its_orders() {
    let rig = Rig::new(|_| {});
    let mut agent = rig.agent("one").await;
    let asking: Vec<Asking> = (0..64).map(|_| ask(&rig, "one", Question::Vitals, LONG)).collect();
    let mut refused = 0;
    let mut open = Vec::new();
    for (n, asking) in asking.into_iter().enumerate() {
        // Those that found room wait; the others were refused at once.
        if n < 16 { open.push(asking) } else { refused += usize::from(replied(asking).await.is_err()) }
    }
    assert_eq!(refused, 48);
    let sent = rig.engine.roll().send(&name("one"), Down::Ping);
    assert!(sent, "there is room for orders");
    for asking in open {
        let question = asked(&mut agent).await;
        assert_eq!(answer(&agent, question.id, &vitals(1)).await, StatusCode::NO_CONTENT);
        assert_eq!(uptime(replied(asking).await), 1);
    }
}

#[tokio::test]
async fn what_a_node_keeps_is_known_without_asking_again() {
    let rig = Rig::new(|_| {});
    let mut agent = rig.agent("one").await;
    let kept = || rig.engine.online(&name("one")).expect("online").hello.deployments.clone();
    assert!(kept().is_empty());
    let job = Job { collector: "logs".to_owned(), ..Job::default() };
    let deployment = Deployment { name: "web".to_owned(), jobs: vec![job] };
    let digest = deployment.digest();
    let apply = Apply { deployment, recreate: false, skip_drain: false };
    let asking = ask(&rig, "one", Question::Apply(apply.clone()), LONG);
    let question = asked(&mut agent).await;
    assert_eq!(question.question, Question::Apply(apply));
    let applied = Applied { digest: digest.clone(), changed: true };
    let applied = Answer::Reply(Reply::Applied(applied));
    assert_eq!(answer(&agent, question.id, &applied).await, StatusCode::NO_CONTENT);
    assert!(replied(asking).await.is_ok());
    assert_eq!(
        kept().iter().map(|kept| (kept.name.as_str(), kept.digest.clone())).collect::<Vec<_>>(),
        [("web", digest)]
    );
    let asking = ask(&rig, "one", Question::Forget { deployment: "web".to_owned() }, LONG);
    let question = asked(&mut agent).await;
    let forgotten = Answer::Reply(Reply::Forgotten { was_kept: true });
    assert_eq!(answer(&agent, question.id, &forgotten).await, StatusCode::NO_CONTENT);
    assert!(replied(asking).await.is_ok());
    assert!(kept().is_empty());
}
