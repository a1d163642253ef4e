//! States, logs, and what a restart leaves of a task.

use serde_json::{Value, json};

use super::*;
use crate::coordinator::kit::Kit;
use crate::coordinator::run::{Event, Step, StepState, TaskEnd, TaskLog as _};

const ALL: [TaskState; 6] = [
    TaskState::Queued,
    TaskState::Processing,
    TaskState::Cancelling,
    TaskState::Cancelled,
    TaskState::Done,
    TaskState::Errored,
];

async fn tasks(kit: &Kit) -> Tasks {
    Tasks::open(kit.store(), kit.clock.clone(), Retention::default(), kit.shutdown.clone()).await.expect("opened")
}

fn wanted() -> NewTask {
    NewTask { kind: "bundle".into(), description: "bundle\nof x".into(), user: "admin".into(), ..NewTask::default() }
}

async fn over(tasks: &Tasks, id: TaskId) -> TaskRow {
    loop {
        let row = tasks.find(id).await.expect("there");
        if row.state.is_final() {
            return row;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn work_runs_as_a_task_and_its_end_is_the_tasks() {
    let kit = Kit::new().await;
    let tasks = tasks(&kit).await;
    let id = tasks
        .spawn(wanted(), |work| async move {
            let Event::Step(step) = step(StepState::Started) else { unreachable!("a step") };
            work.step(step).await;
            work.warning("slow").await;
            work.debug("a detail").await;
            work.append_result(b"{\"a\":1}\n".to_vec()).await?;
            work.append_result(b"{\"a\":2}\n".to_vec()).await?;
            Ok("two lines".to_owned())
        })
        .await
        .expect("begun");
    let row = over(&tasks, id).await;
    assert_eq!((row.state, row.result.as_deref()), (TaskState::Done, Some("two lines")));
    assert_eq!(log(&tasks, id, Log::Result).await, "{\"a\":1}\n{\"a\":2}\n");
    assert_eq!(log(&tasks, id, Log::Event).await.lines().count(), 2);
    assert!(log(&tasks, id, Log::Debug).await.ends_with(" a detail\n"));
    assert!(!tasks.stop(id), "what is over cannot be stopped");
}

#[tokio::test]
async fn work_that_fails_or_panics_is_errored_and_says_why() {
    let kit = Kit::new().await;
    let tasks = tasks(&kit).await;
    let failed = async |_: Work| Err(TaskError::new(190_012, "no such job"));
    let id = tasks.spawn(wanted(), failed).await.expect("begun");
    assert_eq!(over(&tasks, id).await.result.as_deref(), Some("no such job"));
    let line: Value = serde_json::from_str(log(&tasks, id, Log::Event).await.trim_end()).expect("an object");
    assert_eq!(line["error"], json!({"code": 190_012, "message": "no such job"}));
    let id = tasks.spawn(wanted(), async |_: Work| panic!("a fault of ours")).await.expect("begun");
    let row = over(&tasks, id).await;
    assert_eq!(row.state, TaskState::Errored);
    assert!(row.result.as_deref().expect("a line").contains("inside the coordinator"));
}

#[tokio::test]
async fn work_stops_when_asked_and_is_dropped_when_it_does_not() {
    let kit = Kit::new().await;
    let tasks = tasks(&kit).await;
    let polite = async |work: Work| {
        work.unless_cancelled(std::future::pending::<()>()).await?;
        Ok(String::new())
    };
    let (dropped, is_dropped) = tokio::sync::oneshot::channel::<()>();
    let deaf = async move |_: Work| {
        let _dropped = dropped;
        std::future::pending::<Result<String, TaskError>>().await
    };
    let (polite, deaf) = (tasks.spawn(wanted(), polite).await, tasks.spawn(wanted(), deaf).await);
    for id in [polite.expect("begun"), deaf.expect("begun")] {
        while tasks.find(id).await.expect("there").state != TaskState::Processing {
            tokio::task::yield_now().await;
        }
        tasks.cancelling(id).await.expect("asked");
        assert!(tasks.stop(id));
        let row = over(&tasks, id).await;
        assert_eq!((row.state, row.result.as_deref()), (TaskState::Cancelled, Some("cancelled")));
    }
    is_dropped.await.expect_err("what it held is free");
}

#[tokio::test]
async fn a_stop_of_the_coordinator_ends_work_with_a_reason() {
    let kit = Kit::new().await;
    let tasks = tasks(&kit).await;
    let work = async |work: Work| {
        work.unless_cancelled(std::future::pending::<()>()).await?;
        Ok(String::new())
    };
    let id = tasks.spawn(wanted(), work).await.expect("begun");
    while tasks.find(id).await.expect("there").state != TaskState::Processing {
        tokio::task::yield_now().await;
    }
    kit.shutdown.stop();
    let row = over(&tasks, id).await;
    assert_eq!((row.state, row.result.as_deref()), (TaskState::Errored, Some("the coordinator is stopping")));
    assert!(matches!(tasks.spawn(wanted(), async |_: Work| Ok(String::new())).await, Err(Refusal::Busy)));
}

#[tokio::test]
async fn who_sees_a_part_sees_tasks_of_its_clusters_alone() {
    let kit = Kit::new().await;
    let tasks = tasks(&kit).await;
    let (ours, theirs) = (ClusterId::random(), ClusterId::random());
    let mut ids = Vec::new();
    let about: [(&str, &[ClusterId]); 5] =
        [("a", &[ours]), ("a", &[theirs]), ("b", &[theirs]), ("b", &[]), ("b", &[ours, theirs])];
    for (user, clusters) in about {
        let task = NewTask { user: user.into(), clusters: clusters.iter().copied().collect(), ..wanted() };
        ids.push(tasks.create(task).await.expect("made"));
    }
    let deployment =
        NewTask { deployment: "d".parse().ok(), context_id: Some("c".into()), kind: "vms".into(), ..wanted() };
    ids.push(tasks.create(deployment).await.expect("made"));
    let listed = async |filter| tasks.list(filter).await.expect("listed").iter().map(|row| row.id).collect::<Vec<_>>();
    let sight = |user: &str| Some(Sight { clusters: vec![ours], user: user.into() });
    assert_eq!(listed(TaskFilter { sight: sight("b"), ..TaskFilter::default() }).await, [ids[3], ids[0]]);
    assert_eq!(listed(TaskFilter { sight: sight("x"), ..TaskFilter::default() }).await, [ids[0]]);
    for filter in [
        TaskFilter { deployment: "d".parse().ok(), ..TaskFilter::default() },
        TaskFilter { context_id: Some("c".into()), ..TaskFilter::default() },
        TaskFilter { without_kinds: vec!["bundle".into()], ..TaskFilter::default() },
    ] {
        assert_eq!(listed(filter).await, [ids[5]]);
    }
}

#[tokio::test]
async fn tasks_that_are_too_old_are_forgotten_at_the_start() {
    let kit = Kit::new().await;
    let before = tasks(&kit).await;
    let id = before.create(wanted()).await.expect("made");
    before.end(id, TaskState::Cancelled, "no").await.expect("ended");
    kit.clock.advance(Duration::from_secs(90 * 24 * 3600 + 1));
    let kit = kit.restarted().await;
    assert!(matches!(tasks(&kit).await.find(id).await, Err(Refusal::NotFound(_))));
}

fn step(state: StepState) -> Event {
    Event::Step(Step {
        stage: "Collecting",
        tags: vec!["n1".into()],
        total: 2,
        task: "n1".into(),
        index: 1,
        state,
        progress: 50,
        data: Some(json!({"bytes": 7})),
    })
}

async fn log(tasks: &Tasks, id: TaskId, log: Log) -> String {
    String::from_utf8(tasks.read(id, log, 0, 1 << 20).await.expect("read").bytes).expect("text")
}

#[test]
fn nothing_follows_an_end_and_every_word_is_known() {
    for state in ALL {
        assert_eq!(state_word(state.as_str()), Some(state));
        assert!(legal_before(state).iter().all(|before| !before.is_final()));
    }
    assert_eq!(state_word("error"), None);
}

#[tokio::test]
async fn only_legal_steps_are_taken() {
    let kit = Kit::new().await;
    let tasks = tasks(&kit).await;
    for to in ALL {
        let id = tasks.create(wanted()).await.expect("made");
        let legal = legal_before(to).contains(&TaskState::Queued);
        let moved = tasks.to(id, to).await;
        assert_eq!(moved.is_ok(), legal, "queued to {to}");
        if let Err(refusal) = moved {
            assert!(matches!(refusal, Refusal::Conflict(_)));
        }
    }
    assert!(matches!(tasks.begin(TaskId(999)).await, Err(Refusal::NotFound(_))));
    let id = tasks.create(wanted()).await.expect("made");
    for to in [TaskState::Processing, TaskState::Done] {
        tasks.to(id, to).await.expect("legal");
    }
    let Err(Refusal::Conflict(why)) = tasks.to(id, TaskState::Cancelling).await else { panic!("it is over") };
    assert_eq!(why, format!("task {id} is over: it is done"));
}

#[tokio::test]
async fn a_log_is_one_object_a_line_and_complete_before_the_end() {
    let kit = Kit::new().await;
    let tasks = tasks(&kit).await;
    let time = kit.clock.now_ms() / 1000;
    let id = tasks.create(wanted()).await.expect("made");
    tasks.begin(id).await.expect("begun");
    tasks.event(id, step(StepState::Started)).await;
    tasks.event(id, Event::Warning("a\nb \"c\"".into())).await;
    tasks.event(id, step(StepState::Failed)).await;
    kit.clock.advance(Duration::from_secs(60));
    tasks.finish(id, TaskEnd::Done, "partial".into()).await;
    tasks.event(id, step(StepState::Finished)).await;
    let text = log(&tasks, id, Log::Event).await;
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert!(text.ends_with('\n'));
    assert_eq!(lines.len(), 3, "nothing is added to what is over");
    assert_eq!(
        lines[0],
        json!({"time": time, "stage": "Collecting", "tags": ["n1"], "total": 2, "task": "n1", "index": 1,
            "state": "started", "progress": 50, "data": {"bytes": 7}})
    );
    assert_eq!(lines[1]["type"], "warning");
    let row = tasks.find(id).await.expect("there");
    assert_eq!((row.state, row.result.as_deref()), (TaskState::Done, Some("partial")));
    assert_eq!(row.finished_ms.zip(row.started_ms).map(|(end, start)| end - start), Some(60_000));
    assert_eq!(log(&tasks, id, Log::Result).await, "partial\n");
    assert_eq!(row.description, "bundle\\nof x");
}

#[tokio::test]
async fn an_errored_task_says_why_in_its_log() {
    let kit = Kit::new().await;
    let tasks = tasks(&kit).await;
    let id = tasks.create(wanted()).await.expect("made");
    tasks.begin(id).await.expect("begun");
    tasks.finish(id, TaskEnd::Errored, "the spool is full".into()).await;
    let text = log(&tasks, id, Log::Event).await;
    let line: Value = serde_json::from_str(text.trim_end()).expect("an object");
    assert_eq!(line["error"]["message"], "the spool is full");
    assert!(line["error"]["code"].is_u64());
}

#[tokio::test]
async fn a_restart_ends_what_was_running() {
    let kit = Kit::new().await;
    let before = tasks(&kit).await;
    let (queued, running, done) = (
        before.create(wanted()).await.expect("made"),
        before.create(wanted()).await.expect("made"),
        before.create(wanted()).await.expect("made"),
    );
    before.begin(running).await.expect("begun");
    before.begin(done).await.expect("begun");
    before.end(done, TaskState::Done, "complete").await.expect("ended");
    let kit = kit.restarted().await;
    let after = tasks(&kit).await;
    for id in [queued, running] {
        let row = after.find(id).await.expect("there");
        assert_eq!((row.state, row.result.as_deref()), (TaskState::Errored, Some("the coordinator was restarted")));
        assert!(log(&after, id, Log::Event).await.contains("restarted"));
    }
    assert_eq!(after.find(done).await.expect("there").state, TaskState::Done);
}

#[tokio::test]
async fn tasks_are_listed_newest_first_and_filtered() {
    let kit = Kit::new().await;
    let tasks = tasks(&kit).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(tasks.create(wanted()).await.expect("made"));
    }
    tasks.begin(ids[1]).await.expect("begun");
    let listed = async |filter| tasks.list(filter).await.expect("listed").iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(listed(TaskFilter::default()).await, [ids[3], ids[2], ids[1], ids[0]]);
    assert_eq!(listed(TaskFilter { limit: Some(0), ..TaskFilter::default() }).await, [ids[3]]);
    let processing = TaskFilter { states: vec![TaskState::Processing], ..TaskFilter::default() };
    assert_eq!(listed(processing).await, [ids[1]]);
    assert!(listed(TaskFilter { kinds: vec!["vms".into()], ..TaskFilter::default() }).await.is_empty());
}

#[tokio::test]
async fn an_end_that_finds_the_disk_full_is_written_when_there_is_room() {
    let kit = Kit::new().await;
    let tasks = tasks(&kit).await;
    let id = tasks.create(wanted()).await.expect("made");
    tasks.begin(id).await.expect("begun");
    tasks.store.bound_pages(1).await.expect("bounded");
    tasks.finish(id, TaskEnd::Done, "complete ".repeat(1000)).await;
    assert_eq!(tasks.find(id).await.expect("readable").state, TaskState::Processing);
    tasks.store.bound_pages(1 << 20).await.expect("room again");
    assert_eq!(tasks.find(id).await.expect("readable").state, TaskState::Done);
}
