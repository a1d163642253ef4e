//! How often may somebody fail? Debts of failed log-ins, by source and by user, that are paid off by time alone.
//!
//! Failures come from `coordinator::users` and the audit's own flood guard; what goes back is how long to wait. Nobody is locked
//! out for good: a debt is bounded and runs off. Whoever hammers a user from one place keeps nobody else from that user, since a
//! source that owes nothing may always try. Memory is bounded; nothing is written down, and no name is kept but its hash.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What one kind of bucket grants.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Failures that cost nothing but themselves.
    pub burst: i64,
    /// Milliseconds that pay one failure off.
    pub each_ms: i64,
}

/// Of one source: ten at once, then one every six seconds.
const SOURCE: Allowance = Allowance { burst: 10, each_ms: 6_000 };
/// On one user from everywhere: thirty at once, then one every two seconds, but from sources that owe nothing themselves.
const USER: Allowance = Allowance { burst: 30, each_ms: 2_000 };
/// No debt takes longer than this to be paid off.
const LONGEST_MS: i64 = 15 * 60 * 1000;
/// Debtors that are remembered, of each kind.
const DEBTORS: usize = 16_384;

/// Debts of one kind: each is the time at which it will be paid off.
#[derive(Debug)]
pub struct Debts<K> {
    allowance: Allowance,
    most: usize,
    paid_at: HashMap<K, i64>,
}

impl<K: Eq + Hash + Copy> Debts<K> {
    /// Nobody owes anything.
    pub fn new(allowance: Allowance, most: usize) -> Self {
        Self { allowance, most, paid_at: HashMap::new() }
    }

    /// Whether anything is owed.
    pub fn owes(&self, key: &K, now_ms: i64) -> bool {
        self.paid_at.get(key).is_some_and(|at| now_ms < *at)
    }

    /// Milliseconds until `key` may try again; `None` when it may now.
    pub fn wait(&self, key: &K, now_ms: i64) -> Option<i64> {
        let owed = self.paid_at.get(key)?.saturating_sub(now_ms);
        let over = owed - (self.allowance.burst - 1) * self.allowance.each_ms;
        (over > 0).then_some(over)
    }

    /// One failure more.
    pub fn charge(&mut self, key: K, now_ms: i64) {
        if self.paid_at.len() >= self.most && !self.paid_at.contains_key(&key) {
            self.forget(now_ms);
        }
        let at = self.paid_at.entry(key).or_insert(now_ms);
        *at = ((*at).max(now_ms) + self.allowance.each_ms).min(now_ms + LONGEST_MS);
    }

    /// Makes room: those that owe nothing any more, and if that is not enough, the half that owes least.
    fn forget(&mut self, now_ms: i64) {
        self.paid_at.retain(|_, at| now_ms < *at);
        if self.paid_at.len() < self.most {
            return;
        }
        let mut all: Vec<i64> = self.paid_at.values().copied().collect();
        let middle = all.len() / 2;
        let (_, &mut middle, _) = all.select_nth_unstable(middle);
        self.paid_at.retain(|_, at| *at > middle);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.paid_at.len()
    }
}

/// A source as debts are kept for it: an address, and of IPv6 the network, since one caller has all of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(IpAddr::V6((u128::from(address) >> 64 << 64).into())),
            v4 => Self(v4),
        }
    }
}

/// Failed log-ins.
#[derive(Debug)]
pub struct Attempts {
    sources: Mutex<Debts<Source>>,
    users: Mutex<Debts<[u8; 16]>>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { sources: Mutex::new(Debts::new(SOURCE, DEBTORS)), users: Mutex::new(Debts::new(USER, DEBTORS)) }
    }
}

impl Attempts {
    /// Milliseconds to wait before `from` may try a password of `user`; `None` when it may now. A caller without an address is
    /// inside this process.
    pub fn wait(&self, from: Option<IpAddr>, user: &str, now_ms: i64) -> Option<i64> {
        let source = Source::of(from?);
        let sources = lock(&self.sources);
        if let Some(wait) = sources.wait(&source, now_ms) {
            return Some(wait);
        }
        let user = lock(&self.users).wait(&user_key(user), now_ms)?;
        sources.owes(&source, now_ms).then_some(user)
    }

    /// A password was wrong.
    pub fn failed(&self, from: Option<IpAddr>, user: &str, now_ms: i64) {
        let Some(from) = from else { return };
        lock(&self.sources).charge(Source::of(from), now_ms);
        lock(&self.users).charge(user_key(user), now_ms);
    }
}

fn user_key(user: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(user.as_bytes()).as_bytes()[..16]);
    key
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn a_source_that_fails_waits_longer_and_is_never_locked_out_for_good() {
        let (attempts, loud) = (Attempts::default(), address("192.0.2.1"));
        for _ in 0..SOURCE.burst {
            assert_eq!(attempts.wait(loud, "a", NOW), None);
            attempts.failed(loud, "a", NOW);
        }
        assert_eq!(attempts.wait(loud, "a", NOW), Some(SOURCE.each_ms));
        assert_eq!(attempts.wait(loud, "another", NOW), Some(SOURCE.each_ms), "whichever user it tries");
        assert_eq!(attempts.wait(loud, "a", NOW + SOURCE.each_ms), None);
        for _ in 0..10_000 {
            attempts.failed(loud, "a", NOW);
        }
        assert!(attempts.wait(loud, "a", NOW).is_some_and(|wait| wait <= LONGEST_MS));
        assert_eq!(attempts.wait(loud, "a", NOW + LONGEST_MS), None);
    }

    #[test]
    fn a_quiet_source_is_heard_while_others_hammer_the_user() {
        let attempts = Attempts::default();
        for n in 0..100 {
            attempts.failed(address(&format!("192.0.2.{n}")), "admin", NOW);
        }
        assert!(attempts.wait(address("192.0.2.1"), "admin", NOW).is_some(), "one failure is too many for this user");
        assert_eq!(attempts.wait(address("192.0.2.1"), "somebody", NOW), None, "and not for another");
        assert_eq!(attempts.wait(address("198.51.100.7"), "admin", NOW), None);
    }

    #[test]
    fn one_network_is_one_source() {
        let same = |a: &str, b: &str| Source::of(a.parse().expect("an address")) == Source::of(b.parse().expect("one"));
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8:0:1::1", "2001:db8::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
    }

    #[test]
    fn memory_is_bounded_and_who_owes_most_is_kept() {
        let mut debts = Debts::new(SOURCE, 100);
        for _ in 0..50 {
            debts.charge(0, NOW);
        }
        for n in 1..10_000 {
            debts.charge(n, NOW);
            assert!(debts.len() <= 100);
        }
        assert!(debts.wait(&0, NOW).is_some());
    }
}
