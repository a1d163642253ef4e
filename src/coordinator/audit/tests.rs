//! The audit log: what is written, where it goes when it grows, and what a flood or a crash does to it.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::coordinator::principal::{Door, Role, Scope};

struct Bench {
    folder: TempDir,
    clock: Clock,
    audit: Audit,
}

impl Bench {
    fn new(files: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Clock::manual(Timestamp::now());
        let audit = open(&folder, &clock, files);
        Self { folder, clock, audit }
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join(FOLDER)).expect("the folder");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }

    async fn all(&self, query: Query) -> Vec<AuditRecord> {
        let (mut records, mut query) = (Vec::new(), Query { limit: 7, ..query });
        loop {
            let page = self.audit.read(query.clone()).await.expect("read");
            assert!(page.records.len() <= 7);
            records.extend(page.records);
            query.after = page.next;
            if query.after.is_none() {
                return records;
            }
        }
    }
}

fn open(folder: &TempDir, clock: &Clock, files: usize) -> Audit {
    Audit::open(folder.path(), AuditSettings { file_mib: 1, files }, clock.clone()).expect("opened")
}

fn ada() -> Principal {
    let ada = Principal::new("ada", Role::Admin, Scope::All, Door::Session);
    Principal { from: Some([192, 0, 2, 7].into()), ..ada }
}

fn targets(records: &[AuditRecord]) -> Vec<&str> {
    records.iter().map(|record| record.target.as_str()).collect()
}

#[tokio::test]
async fn a_record_says_who_what_and_how_it_ended() {
    let bench = Bench::new(4);
    bench.audit.record(&ada(), "cluster.create", "edge\n7", Outcome::Done);
    bench.audit.record(&ada(), "cluster.delete", "edge", Outcome::of::<()>(&Err(Refusal::Forbidden)));
    bench.audit.record(&ada(), "cluster.delete", "edge", Outcome::of::<()>(&Err(Refusal::Busy)));
    let stranger = Actor::stranger(None, "password", Some("::ffff:198.51.100.1".parse().expect("an address")));
    bench.audit.record(stranger, "login", "", Outcome::of::<()>(&Err(Refusal::Unauthenticated)));
    let all = bench.all(Query::default()).await;
    let said: Vec<_> = all.iter().map(|r| (r.who.as_str(), r.door.as_str(), r.outcome.as_str())).collect();
    let expected = [("ada", "session", "done"), ("ada", "session", "refused"), ("ada", "session", "failed")];
    assert_eq!(said[..3], expected);
    assert_eq!(said[3], ("", "password", "refused"));
    assert_eq!(all[0].target, "edge\\n7");
    assert_eq!(all[0].from.as_deref(), Some("192.0.2.7"));
    assert_eq!(all[3].from.as_deref(), Some("198.51.100.1"));
    for path in bench.files() {
        assert_eq!(path.metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
    }
    let folder = bench.folder.path().join(FOLDER).metadata().expect("metadata");
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_full_file_is_followed_by_another_and_the_oldest_goes() {
    let bench = Bench::new(3);
    let long = "x".repeat(200);
    let written = 16_000;
    for n in 0..written {
        bench.audit.record(&ada(), "cluster.create", &format!("{n} {long}"), Outcome::Done);
    }
    let files = bench.files();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files.iter().all(|path| path.metadata().expect("metadata").len() <= 1 << 20));
    let all = bench.all(Query::default()).await;
    let numbers: Vec<usize> =
        all.iter().map(|r| r.target.split(' ').next().and_then(|n| n.parse().ok()).expect("a number")).collect();
    let expected: Vec<usize> = (numbers[0]..written).collect();
    assert!(numbers == expected, "the newest, in order and without a gap");
    // Another start goes on where this one was.
    let again = open(&bench.folder, &bench.clock, 3);
    again.record(&ada(), "cluster.create", "again", Outcome::Done);
    assert_eq!(bench.files(), files);
    assert_eq!(bench.all(Query::default()).await.last().map(|r| r.target.clone()).as_deref(), Some("again"));
}

#[tokio::test]
async fn what_a_crash_left_half_written_hides_nothing() {
    let bench = Bench::new(3);
    bench.audit.record(&ada(), "a.b", "before", Outcome::Done);
    let current = bench.files().remove(0);
    let mut file = std::fs::OpenOptions::new().append(true).open(current).expect("opened");
    file.write_all(br#"{"time":"2026-11-21T00:00:00Z","who":"a"#).expect("written");
    assert_eq!(targets(&bench.all(Query::default()).await), ["before"]);
    let again = open(&bench.folder, &bench.clock, 3);
    again.record(&ada(), "a.b", "after", Outcome::Done);
    assert_eq!(targets(&bench.all(Query::default()).await), ["before", "after"]);
}

#[tokio::test]
async fn records_are_found_by_time_and_user() {
    let bench = Bench::new(3);
    let ada = ada();
    let bob = Principal { name: "bob".into(), ..ada.clone() };
    for n in 0..20 {
        bench.audit.record(if n % 2 == 0 { &bob } else { &ada }, "a.b", &n.to_string(), Outcome::Done);
        bench.clock.advance(Duration::from_secs(1));
    }
    let since_ms = Some(bench.clock.now_ms() - 4000);
    assert_eq!(targets(&bench.all(Query { since_ms, ..Query::default() }).await), ["16", "17", "18", "19"]);
    let user = Some("bob".to_owned());
    assert_eq!(targets(&bench.all(Query { since_ms, user, ..Query::default() }).await), ["16", "18"]);
    for bad in ["", "1", "x:y", "1:-1"] {
        let query = Query { after: Some(bad.into()), limit: 1, ..Query::default() };
        assert!(matches!(bench.audit.read(query).await, Err(Refusal::Invalid(_))), "{bad}");
    }
    let beyond = Query { after: Some("1:99999999".into()), limit: 1, ..Query::default() };
    assert!(bench.audit.read(beyond).await.expect("read").records.is_empty());
}

#[tokio::test]
async fn strangers_cannot_push_everything_else_out() {
    let bench = Bench::new(3);
    for n in 0..10_000_u32 {
        let from = IpAddr::from(n.to_be_bytes());
        bench.audit.record(Actor::stranger(None, "session", Some(from)), "login", "", Outcome::Refused("no".into()));
        let loud = Actor::stranger(None, "session", Some([203, 0, 113, 1].into()));
        bench.audit.record(loud, "login", "", Outcome::Refused("no".into()));
    }
    bench.audit.record(&ada(), "a.b", "mine", Outcome::Done);
    let all = bench.all(Query::default()).await;
    assert!((500..=1100).contains(&all.len()), "{}", all.len());
    assert_eq!(all.last().map(|r| r.target.as_str()), Some("mine"), "who is known is always written");
    bench.clock.advance(Duration::from_secs(3600));
    bench.audit.record(Actor::stranger(None, "session", None), "login", "", Outcome::Refused("no".into()));
    let all = bench.all(Query::default()).await;
    let told: u64 = all.iter().map(|r| r.unwritten).sum();
    assert_eq!(told as usize + all.len() - 1, 20_001, "each is written or counted");
}

#[tokio::test]
async fn a_credential_that_is_shown_with_every_request_is_one_login() {
    let bench = Bench::new(3);
    for _ in 0..50 {
        bench.audit.entered(&ada(), "key");
    }
    bench.audit.entered(&ada(), "another key");
    bench.audit.entered(&Principal { from: None, ..ada() }, "key");
    assert_eq!(bench.all(Query::default()).await.len(), 3);
    bench.clock.advance(Duration::from_secs(301));
    bench.audit.entered(&ada(), "key");
    assert_eq!(bench.all(Query::default()).await.len(), 4);
}
