//! A node's door into a download: where the listener's requests meet the node's lane.
//!
//! Requests come in from the listener with a node that its token proved; the lane answers them, one after the other. The door also
//! keeps the list of what the node has delivered whole. It never reads a body and never decides what a node may do.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bundle::check::EntryRow;
use crate::bundle::manifest::RedactedRow;
use crate::bundle::segment::Note;
use crate::coordinator::merge::{Charged, Quota};
use crate::coordinator::receive::{Address, Inbound, Pace, Share};
use crate::protocol::agents::{Finish, Held, Paused};

/// What the listener tells the lane.
pub(super) enum Message {
    /// A segment that was read.
    Segment(Inbound, oneshot::Sender<Answer>),
    /// The node is done, or refuses.
    Finish(Finish, oneshot::Sender<Answer>),
    /// The node pauses.
    Paused(Paused),
    /// The node sent what no honest agent sends.
    Hostile(String),
}

/// The answer to a segment or an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Held; the number that is next.
    Held(u64),
    /// Another number is next.
    Elsewhere(u64),
    /// The node has no part in the task, or no more.
    Over,
    /// It breaks a rule, and the node is out.
    Refused(String),
}

/// How the node is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Not at all.
    Down,
    /// By a session of this agent process.
    Up(Uuid),
    /// Never again.
    Revoked,
}

/// Where the node's stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    attempt: u32,
    next: u64,
    over: bool,
}

/// Bytes of the list of what a node has delivered that stay in memory: most nodes never need a file for it.
const PENDING: usize = 16 << 10;

/// What a node has delivered whole: a [`Held`] a line, in an unlinked file, and the last of it in memory.
enum Ledger {
    Whole {
        file: Option<Arc<Mutex<Charged>>>,
        pending: Vec<u8>,
    },
    /// There was no room to keep it.
    Lost,
}

impl Ledger {
    const EMPTY: Self = Self::Whole { file: None, pending: Vec::new() };
}

/// One node's door into one download.
pub struct Door {
    inbox: mpsc::Sender<Box<Message>>,
    link: watch::Sender<Link>,
    position: Mutex<Position>,
    ledger: Mutex<Ledger>,
    closed: CancellationToken,
    finished: Mutex<Option<Finish>>,
    /// The node's pace.
    pub pace: Pace,
    /// The memory its segments may take.
    pub share: Share,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Door {
    /// A door, and where its messages arrive.
    pub(super) fn new(share: Share) -> (Self, mpsc::Receiver<Box<Message>>) {
        let (inbox, messages) = mpsc::channel(1);
        let door = Self {
            inbox,
            link: watch::Sender::new(Link::Down),
            position: Mutex::new(Position { attempt: 0, next: 0, over: false }),
            ledger: Mutex::new(Ledger::EMPTY),
            closed: CancellationToken::new(),
            finished: Mutex::new(None),
            pace: Pace::default(),
            share,
        };
        (door, messages)
    }

    /// Says how the node is connected now.
    pub(super) fn link(&self, link: Link) {
        self.link.send_if_modified(|now| {
            // A revoked node stays revoked, and a session of the same process is news all the same.
            let news = *now != Link::Revoked;
            if news {
                *now = link;
            }
            news
        });
    }

    pub(super) fn watch(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// The answer to a segment that can be given without reading it.
    pub fn look(&self, address: Address) -> Option<Answer> {
        let position = *lock(&self.position);
        if position.over || address.attempt != position.attempt {
            return Some(Answer::Over);
        }
        match address.number.cmp(&position.next) {
            std::cmp::Ordering::Less => Some(Answer::Held(address.number + 1)),
            std::cmp::Ordering::Greater => Some(Answer::Elsewhere(position.next)),
            std::cmp::Ordering::Equal => None,
        }
    }

    /// Attempt and next number.
    pub(super) fn position(&self) -> (u32, u64) {
        let position = lock(&self.position);
        (position.attempt, position.next)
    }

    /// Whether the node has been sent an order and is not done with it.
    pub(super) fn at_work(&self) -> bool {
        let position = lock(&self.position);
        position.attempt > 0 && !position.over
    }

    pub(super) fn advance(&self) {
        lock(&self.position).next += 1;
    }

    pub(super) fn begin_attempt(&self) -> u32 {
        let mut position = lock(&self.position);
        position.attempt += 1;
        position.next = 0;
        position.attempt
    }

    /// Ends the node's part: everyone who waits is answered, and the list is gone.
    pub(super) fn close(&self) {
        lock(&self.position).over = true;
        *lock(&self.ledger) = Ledger::EMPTY;
        self.closed.cancel();
    }

    /// Whether the node's part is over.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Resolves when the node's part is over. Cancel safe.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Hands a segment to the lane and waits for its answer.
    pub async fn segment(&self, inbound: Inbound) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.ask(Message::Segment(inbound, reply), answer).await
    }

    /// Hands the node's end to the lane and waits for its answer. The same end again is answered the same.
    pub async fn finish(&self, finish: Finish) -> Answer {
        let taken = || lock(&self.finished).as_ref() == Some(&finish);
        if !taken() {
            let (reply, answer) = oneshot::channel();
            let answer = self.ask(Message::Finish(finish.clone(), reply), answer).await;
            // It may have been taken from another request while this one waited.
            if !taken() {
                return answer;
            }
        }
        Answer::Held(finish.segments)
    }

    /// Remembers the end that was taken.
    pub(super) fn took(&self, finish: Finish) {
        *lock(&self.finished) = Some(finish);
    }

    /// The end that was taken.
    pub(super) fn taken(&self) -> Option<Finish> {
        lock(&self.finished).clone()
    }

    /// Says that the node pauses. Of an attempt that is over, nothing is said.
    pub async fn pause(&self, paused: Paused) {
        if paused.attempt == self.position().0 {
            tokio::select! {
                () = self.closed() => {}
                _ = self.inbox.send(Box::new(Message::Paused(paused))) => {}
            }
        }
    }

    /// Says that the node sent what no honest agent sends.
    pub async fn hostile(&self, reason: String) {
        tokio::select! {
            () = self.closed() => {}
            _ = self.inbox.send(Box::new(Message::Hostile(reason))) => {}
        }
    }

    async fn ask(&self, message: Message, answer: oneshot::Receiver<Answer>) -> Answer {
        tokio::select! {
            biased;
            // The lane answers before it closes the door, so this is asked first.
            answer = async {
                match self.inbox.send(Box::new(message)).await {
                    Ok(()) => answer.await.unwrap_or(Answer::Over),
                    Err(_) => Answer::Over,
                }
            } => answer,
            () = self.closed() => Answer::Over,
        }
    }

    /// Notes entries, and what was said of sources without one, as delivered. Answers whether there is enough in memory for [`Door::keep`].
    pub(super) fn note(&self, (rows, notes): (&[EntryRow], &[Note]), folder: &str) -> bool {
        let mut ledger = lock(&self.ledger);
        let Ledger::Whole { pending, .. } = &mut *ledger else { return false };
        for note in notes {
            let redacted = RedactedRow::of(note).filter(|_| note.entry).map(Box::new);
            if !note.entry || redacted.is_some() {
                pending.extend(serde_json::to_vec(&Held::Noted { noted: note.key(), redacted }).unwrap_or_default());
                pending.push(b'\n');
            }
        }
        for row in rows {
            let below = row.path.as_str().strip_prefix(folder).unwrap_or(row.path.as_str());
            pending.extend(serde_json::to_vec(below).unwrap_or_default());
            pending.push(b'\n');
        }
        pending.len() >= PENDING
    }

    /// Brings what was noted from memory to the file. Blocks. Without room the list is lost, and with it only the way back after a restart.
    pub(super) fn keep(&self, spool: &Path, quota: &Quota) {
        let mut ledger = lock(&self.ledger);
        let Ledger::Whole { file, pending } = &mut *ledger else { return };
        let made = match file.take() {
            Some(file) => Ok(file),
            None => quota.file(spool).map(|file| Arc::new(Mutex::new(file))),
        };
        match made {
            Ok(made) if lock(&made).append(&[&pending[..]]).is_ok() => {
                pending.clear();
                *file = Some(made);
            }
            _ => *ledger = Ledger::Lost,
        }
    }

    /// Whether the list of what was delivered is whole.
    pub(super) fn knows_held(&self) -> bool {
        !matches!(*lock(&self.ledger), Ledger::Lost)
    }

    /// Reads the list from `at`: `None` at its end. Blocks.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn held(&self, at: u64) -> io::Result<Option<Vec<u8>>> {
        let ledger = lock(&self.ledger);
        let Ledger::Whole { file, pending } = &*ledger else { return Ok(None) };
        let written = file.as_ref().map_or(0, |file| lock(file).length());
        if let Some(file) = file.as_ref().filter(|_| at < written) {
            let file = Arc::clone(file);
            // Whoever notes more is not to wait for the disk.
            drop(ledger);
            let most = usize::try_from(written - at).unwrap_or(usize::MAX).min(64 << 10);
            return lock(&file).read(at, most).map(Some);
        }
        let rest = usize::try_from(at - written).ok().and_then(|from| pending.get(from..));
        Ok(rest.filter(|rest| !rest.is_empty()).map(<[u8]>::to_vec))
    }
}
