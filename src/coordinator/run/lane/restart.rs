//! A restarted agent: what it is told of the entry that was left open, and what becomes of that entry.
//!
//! The entry stays as it is until the new process says by its first segment whether it goes on inside it. If it does not, an entry
//! that was only spooled is forgotten and may be sent anew; one that is live is completed with zeros, stays truncated, and
//! counts as held. One that is live keeps others waiting, so the new process has limited time to read again what is held of
//! it; after that it is ordered to collect without it.

use std::time::Duration;

use super::place::Hold;
use super::{End, Lane};
use crate::bundle::path::EntryPath;
use crate::bundle::segment::OpenEntry;

/// Agent processes that may try before the node is given up.
const ATTEMPTS: u32 = 5;
/// Bytes a second at which an agent surely reads again what is held of an entry.
const READ_AGAIN: u64 = 32 << 20;
/// Why an entry was cut.
pub(super) const RESTARTED: &str = "its agent was restarted";

impl Lane {
    pub(super) async fn restarted(&mut self) -> Result<(), End> {
        if !self.door.knows_held() {
            let reason = format!("{RESTARTED}, and there was no room to remember what it had sent");
            return Err(End::Lost(reason));
        }
        self.begin_attempt()?;
        self.resuming = self.open_entry().is_some();
        if !self.resuming {
            self.forget_open_entry(RESTARTED).await?;
        }
        Ok(())
    }

    fn begin_attempt(&self) -> Result<(), End> {
        let attempt = self.door.begin_attempt();
        if attempt > ATTEMPTS {
            return Err(End::Lost(format!("its agent was restarted {} times", attempt - 1)));
        }
        self.door.pace.moved();
        Ok(())
    }

    /// What a new process must know of the open entry, if it can go on with it.
    pub(super) fn open_entry(&self) -> Option<OpenEntry> {
        let inside = self.verifier.inside().filter(|inside| !inside.is_in_padding())?;
        let below = inside.path.as_str().strip_prefix(&format!("nodes/{}/", self.node))?;
        Some(OpenEntry {
            path: EntryPath::parse(below).ok()?,
            size: inside.declared,
            sent: inside.length(),
            blake3: inside.content.to_hex().to_string(),
            placed: matches!(self.hold, Hold::Live(_)),
        })
    }

    /// The first segment of a new process goes on inside the open entry, or gives it up.
    pub(super) async fn resumed(&mut self, continues: bool) -> Result<(), End> {
        if continues {
            // The time that it took to come to this was not the turn's.
            self.tempo.begin_turn();
            return Ok(());
        }
        self.forget_open_entry(RESTARTED).await
    }

    /// How long a live entry waits for a new process to go on with it.
    pub(super) fn time_to_resume(&self) -> Option<Duration> {
        if !self.resuming || !matches!(self.hold, Hold::Live(_)) {
            return None;
        }
        let held = self.verifier.inside()?.length();
        Some(self.run.settings.stall + Duration::from_secs(held / READ_AGAIN))
    }

    pub(super) fn is_late_to_resume(&self) -> bool {
        self.time_to_resume().is_some_and(|time| self.door.pace.still() >= time)
    }

    /// Others waited long enough: the open entry is over, and the agent goes on with what comes after it.
    pub(super) async fn order_anew(&mut self) -> Result<(), End> {
        self.resuming = false;
        self.forget_open_entry(RESTARTED).await?;
        self.begin_attempt()?;
        self.order();
        Ok(())
    }
}
