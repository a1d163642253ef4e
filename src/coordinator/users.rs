//! Users and their sessions: who may enter, and as what.
//!
//! Passwords come from faces, are checked against argon2id hashes of the store, and become a [`Principal`]. Hashing is dear
//! on purpose, so at most two run at once and a success is remembered for some minutes; what is remembered is a keyed hash
//! that is of no use outside this process. No password is kept, logged or returned.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use ring::hmac;
use tokio::sync::{Semaphore, oneshot};

use super::attempts::Attempts;
use super::principal::{Principal, Role};
use super::refusal::Refusal;
use super::store::Store;
use crate::clock::Clock;
use crate::id::{ClusterId, FleetId};
use crate::limits;
use crate::report;
use crate::secret::{Secret, random_bytes};
use crate::shutdown::Shutdown;

/// Passwords that are hashed at the same time.
const AT_ONCE: usize = 2;
/// Passwords that wait for it; more are refused as busy.
const WAITING: usize = 64;
/// How long a success is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Successes that are remembered.
const MEMORY: usize = 4096;
/// Bytes of a name or a password that anybody has.
const LONGEST: usize = 1024;

/// How often what expired is forgotten.
const SWEEP: Duration = Duration::from_secs(600);
/// Fleets and clusters that one user's scope may name.
const SCOPE: usize = 1000;

/// What a limited user is limited to: what these hold at the time of each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Fleets.
    pub fleets: BTreeSet<FleetId>,
    /// Clusters.
    pub clusters: BTreeSet<ClusterId>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// What it is limited to, if to anything.
    pub limits: Option<Limits>,
    /// Whether every credential is refused.
    pub disabled: bool,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
}

impl UserRow {
    /// Whether it may administer everything, which one user at least must always be able to.
    pub fn rules(&self) -> bool {
        self.role == Role::Admin && self.limits.is_none() && !self.disabled
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made.
    Yes,
    /// There is no such user.
    Absent,
    /// Nobody could administer the whole afterwards.
    Last,
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub principal: Principal,
    /// When it was opened, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was used before this time.
    pub last_used_ms: i64,
}

/// Checks passwords and keeps sessions; cheap to clone.
#[derive(Clone)]
pub struct Users {
    store: Store,
    clock: Clock,
    attempts: Arc<Attempts>,
    hashing: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    remembered: Arc<Mutex<HashMap<[u8; 32], i64>>>,
    memory_key: Arc<hmac::Key>,
}

impl Users {
    /// Users of a store.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            attempts: Arc::default(),
            hashing: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            remembered: Arc::default(),
            memory_key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &random_bytes::<32>())),
        }
    }

    /// Adds a user; `false` when the name is taken.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for an unusable name or password.
    pub async fn add(
        &self,
        name: &str,
        password: &Secret,
        role: Role,
        limits: Option<Limits>,
    ) -> Result<bool, Refusal> {
        check_name(name)?;
        check_password(password)?;
        check_limits(limits.as_ref())?;
        let hash = self.hash(password).await?;
        let created_ms = self.clock.now_ms();
        let row = UserRow { name: name.to_owned(), role, limits, disabled: false, created_ms };
        Ok(self.store.add_user(row, hash).await?)
    }

    /// Changes a user; what is `None` stays.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a scope that is too long.
    pub async fn change(
        &self,
        name: &str,
        role: Option<Role>,
        limits: Option<Option<Limits>>,
        disabled: Option<bool>,
    ) -> Result<Changed, Refusal> {
        check_limits(limits.as_ref().and_then(Option::as_ref))?;
        Ok(self.store.change_user(name, role, limits, disabled).await?)
    }

    /// Gives a user another password and ends the user's sessions and tokens, with `all` also access keys and certificates; `false`
    /// when there is none of that name.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for an unusable password.
    pub async fn change_password(&self, name: &str, password: &Secret, all: bool) -> Result<bool, Refusal> {
        check_password(password)?;
        let hash = self.hash(password).await?;
        Ok(self.store.change_password(name, hash, all, self.clock.now_ms()).await?)
    }

    /// Checks a user's password, shown from the address `from`; without one the caller is inside this process.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] for an unknown or disabled user as for a wrong password, after the same work;
    /// [`Refusal::Throttled`] after too many of those; [`Refusal::Busy`] when too many wait to be checked.
    pub async fn login(&self, name: &str, password: &Secret, from: Option<IpAddr>) -> Result<Principal, Refusal> {
        if name.len() > LONGEST || password.expose().len() > LONGEST {
            return Err(Refusal::Unauthenticated);
        }
        // Before anything else: what is remembered must not be guessed at any faster.
        if let Some(wait) = self.attempts.wait(from, name, self.clock.now_ms()) {
            return Err(Refusal::Throttled(wait.unsigned_abs().div_ceil(1000)));
        }
        let found = self.store.password(name).await?;
        let key = found.as_ref().map(|(hash, _)| self.memory_of(name, hash, password));
        if let (Some(key), Some((_, principal))) = (&key, &found)
            && self.is_remembered(key)
        {
            return Ok(principal.clone());
        }
        // Counts as failed unless it turns out good: also when the caller goes away meanwhile, or is one of too many.
        let mut trial = Trial { users: self, name, from, counts: true };
        let good = match &found {
            Some((hash, _)) => self.verify(hash.clone(), password, key).await?,
            // The same work, so that time does not tell which names exist.
            None => {
                self.hash(password).await?;
                false
            }
        };
        match (good, found) {
            (true, Some((_, principal))) => {
                trial.counts = false;
                Ok(principal)
            }
            _ => Err(Refusal::Unauthenticated),
        }
    }

    /// Opens a session; its id is shown this once.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn open_session(&self, who: &Principal) -> Result<Secret, Refusal> {
        let id = Secret::random();
        self.store.add_session(id.digest(), &who.name, self.clock.now_ms(), idle_ms()).await?;
        Ok(id)
    }

    /// The session of an id, which counts as used by this.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when there is none, or it was not used for too long.
    pub async fn session(&self, id: &str) -> Result<Session, Refusal> {
        let digest = session_digest(id)?;
        let found = self.store.use_session(digest, self.clock.now_ms(), idle_ms()).await?;
        found.ok_or(Refusal::Unauthenticated)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when there is none.
    pub async fn close_session(&self, id: &str) -> Result<(), Refusal> {
        let digest = session_digest(id)?;
        let dropped = self.store.drop_session(digest, self.clock.now_ms(), idle_ms()).await?;
        if dropped { Ok(()) } else { Err(Refusal::Unauthenticated) }
    }

    /// Forgets what expired from time to time, until the stop.
    pub async fn sweep(self, stop: Shutdown) {
        loop {
            tokio::select! {
                () = stop.stopping() => return,
                () = tokio::time::sleep(SWEEP) => {}
            }
            if let Err(error) = self.store.forget_expired(self.clock.now_ms(), idle_ms()).await {
                tracing::warn!(error = report::chain(&error), "expired sessions could not be forgotten");
            }
        }
    }

    async fn hash(&self, password: &Secret) -> Result<String, Refusal> {
        let password = password.clone();
        self.hashing(move || {
            Argon2::default()
                .hash_password(password.expose().as_bytes())
                .map(|hash| hash.to_string())
                .map_err(|e| Refusal::internal("a password could not be hashed", &e))
        })
        .await?
    }

    /// Whether the password is that of the hash, which is remembered under `key`.
    async fn verify(&self, hash: String, password: &Secret, key: Option<[u8; 32]>) -> Result<bool, Refusal> {
        let (users, password) = (self.clone(), password.clone());
        self.hashing(move || {
            // A client with many connections shows the same password on all of them at once: the first of them proved it meanwhile.
            if key.is_some_and(|key| users.is_remembered(&key)) {
                return true;
            }
            let good = Argon2::default().verify_password(password.expose().as_bytes(), hash.as_str()).is_ok();
            if let Some(key) = key.filter(|_| good) {
                users.remember(key);
            }
            good
        })
        .await
    }

    /// Runs dear work on a thread of its own, with [`AT_ONCE`] others at most. The thread ends with it: the allocator keeps for each
    /// thread what that once needed, which is megabytes here, and a pool has many threads.
    async fn hashing<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
        let _place = self.queue.try_acquire().map_err(|_| Refusal::Busy)?;
        let turn = Arc::clone(&self.hashing).acquire_owned().await.map_err(|_| Refusal::Busy)?;
        let (told, done) = oneshot::channel();
        let thread = std::thread::Builder::new().name("password".to_owned()).spawn(move || {
            // Held by the work itself: a caller that goes away must not let a third one in.
            let _turn = turn;
            // Nobody waits any more when the caller went away.
            let _ = told.send(work());
        });
        thread.map_err(|e| Refusal::internal("a thread for hashing could not be made", &e))?;
        done.await.map_err(|e| Refusal::internal("hashing stopped", &e))
    }

    fn memory_of(&self, name: &str, hash: &str, password: &Secret) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.memory_key);
        // The stored hash is part of it: another password makes the memory of the old one useless.
        for part in [name, hash, password.expose()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.sign().as_ref());
        key
    }

    fn is_remembered(&self, key: &[u8; 32]) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(key).is_some_and(|&until| self.clock.now_ms() < until)
    }

    fn remember(&self, key: [u8; 32]) {
        let now = self.clock.now_ms();
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MEMORY {
            remembered.retain(|_, until| now < *until);
        }
        if remembered.len() < MEMORY {
            remembered.insert(key, now + REMEMBERED.as_millis() as i64);
        }
    }
}

/// A password that is being tried.
struct Trial<'a> {
    users: &'a Users,
    name: &'a str,
    from: Option<IpAddr>,
    counts: bool,
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.counts {
            self.users.attempts.failed(self.from, self.name, self.users.clock.now_ms());
        }
    }
}

fn idle_ms() -> i64 {
    limits::SESSION.as_millis() as i64
}

fn session_digest(id: &str) -> Result<String, Refusal> {
    if id.is_empty() || id.len() > LONGEST { Err(Refusal::Unauthenticated) } else { Ok(Secret::new(id).digest()) }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    // Basic authentication cannot carry a colon in a name.
    let good =
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@\\+".contains(&b));
    if good { Ok(()) } else { Err(Refusal::Invalid("a user's name is 1 to 64 letters, digits or ._-@\\+".into())) }
}

fn check_password(password: &Secret) -> Result<(), Refusal> {
    match password.expose().len() {
        0..8 => Err(Refusal::Invalid("a password has at least 8 characters".into())),
        8..=LONGEST => Ok(()),
        _ => Err(Refusal::Invalid("a password has at most 1024 bytes".into())),
    }
}

fn check_limits(limits: Option<&Limits>) -> Result<(), Refusal> {
    let many = limits.is_some_and(|limits| limits.fleets.len() + limits.clusters.len() > SCOPE);
    if many { Err(Refusal::Invalid(format!("a scope has at most {SCOPE} fleets and clusters"))) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
