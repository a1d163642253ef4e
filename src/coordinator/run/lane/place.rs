//! Where a verified segment goes: at once into the output, into the spool, or live through the output's turn.
//!
//! The node's last word on an entry is here too: zeros in place of what never came.

use tokio::sync::OwnedMutexGuard;

use super::{End, Lane};
use crate::coordinator::merge::{Over, Spool, Turn};
use crate::coordinator::verify::Verified;

/// What is held of the node's open entry, and how.
pub(super) enum Hold {
    /// Nothing is open.
    Between,
    /// Its parts wait in the spool, and nothing of it is in the output.
    Spooled(Spool),
    /// Its parts go into the output as they come, and the node has the turn.
    Live(OwnedMutexGuard<Turn>),
}

/// What could not be held, and why it does not matter: the disk or the quota is full.
type NoRoom = Box<(Option<Spool>, Verified)>;

impl Lane {
    /// Brings a verified segment to where it belongs. While this waits, it waits for the output and not for the node.
    pub(super) async fn place(&mut self, verified: Verified) -> Result<(), Over> {
        let ends = verified.boundary();
        match std::mem::replace(&mut self.hold, Hold::Between) {
            Hold::Between if ends => self.run.output.turn().await.append(&self.node, verified).await,
            Hold::Between => match self.eager_turn() {
                Some(turn) => self.go_live(turn, None, Some(verified)).await,
                None => self.spool(None, verified).await,
            },
            Hold::Spooled(spool) => self.spool(Some(spool), verified).await,
            Hold::Live(mut turn) => {
                turn.append(&self.node, verified).await?;
                if ends {
                    self.has_turn.send_replace(false);
                } else {
                    self.hold = Hold::Live(turn);
                }
                Ok(())
            }
        }
    }

    /// The output's turn for an entry that only begins, if it is so large that the spool should not take it whole, its node sends
    /// well, and nobody else wants the turn.
    fn eager_turn(&self) -> Option<OwnedMutexGuard<Turn>> {
        let declared = self.verifier.inside()?.declared;
        let eager = declared >= self.run.settings.live_from && self.tempo.is_eager();
        if eager { self.run.output.turn_now() } else { None }
    }

    async fn spool(&mut self, spool: Option<Spool>, verified: Verified) -> Result<(), Over> {
        let ends = verified.boundary();
        let spool = match self.push(spool, verified).await {
            Ok(spool) => spool,
            Err(unheld) => {
                let (spool, verified) = *unheld;
                // No room to hold it: it must go live, however well it sends.
                let turn = self.run.output.turn().await;
                return self.go_live(turn, spool, Some(verified)).await;
            }
        };
        if ends {
            return self.run.output.turn().await.replay(&self.node, spool).await;
        }
        match self.eager_turn() {
            Some(turn) => self.go_live(turn, Some(spool), None).await,
            None => {
                self.hold = Hold::Spooled(spool);
                Ok(())
            }
        }
    }

    async fn push(&self, spool: Option<Spool>, verified: Verified) -> Result<Spool, NoRoom> {
        let run = std::sync::Arc::clone(&self.run);
        let pushing = tokio::task::spawn_blocking(move || {
            let mut spool = match spool.map_or_else(|| Spool::new(&run.settings.spool_dir, &run.quota), Ok) {
                Ok(spool) => spool,
                Err(_) => return Err(Box::new((None, verified))),
            };
            match spool.push(&verified) {
                Ok(()) => Ok(spool),
                Err(_) => Err(Box::new((Some(spool), verified))),
            }
        });
        pushing.await.expect("the spool does not panic")
    }

    /// Takes the turn for the open entry: what was held of it goes first.
    async fn go_live(
        &mut self,
        mut turn: OwnedMutexGuard<Turn>,
        spool: Option<Spool>,
        verified: Option<Verified>,
    ) -> Result<(), Over> {
        let ends = verified.as_ref().is_some_and(Verified::boundary);
        if let Some(spool) = spool {
            turn.replay(&self.node, spool).await?;
        }
        if let Some(verified) = verified {
            turn.append(&self.node, verified).await?;
        }
        if !ends {
            self.tempo.begin_turn();
            self.has_turn.send_replace(true);
            self.hold = Hold::Live(turn);
        }
        Ok(())
    }

    /// The rest of the open entry will never come: what there is of it is completed with zeros and marked.
    pub(super) async fn complete_open_entry(&mut self, reason: &str) -> Result<(), Over> {
        let mut turn = match std::mem::replace(&mut self.hold, Hold::Between) {
            Hold::Between => return Ok(()),
            Hold::Live(turn) => turn,
            Hold::Spooled(spool) => {
                let mut turn = self.run.output.turn().await;
                turn.replay(&self.node, spool).await?;
                turn
            }
        };
        self.has_turn.send_replace(false);
        let Some(inside) = self.verifier.inside() else { return Ok(()) };
        while let Some(zeros) = self.verifier.pad().await {
            self.note(&zeros).await;
            turn.append(&self.node, zeros).await?;
        }
        let length = inside.length();
        if length < inside.declared {
            self.cut += 1;
            turn.truncated(&self.node, inside.path, length, reason.to_owned()).await?;
        }
        Ok(())
    }

    /// The open entry will be sent anew, where nothing of it is in the output yet; else it is completed as it is.
    pub(super) async fn forget_open_entry(&mut self, reason: &str) -> Result<(), End> {
        if matches!(self.hold, Hold::Spooled(_)) {
            self.hold = Hold::Between;
            self.verifier.abandon();
            return Ok(());
        }
        Ok(self.complete_open_entry(reason).await?)
    }
}
