//! Agent secrets, which say which node an agent is, and the access tokens that agents get for them.
//!
//! A secret is `sheaf1.<id><generation>.<random>`: 10 hex digits that stay, 6 that count its rotations, and 32 bytes that only the
//! holder of the master key can compute from both. So nothing of it is stored, a forged one never reaches the state, and a
//! coordinator whose state was restored from an older backup still knows a later rotation of a name that is not revoked. Using
//! a secret hands out the next generation, always the same one; the first use of that one retires the one before.
//!
//! Tokens are random, stored hashed, and looked up in memory, since every segment carries one. No secret or token is logged.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::RwLock;

use super::audit::{Actor, Audit, Outcome};
use super::join::{Joined, Joining};
use super::refusal::Refusal;
use super::session::NodeIdentity;
use super::store::Store;
use super::store::access::{TOKENS, Used};
use super::store::vault::Vault;
use crate::clock::Clock;
use crate::id::{ClusterId, NodeName};
use crate::limits::AGENT_TTL_MS;
use crate::secret::{AgentSecret, Secret, hex, random_bytes, same_bytes};

/// Hex digits of the part of an id that stays.
const ID: usize = 10;
/// What the audit log calls the use of an agent secret, and the credential.
const EXCHANGE: &str = "secret.exchange";
const DOOR: &str = "agent-secret";
/// The last generation that fits into its 6 digits.
const LAST: u32 = 0xff_ffff;
/// Agents renew their tokens twice an hour, for ever: the audit log hears once a day of one that does so from where it did before, or a
/// fleet's renewals would push everything else out of it.
const TOLD_MS: i64 = 24 * 3_600_000;

/// Where an agent secret stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretStatus {
    /// Good.
    Active,
    /// Revoked, for good.
    Revoked,
}

impl SecretStatus {
    /// The word of the public API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Revoked => "REVOKED",
        }
    }
}

/// An agent secret, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRow {
    /// Its id, the same for all its rotations.
    pub id: String,
    /// Its name, the node's.
    pub name: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its cluster's name.
    pub cluster_name: String,
    /// Where it stands.
    pub status: SecretStatus,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was made, rotated or revoked last.
    pub modified_ms: i64,
}

/// What an agent gets for its secret.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// The access token.
    pub access_token: Secret,
    /// The node's name.
    pub name: String,
    /// The secret that replaces the one that was used, from its first use on.
    pub new_secret: Secret,
    /// How long the token is good, milliseconds.
    pub ttl_ms: u64,
}

/// Agent secrets and access tokens; cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    store: Store,
    vault: Vault,
    clock: Clock,
    audit: Audit,
    tokens: Arc<Mutex<HashMap<String, Seat>>>,
    // Whoever takes tokens away holds it alone, so that none slips in between the state and the memory.
    gate: Arc<RwLock<()>>,
}

/// The tokens of one secret, by its id.
struct Seat {
    identity: NodeIdentity,
    tokens: Vec<(String, i64)>,
    /// From where it was used when the audit log heard of it last, and when that was.
    told: Option<(Option<IpAddr>, i64)>,
}

impl Seat {
    fn of(identity: NodeIdentity) -> Self {
        Self { identity, tokens: Vec::new(), told: None }
    }
}

impl Secrets {
    /// The secrets of a store; tokens that are still good are good again.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn open(store: Store, vault: Vault, clock: Clock, audit: Audit) -> Result<Self, Refusal> {
        let secrets = Self { store, vault, clock, audit, tokens: Arc::default(), gate: Arc::default() };
        for row in secrets.store.tokens(secrets.clock.now_ms()).await? {
            let Ok(node) = row.node.parse() else { continue };
            let identity = NodeIdentity { node, cluster: row.cluster, cluster_name: row.cluster_name };
            secrets.seat(&row.secret, identity, row.digest, row.expires_ms);
        }
        Ok(secrets)
    }

    /// Makes an agent secret.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when the name is taken, also by a revoked secret.
    pub async fn create(&self, name: &NodeName, cluster: ClusterId) -> Result<(SecretRow, Secret), Refusal> {
        let id = hex(&random_bytes::<{ ID / 2 }>());
        let added = self.store.add_secret(id.clone(), name.to_string(), cluster, self.clock.now_ms()).await?;
        let row = added.ok_or_else(|| {
            Refusal::Conflict(format!("the name `{name}` is taken; `sheaf node remove {name}` would free it"))
        })?;
        Ok((row, self.secret(&id, 0)))
    }

    /// All agent secrets, by name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn list(&self) -> Result<Vec<SecretRow>, Refusal> {
        Ok(self.store.secrets().await?)
    }

    /// Trades an agent secret for an access token and the next secret.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when it is not genuine, revoked, or retired; [`Refusal::Invalid`] for a bad ttl.
    pub async fn exchange(
        &self,
        secret: &str,
        ttl_ms: Option<u64>,
        from: Option<IpAddr>,
    ) -> Result<Exchanged, Refusal> {
        let ttl_ms = checked_ttl(ttl_ms)?;
        let Some((id, generation)) = self.genuine(secret) else {
            let stranger = Actor::stranger(None, DOOR, from);
            self.audit.record(stranger, EXCHANGE, "", Outcome::Refused("the secret is not one of ours".into()));
            return Err(Refusal::Unauthenticated);
        };
        if generation >= LAST {
            return Err(Refusal::Conflict("this agent secret was rotated too often; make a new one".into()));
        }
        let token = Secret::new(format!("{id}.{}", Secret::random().expose()));
        let now = self.clock.now_ms();
        let expires = now + ttl_ms as i64;
        let _pass = self.gate.read().await;
        let used = self.store.use_secret(id.clone(), generation, token.digest(), now, expires).await?;
        let identity = self.admitted(used, (&id, generation), from)?;
        let name = identity.node.to_string();
        self.seat(&id, identity, token.digest(), expires);
        Ok(Exchanged { access_token: token, name, new_secret: self.secret(&id, generation + 1), ttl_ms })
    }

    /// Lets a node join with a certificate; the agent secret that it gets, if it may, retires every earlier one with its tokens.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn join(&self, serial: &str, joining: Joining) -> Result<(Joined, Option<Secret>), Refusal> {
        let fresh = hex(&random_bytes::<{ ID / 2 }>());
        let _alone = self.gate.write().await;
        let joined = self.store.join_node(serial.to_owned(), joining, fresh, self.clock.now_ms()).await?;
        let secret = match &joined {
            Joined::Good { id, generation, .. } => {
                self.seats().remove(id);
                Some(self.secret(id, *generation))
            }
            _ => None,
        };
        Ok((joined, secret))
    }

    /// Revokes an agent secret for good; with `now` its tokens end too. `None` when there is none of that name.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn revoke(&self, name: &str, now: bool) -> Result<Option<SecretRow>, Refusal> {
        let _alone = self.gate.write().await;
        let row = self.store.revoke_secret(name, now, self.clock.now_ms()).await?;
        if let Some(row) = row.as_ref().filter(|_| now) {
            self.seats().remove(&row.id);
        }
        Ok(row)
    }

    /// Removes a node with its secret and its tokens; `false` when there was none of that name.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remove_node(&self, name: &str) -> Result<bool, Refusal> {
        let _alone = self.gate.write().await;
        let removed = self.store.remove_node(name).await?;
        self.seats().retain(|_, seat| seat.identity.node.as_str() != name);
        Ok(removed)
    }

    /// The node that an access token belongs to, if it is good.
    pub fn agent_by_token(&self, token: &str) -> Option<NodeIdentity> {
        let (id, _) = token.split_once('.').filter(|_| token.len() < 128)?;
        let digest = Secret::new(token).digest();
        let now = self.clock.now_ms();
        let seats = self.seats();
        let seat = seats.get(id)?;
        let good = seat.tokens.iter().any(|(d, until)| same_bytes(d.as_bytes(), digest.as_bytes()) && now < *until);
        good.then(|| seat.identity.clone())
    }

    /// Tells the audit log what became of a secret's use.
    fn admitted(
        &self,
        used: Used,
        (id, generation): (&str, u32),
        from: Option<IpAddr>,
    ) -> Result<NodeIdentity, Refusal> {
        let tell = |name: &str, outcome| {
            let target = format!("generation {generation}");
            // A node that was removed is a stranger.
            let actor = if name.is_empty() { Actor::stranger(None, DOOR, from) } else { Actor::node(name).at(from) };
            self.audit.record(actor, EXCHANGE, &target, outcome);
        };
        let (name, why) = match used {
            Used::Good { name, cluster, cluster_name, ahead, .. } => {
                let note = "this state never handed it out and is older than the agent, as after a restore";
                let node = name.parse().map_err(|e| Refusal::internal("a stored secret has no node's name", &e))?;
                let identity = NodeIdentity { node, cluster, cluster_name };
                if self.is_news(id, &identity, from) || ahead {
                    tell(&name, if ahead { Outcome::Noted(note.into()) } else { Outcome::Done });
                }
                return Ok(identity);
            }
            Used::Retired(name) => (name, "the secret was retired: somebody holds an old copy"),
            Used::Revoked(name) => (name, "the secret was revoked"),
            Used::Unknown => (String::new(), "the secret's node was removed"),
        };
        tell(&name, Outcome::Refused(why.into()));
        Err(Refusal::Unauthenticated)
    }

    /// Whether the audit log is to hear that a secret was used from there.
    fn is_news(&self, id: &str, identity: &NodeIdentity, from: Option<IpAddr>) -> bool {
        let (now, mut seats) = (self.clock.now_ms(), self.seats());
        let seat = seats.entry(id.to_owned()).or_insert_with(|| Seat::of(identity.clone()));
        let news = seat.told.is_none_or(|(before, at)| before != from || now >= at + TOLD_MS);
        if news {
            seat.told = Some((from, now));
        }
        news
    }

    fn secret(&self, id: &str, generation: u32) -> Secret {
        let random = self.vault.derive("sheaf agent secret v1", &[id.as_bytes(), &generation.to_be_bytes()]);
        Secret::new(format!("sheaf1.{id}{generation:06x}.{}", URL_SAFE_NO_PAD.encode(random)))
    }

    /// Id and generation of a secret that we made.
    fn genuine(&self, text: &str) -> Option<(String, u32)> {
        let secret = AgentSecret::parse(text)?;
        let (id, generation) = secret.id().split_at_checked(ID)?;
        let generation = u32::from_str_radix(generation, 16).ok()?;
        self.secret(id, generation).same(secret.whole().expose()).then(|| (id.to_owned(), generation))
    }

    /// Remembers a token as the state does: at most [`TOKENS`] of one secret, those that would expire first go first.
    fn seat(&self, id: &str, identity: NodeIdentity, digest: String, expires_ms: i64) {
        let now = self.clock.now_ms();
        let mut seats = self.seats();
        let seat = seats.entry(id.to_owned()).or_insert_with(|| Seat::of(identity.clone()));
        seat.identity = identity;
        seat.tokens.retain(|(_, until)| now < *until);
        seat.tokens.sort_by_key(|(_, until)| std::cmp::Reverse(*until));
        seat.tokens.truncate(TOKENS as usize - 1);
        seat.tokens.push((digest, expires_ms));
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<String, Seat>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn checked_ttl(ttl_ms: Option<u64>) -> Result<u64, Refusal> {
    let (default, least, most) = AGENT_TTL_MS;
    match ttl_ms.unwrap_or(0) {
        0 => Ok(default),
        ttl if (least..=most).contains(&ttl) => Ok(ttl),
        _ => Err(Refusal::Invalid(format!("ttl must be {least} to {most} milliseconds, or 0 for the default"))),
    }
}

#[cfg(test)]
mod tests;
