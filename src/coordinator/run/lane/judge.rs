//! What is said of a node: whether it has stood still for too long, says more than it may, and what became of it in the end.
//!
//! Asked by the lane, from its own state and the node's pace. Nothing here waits or sends.

use std::time::Duration;

use super::place::Hold;
use super::{End, Lane, Link};
use crate::bundle::outcome::Outcome;
use crate::bundle::segment::Note;
use crate::coordinator::verify::Verified;
use crate::limits::HEARTBEAT;

/// Bytes that a node's notes may take as JSON.
const NOTE_BYTES: u64 = 256 << 20;
/// The shortest time to wait before looking again.
const TICK: Duration = Duration::from_millis(5);

impl Lane {
    /// Time until [`Lane::judge`] may find something.
    pub(super) fn due(&self) -> Duration {
        let settings = &self.run.settings;
        let still = self.door.pace.still();
        let between = || self.quiet_limit().saturating_sub(self.quiet()).min(settings.patience.saturating_sub(still));
        let due = match self.hold {
            _ if self.resuming => self.time_to_resume().map_or(between(), |t| between().min(t.saturating_sub(still))),
            Hold::Between => between(),
            Hold::Spooled(_) => settings.stall.saturating_sub(still),
            Hold::Live(_) => settings.stall.saturating_sub(still).min(self.tempo.left()),
        };
        due.min(self.whole.left()).min(self.place_left()).max(TICK)
    }

    /// Time after which a node between two entries gives its place to one that waits: it may live, and be busy with something that gives
    /// nothing for long, and there are fewer places than nodes.
    fn place_left(&self) -> Duration {
        match (&self.slot, &self.hold) {
            (Some(_), Hold::Between) => self.run.settings.stall.saturating_sub(self.door.pace.still()),
            _ => Duration::MAX,
        }
    }

    /// How long there was no sign of the node at all.
    fn quiet(&self) -> Duration {
        let still = self.door.pace.still();
        self.run.roll.silence(&self.node).map_or(still, |heard| heard.min(still))
    }

    fn quiet_limit(&self) -> Duration {
        let settings = &self.run.settings;
        let gone = *self.link.borrow() == Link::Down;
        // Whatever is set: a node that is well may be silent between two heartbeats, and lose one.
        if gone { settings.stall } else { settings.silence.max(settings.stall).max(HEARTBEAT * 2) }
    }

    /// Whether the node has stood still for too long.
    pub(super) fn judge(&mut self) -> Result<(), End> {
        if self.place_left().is_zero() {
            self.slot = None;
        }
        let settings = &self.run.settings;
        let still = self.door.pace.still();
        let lost = |reason: String| Err(End::Lost(reason));
        if self.whole.left().is_zero() {
            return lost(format!("sent too little for too long, {} bytes in all", self.raw));
        }
        if self.resuming || matches!(self.hold, Hold::Between) {
            if self.quiet() >= self.quiet_limit() {
                let gone = *self.link.borrow() == Link::Down;
                return lost(if gone { "connection lost".to_owned() } else { "no sign of life".to_owned() });
            }
            if still >= settings.patience {
                return lost(format!("sent nothing for {} s", still.as_secs()));
            }
            return Ok(());
        }
        if still >= settings.stall {
            let gone = *self.link.borrow() == Link::Down;
            let why = if gone { "connection lost" } else { "stalled" };
            return lost(format!("{why} inside a file, nothing came for {} s", still.as_secs_f32().round()));
        }
        if matches!(self.hold, Hold::Live(_)) && self.tempo.left().is_zero() && !still.is_zero() {
            return lost(format!("sent less than {} bytes a second inside a file", settings.turn_rate));
        }
        Ok(())
    }

    /// Notes cost rows in the manifest, so they are bounded like entries; a segment with neither would cost only time.
    pub(super) fn charge_notes(&mut self, verified: &Verified) -> Result<(), &'static str> {
        if verified.frames().is_empty() && verified.notes().is_empty() {
            return Err("segment is empty");
        }
        let text = |note: &Note| {
            let texts = [Some(&note.path), Some(&note.reason), note.original.as_ref(), note.link.as_ref()];
            128 + texts.into_iter().flatten().map(String::len).sum::<usize>() as u64
        };
        self.notes.0 += verified.notes().len() as u64;
        self.notes.1 += verified.notes().iter().map(text).sum::<u64>();
        let room = self.notes.0 <= self.run.settings.node_entries && self.notes.1 <= NOTE_BYTES;
        if room { Ok(()) } else { Err("notes are beyond the node's budget") }
    }

    pub(super) fn outcome(&self, end: &End, reason: String) -> (Outcome, String) {
        let nothing = self.raw == 0;
        match end {
            End::Finished(Outcome::Collected, _) if self.cut > 0 => {
                (Outcome::Truncated, "a file was cut when its agent was restarted".to_owned())
            }
            End::Finished(Outcome::Skipped, _) if !nothing => (Outcome::Truncated, reason),
            End::Finished(outcome, _) => (*outcome, reason),
            End::Hostile(_) => (Outcome::Failed, format!("broke a rule: {reason}")),
            End::Lost(_) if nothing => (Outcome::Skipped, reason),
            End::Lost(_) => (Outcome::Truncated, reason),
            End::Over => (Outcome::Skipped, "the download is over".to_owned()),
        }
    }
}
