//! One node's part in a download, from when its turn has come to its row in the manifest.
//!
//! Segments come in through the node's [`Door`], are verified, acknowledged, and placed into the output; what goes wrong ends here,
//! as a reason, and costs this node alone. Only time that the node takes for itself counts against it: while the lane waits for the
//! output's turn, or a request waits for memory, the node is excused.
//!
//! A new process of the agent may go on inside the entry that the old one left open: see `restart`.

mod judge;
mod place;
mod restart;
mod tempo;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::Instant;

use self::place::Hold;
use self::restart::RESTARTED;
use self::tempo::Tempo;
use super::NodePart;
use super::door::{Answer, Door, Link, Message};
use super::doors::Opened;
use super::download::Run;
use super::queue::{REVOKED, Waiting};
use crate::bundle::check::Budget;
use crate::bundle::manifest::NodeRow;
use crate::bundle::outcome::Outcome;
use crate::clock;
use crate::coordinator::merge::Over;
use crate::coordinator::receive::Inbound;
use crate::coordinator::verify::{Verified, Verifier, VerifyError};
use crate::id::NodeName;
use crate::protocol::agents::{Down, Finish, NodeBudget, Order};
use crate::report;

/// Between two lines of progress of a node in the task's log.
const PROGRESS: std::time::Duration = std::time::Duration::from_secs(5);
/// A node must send this part of the rate that holds a turn, on the whole, and may make these pauses in all.
const DRIP: u64 = 64;
const PAUSES: std::time::Duration = std::time::Duration::from_secs(3600);

/// Why a node is left out whose agent would ignore what the request asks to take out.
const UNABLE: &str = "its agent is too old to take out what this request asks for; update it, or ask without --redact";

/// Why a node's part ended.
#[derive(Debug)]
pub(super) enum End {
    /// It says itself how.
    Finished(Outcome, String),
    /// It did not come, or stands still, or is gone.
    Lost(String),
    /// It broke a rule.
    Hostile(String),
    /// The whole download is over.
    Over,
}

impl From<Over> for End {
    fn from(_: Over) -> Self {
        Self::Over
    }
}

enum Event {
    Link,
    Message(Box<Message>),
    Nothing,
}

/// One node's part.
pub(super) struct Lane {
    run: Arc<Run>,
    node: NodeName,
    /// What is wanted of this node alone.
    part: NodePart,
    index: u64,
    door: Arc<Door>,
    inbox: mpsc::Receiver<Box<Message>>,
    link: watch::Receiver<Link>,
    has_turn: watch::Sender<bool>,
    verifier: Verifier,
    hold: Hold,
    /// A new process of the agent was told of the open entry, and has not said yet whether it goes on with it.
    resuming: bool,
    /// The node's place among those that send at the same time; none while it waits for one, or does nothing.
    slot: Option<OwnedSemaphorePermit>,
    tempo: Tempo,
    whole: Tempo,
    notes: (u64, u64),
    instance: Option<uuid::Uuid>,
    /// Bytes that the node was told it may give, once its turn has come.
    allowed: Option<u64>,
    row: NodeRow,
    raw: u64,
    /// Bytes that the node will have sent in all, as it guesses.
    expected: Option<u64>,
    cut: u64,
    told: Instant,
}

impl Lane {
    /// The part of a node that is connected and has a place.
    pub(super) fn new(
        run: Arc<Run>,
        Waiting { part, index }: Waiting,
        Opened { door, inbox, has_turn }: Opened,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let node = part.node.clone();
        let budget = Budget { bytes: run.settings.node_bytes, entries: run.settings.node_entries };
        let verifier = Verifier::new(&run.bundle, &node, budget, run.format, door.share.clone(), run.bench.clone());
        Self {
            verifier,
            hold: Hold::Between,
            resuming: false,
            slot: Some(slot),
            tempo: Tempo::new(run.settings.turn_rate, run.settings.stall),
            whole: Tempo::whole_part(run.settings.turn_rate / DRIP, PAUSES),
            notes: (0, 0),
            instance: None,
            allowed: None,
            row: NodeRow { name: node.to_string(), ..NodeRow::default() },
            raw: 0,
            expected: None,
            cut: 0,
            told: Instant::now(),
            link: door.watch(),
            run,
            node,
            part,
            index,
            door,
            inbox,
            has_turn,
        }
    }

    /// Runs the whole part; what became of the node is its row.
    pub(super) async fn run(mut self) -> NodeRow {
        let end = match self.collect().await {
            Err(end) => end,
            Ok(never) => match never {},
        };
        self.conclude(end).await
    }

    async fn collect(&mut self) -> Result<std::convert::Infallible, End> {
        self.allowed = Some(self.run.purse.take());
        self.run.events.started(&self.node, self.index).await;
        self.door.begin_attempt();
        self.door.pace.moved();
        self.linked().await?;
        loop {
            match self.next().await? {
                Event::Link => self.linked().await?,
                Event::Message(message) => {
                    if self.slot.is_none() {
                        // It goes on as well where all places are taken: what it may hold in memory is bounded by other means.
                        self.slot = Arc::clone(&self.run.slots).try_acquire_owned().ok();
                    }
                    self.message(*message).await?;
                }
                Event::Nothing if self.is_late_to_resume() => self.order_anew().await?,
                Event::Nothing => self.judge()?,
            }
        }
    }

    /// Waits for what comes next, and counts the time that is the node's own.
    async fn next(&mut self) -> Result<Event, End> {
        let (from, held_up) = (Instant::now(), self.door.pace.held_up());
        let due = self.due();
        let event = tokio::select! {
            biased;
            changed = self.link.changed() => changed.map(|()| Event::Link).map_err(|_| End::Over)?,
            message = self.inbox.recv() => Event::Message(message.ok_or(End::Over)?),
            () = tokio::time::sleep(due) => Event::Nothing,
        };
        let excused = self.door.pace.held_up().saturating_sub(held_up);
        let own = from.elapsed().saturating_sub(excused);
        self.tempo.waited(own);
        self.whole.waited(own);
        Ok(event)
    }

    /// The connection came, went, or is another agent process's.
    async fn linked(&mut self) -> Result<(), End> {
        let link = *self.link.borrow_and_update();
        let instance = match link {
            Link::Down => {
                // Whoever is gone does not pause.
                self.door.pace.resume();
                return Ok(());
            }
            Link::Revoked => return Err(revoked()),
            Link::Up(instance) => instance,
        };
        if self.instance.replace(instance).is_some_and(|before| before != instance) {
            self.restarted().await?;
        }
        if let Some(online) = self.run.roll.online(&self.node) {
            self.row.agent_version = online.hello.agent_version.clone();
            self.row.clock_offset_ms = online.clock_offset_ms;
            if !self.run.redact.is_empty() && !online.hello.redacts_asked {
                return Err(End::Lost(UNABLE.to_owned()));
            }
        }
        self.order();
        Ok(())
    }

    /// Says what to collect, and from where on.
    fn order(&self) {
        let (attempt, next) = self.door.position();
        let order = Order {
            task: self.run.task,
            attempt,
            next,
            bundle: self.run.bundle.to_string(),
            node: self.node.to_string(),
            collectors: self.part.collectors.as_ref().unwrap_or(&self.run.collectors).clone(),
            picks: self.part.picks.clone(),
            deployment: self.part.deployment.clone(),
            window: self.run.window,
            redact: self.run.redact.clone(),
            requested_by: self.run.requested_by.clone(),
            case: self.run.case.clone(),
            budget: Some(self.budget()),
            open: if self.resuming { self.open_entry() } else { None },
        };
        // Not sent means not connected: the next session brings it.
        self.run.roll.dispatch(&self.node, order);
    }

    /// What the node may give, and what it has given of that in earlier attempts.
    fn budget(&self) -> NodeBudget {
        let (settings, (mut spent_bytes, mut spent_entries)) = (&self.run.settings, self.spent());
        if self.resuming
            && let Some(open) = self.verifier.inside()
        {
            // Whoever goes on with it counts it anew.
            spent_bytes = spent_bytes.saturating_sub(open.declared);
            spent_entries = spent_entries.saturating_sub(1);
        }
        let bytes = self.allowed.unwrap_or(settings.node_bytes);
        NodeBudget { bytes, entries: settings.node_entries, spent_bytes, spent_entries }
    }

    /// Bytes and entries that were charged to the node.
    fn spent(&self) -> (u64, u64) {
        let (settings, left) = (&self.run.settings, self.verifier.left());
        (settings.node_bytes - left.bytes, settings.node_entries - left.entries)
    }

    async fn message(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Segment(inbound, reply) => self.segment(inbound, reply).await,
            Message::Finish(finish, reply) => self.finish(finish, reply),
            Message::Paused(paused) => {
                let granted = self.door.pace.pause(std::time::Duration::from_millis(paused.most_ms));
                if matches!(self.hold, Hold::Between) {
                    self.slot = None;
                }
                let reason = report::brief(&paused.reason, 200);
                self.run.events.paused(&self.node, self.index, (self.raw, self.expected), &reason, granted);
                Ok(())
            }
            Message::Hostile(reason) => Err(End::Hostile(reason)),
        }
    }

    async fn segment(&mut self, inbound: Inbound, reply: oneshot::Sender<Answer>) -> Result<(), End> {
        // The same segment may have come twice at once.
        if let Some(answer) = self.door.look(inbound.address()) {
            let _ = reply.send(answer);
            return Ok(());
        }
        if std::mem::take(&mut self.resuming) {
            self.resumed(inbound.continues()).await?;
        }
        let estimate = inbound.estimate();
        let verified = match self.verifier.check(inbound).await {
            Ok(verified) => verified,
            Err(error) => {
                let reason = report::brief(&error.to_string(), 200);
                self.run.counts.refused();
                let _ = reply.send(Answer::Refused(reason.clone()));
                return Err(match error {
                    VerifyError::Fault(_) => End::Hostile(reason),
                    VerifyError::Broken => End::Lost("the coordinator could not check it".to_owned()),
                });
            }
        };
        if let Err(reason) = self.charge_notes(&verified) {
            self.run.counts.refused();
            let _ = reply.send(Answer::Refused(reason.to_owned()));
            return Err(End::Hostile(reason.to_owned()));
        }
        // An agent that was restarted guesses anew, and does not know what is held of it.
        if let (None, Some(more)) = (self.expected, estimate) {
            self.expected = Some(self.raw.saturating_add(more));
        }
        self.count(&verified);
        self.note(&verified).await;
        self.door.advance();
        let (_, next) = self.door.position();
        // From here on it is held: in memory, then in the spool or the output.
        let _ = reply.send(Answer::Held(next));
        // The check took our time, not the node's.
        self.door.pace.moved();
        self.place(verified).await?;
        if self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            self.run.events.progress(&self.node, self.index, self.raw, self.expected);
        }
        Ok(())
    }

    fn count(&mut self, verified: &Verified) {
        let (raw, wire) = (verified.raw_bytes(), verified.wire_bytes());
        self.tempo.came(raw);
        self.whole.came(raw);
        self.raw += raw;
        self.row.wire_bytes += wire;
        self.run.counts.segment(wire);
        if self.row.started_at.is_none() {
            self.row.started_at = Some(clock::rfc3339(self.run.clock.now_ms()));
        }
    }

    /// Writes the entries that end in it, and what it says of sources without one, into the list of what was delivered.
    async fn note(&self, verified: &Verified) {
        if !self.door.note((verified.rows(), verified.notes()), &format!("nodes/{}/", self.node)) {
            return;
        }
        let (door, run) = (Arc::clone(&self.door), Arc::clone(&self.run));
        let keeping = tokio::task::spawn_blocking(move || door.keep(&run.settings.spool_dir, &run.quota));
        keeping.await.expect("keeping does not panic");
    }

    fn finish(&mut self, finish: Finish, reply: oneshot::Sender<Answer>) -> Result<(), End> {
        let (attempt, next) = self.door.position();
        if finish.attempt != attempt {
            let _ = reply.send(Answer::Over);
            return Ok(());
        }
        if finish.segments != next {
            let _ = reply.send(Answer::Elsewhere(next));
            return Ok(());
        }
        self.row.paused_ms = finish.paused_ms;
        self.door.took(finish.clone());
        let _ = reply.send(Answer::Held(next));
        if !self.resuming && !matches!(self.hold, Hold::Between) {
            return Err(End::Lost("its agent ended inside a file".to_owned()));
        }
        Err(End::Finished(finish.outcome, report::brief(&finish.reason, 500)))
    }

    /// Completes what is open, frees what is held, and says what became of the node.
    async fn conclude(mut self, end: End) -> NodeRow {
        self.slot = None;
        let reason = match &end {
            End::Finished(_, reason) | End::Lost(reason) | End::Hostile(reason) => reason.clone(),
            End::Over => String::new(),
        };
        if !matches!(end, End::Over) {
            // An output that is over has no use for the rest.
            let reason = if self.resuming { RESTARTED } else { &reason };
            let _ = self.complete_open_entry(reason).await;
        }
        self.hold = Hold::Between;
        if let Some(allowed) = self.allowed {
            self.run.purse.give_back(allowed.saturating_sub(self.spent().0));
        }
        self.has_turn.send_replace(false);
        let worked = self.door.at_work();
        self.row.attempts = self.door.position().0;
        self.run.doors.through(&self.node, self.door.taken());
        self.row.finished_at = Some(clock::rfc3339(self.run.clock.now_ms()));
        (self.row.outcome, self.row.reason) = self.outcome(&end, reason);
        if worked && matches!(end, End::Lost(_) | End::Hostile(_)) {
            let cancel = Down::Cancel { task: self.run.task, reason: self.row.reason.clone() };
            self.run.roll.send(&self.node, cancel);
        }
        self.run.events.ended(&self.row, self.index, matches!(end, End::Hostile(_)), self.raw).await;
        self.row
    }
}

fn revoked() -> End {
    End::Lost(REVOKED.to_owned())
}
