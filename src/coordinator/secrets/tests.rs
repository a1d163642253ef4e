//! Each rule of agent secrets and tokens, and their races.

use std::time::Duration;

use super::*;
use crate::coordinator::kit::Kit;
use crate::coordinator::roster::DEFAULT_CLUSTER;

struct Bench {
    kit: Kit,
    secrets: Secrets,
}

async fn bench() -> Bench {
    let kit = Kit::new().await;
    let secrets = open(&kit).await;
    Bench { kit, secrets }
}

async fn open(kit: &Kit) -> Secrets {
    Secrets::open(kit.store(), kit.vault(), kit.clock.clone(), kit.audit()).await.expect("opened")
}

impl Bench {
    async fn create(&self, name: &str) -> Result<(SecretRow, Secret), Refusal> {
        let cluster = self.kit.store().find_cluster(DEFAULT_CLUSTER).await.expect("read").expect("there").0;
        self.secrets.create(&name.parse().expect("a name"), cluster.id).await
    }

    async fn exchange(&self, secret: &Secret) -> Result<Exchanged, Refusal> {
        self.secrets.exchange(secret.expose(), None, None).await
    }

    fn node(&self, token: &Secret) -> Option<String> {
        self.secrets.agent_by_token(token.expose()).map(|identity| identity.node.to_string())
    }
}

#[tokio::test]
async fn a_secret_gives_a_token_that_is_its_node() {
    let bench = bench().await;
    let (row, secret) = bench.create("n1").await.expect("made");
    assert_eq!((row.name.as_str(), row.status, row.cluster_name.as_str()), ("n1", SecretStatus::Active, "default"));
    let exchanged = bench.exchange(&secret).await.expect("good");
    assert_eq!((exchanged.name.as_str(), exchanged.ttl_ms), ("n1", 1_800_000));
    assert_eq!(bench.node(&exchanged.access_token).as_deref(), Some("n1"));
    assert_eq!(bench.secrets.list().await.expect("listed"), vec![row]);
}

#[tokio::test]
async fn a_name_is_taken_for_good() {
    let bench = bench().await;
    bench.create("n1").await.expect("made");
    assert!(matches!(bench.create("n1").await, Err(Refusal::Conflict(_))));
    bench.secrets.revoke("n1", true).await.expect("revoked").expect("there");
    assert!(matches!(bench.create("n1").await, Err(Refusal::Conflict(_))));
    assert!(bench.secrets.remove_node("n1").await.expect("removed"));
    bench.create("n1").await.expect("free again");
}

#[tokio::test]
async fn one_of_many_gets_a_name() {
    let bench = Arc::new(bench().await);
    let tries: Vec<_> = (0..32)
        .map(|_| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.create("n1").await.is_ok() })
        })
        .collect();
    let mut won = 0;
    for one in tries {
        won += usize::from(one.await.expect("joined"));
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn the_ttl_has_bounds_and_runs_out() {
    let bench = bench().await;
    let (_, secret) = bench.create("n1").await.expect("made");
    for bad in [1, 59_999, 15_552_000_001, u64::MAX] {
        let refused = bench.secrets.exchange(secret.expose(), Some(bad), None).await;
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{bad}");
    }
    for (given, ttl) in
        [(Some(0), 1_800_000), (None, 1_800_000), (Some(60_000), 60_000), (Some(15_552_000_000), 15_552_000_000)]
    {
        assert_eq!(bench.secrets.exchange(secret.expose(), given, None).await.expect("good").ttl_ms, ttl);
    }
    let token = bench.secrets.exchange(secret.expose(), Some(60_000), None).await.expect("good").access_token;
    bench.kit.clock.advance(Duration::from_millis(59_999));
    assert!(bench.node(&token).is_some());
    bench.kit.clock.advance(Duration::from_millis(1));
    assert!(bench.node(&token).is_none());
}

#[tokio::test]
async fn the_old_secret_is_good_until_the_new_one_is_used() {
    let bench = bench().await;
    let (_, first) = bench.create("n1").await.expect("made");
    let second = bench.exchange(&first).await.expect("good").new_secret;
    // The answer may be lost: the old one is good, and the same new one comes again.
    let again = bench.exchange(&first).await.expect("still good").new_secret;
    assert!(second.same(again.expose()), "at most one is pending");
    let third = bench.exchange(&second).await.expect("good").new_secret;
    assert_eq!(bench.exchange(&first).await.map(drop), Err(Refusal::Unauthenticated), "retired");
    assert!(!third.same(second.expose()));
    bench.exchange(&second).await.expect("the current one stays good");
    bench.exchange(&third).await.expect("good");
    assert_eq!(bench.exchange(&second).await.map(drop), Err(Refusal::Unauthenticated));
}

#[tokio::test]
async fn racing_rotations_leave_exactly_the_newest_pair() {
    let bench = Arc::new(bench().await);
    let (_, first) = bench.create("n1").await.expect("made");
    let second = bench.exchange(&first).await.expect("good").new_secret;
    let racers: Vec<_> = (0..40)
        .map(|n| {
            let (bench, secret) = (Arc::clone(&bench), if n % 2 == 0 { first.clone() } else { second.clone() });
            tokio::spawn(async move { (n % 2, bench.exchange(&secret).await.map(|e| e.new_secret)) })
        })
        .collect();
    let mut thirds = Vec::new();
    for racer in racers {
        match racer.await.expect("joined") {
            (0, Ok(new)) => assert!(new.same(second.expose())),
            (0, Err(refusal)) => assert_eq!(refusal, Refusal::Unauthenticated),
            (_, result) => thirds.push(result.expect("the new one is good in any order")),
        }
    }
    assert!(thirds.windows(2).all(|pair| pair[0].same(pair[1].expose())));
    assert_eq!(bench.exchange(&first).await.map(drop), Err(Refusal::Unauthenticated));
}

#[tokio::test]
async fn what_is_not_ours_is_refused() {
    let bench = bench().await;
    let (row, secret) = bench.create("n1").await.expect("made");
    let text = secret.expose();
    let forged = AgentSecret::random();
    let mut flipped = text.to_owned();
    flipped.replace_range(text.len() - 1.., if text.ends_with('A') { "B" } else { "A" });
    let ahead = text.replacen("000000.", "000005.", 1);
    assert_ne!(ahead, text);
    for bad in [String::new(), "x".into(), forged.whole().expose().into(), flipped, ahead, text.to_uppercase(), row.id]
    {
        let refused = bench.secrets.exchange(&bad, None, None).await.map(drop);
        assert_eq!(refused, Err(Refusal::Unauthenticated), "{bad}");
    }
}

#[tokio::test]
async fn revoking_is_final_and_leaves_tokens_unless_now() {
    let bench = bench().await;
    let (_, secret) = bench.create("n1").await.expect("made");
    let exchanged = bench.exchange(&secret).await.expect("good");
    let row = bench.secrets.revoke("n1", false).await.expect("revoked").expect("there");
    assert_eq!(row.status, SecretStatus::Revoked);
    for dead in [&secret, &exchanged.new_secret] {
        assert_eq!(bench.exchange(dead).await.map(drop), Err(Refusal::Unauthenticated));
    }
    assert!(bench.node(&exchanged.access_token).is_some(), "good until its ttl");
    bench.secrets.revoke("n1", true).await.expect("again").expect("there");
    assert!(bench.node(&exchanged.access_token).is_none());
    assert_eq!(bench.secrets.revoke("n2", true).await.expect("answered"), None);
}

#[tokio::test]
async fn no_token_slips_past_a_revocation() {
    let bench = Arc::new(bench().await);
    let (_, secret) = bench.create("n1").await.expect("made");
    let exchanges: Vec<_> = (0..40)
        .map(|_| {
            let (bench, secret) = (Arc::clone(&bench), secret.clone());
            tokio::spawn(async move { bench.exchange(&secret).await.ok().map(|e| e.access_token) })
        })
        .collect();
    tokio::task::yield_now().await;
    bench.secrets.revoke("n1", true).await.expect("revoked");
    for exchange in exchanges {
        if let Some(token) = exchange.await.expect("joined") {
            assert!(bench.node(&token).is_none());
        }
    }
}

#[tokio::test]
async fn tokens_and_rotations_outlive_a_restart() {
    let bench = bench().await;
    let (_, first) = bench.create("n1").await.expect("made");
    let exchanged = bench.exchange(&first).await.expect("good");
    let kit = bench.kit.restarted().await;
    let bench = Bench { secrets: open(&kit).await, kit };
    assert_eq!(bench.node(&exchanged.access_token).as_deref(), Some("n1"));
    bench.exchange(&exchanged.new_secret).await.expect("good");
    assert_eq!(bench.exchange(&first).await.map(drop), Err(Refusal::Unauthenticated));
}

#[tokio::test]
async fn a_state_from_a_backup_knows_a_later_rotation() {
    let bench = bench().await;
    let (_, first) = bench.create("n1").await.expect("made");
    bench.create("n2").await.expect("made");
    let database = bench.kit.config.state_dir.join("sheaf.db");
    let backup = bench.kit.folder.path().join("backup.db");
    rusqlite::Connection::open(&database)
        .and_then(|live| live.execute("VACUUM INTO ?1", [backup.to_string_lossy()]))
        .expect("a backup");
    let mut latest = first.clone();
    for _ in 0..3 {
        latest = bench.exchange(&latest).await.expect("good").new_secret;
    }
    // The state as it was: the agent is three rotations ahead of it.
    let Bench { kit, secrets } = bench;
    drop(secrets);
    let restored = tempfile::tempdir().expect("a temporary folder");
    std::fs::copy(&backup, restored.path().join("sheaf.db")).expect("restored");
    let store = Store::open(restored.path()).expect("opens");
    let secrets = Secrets::open(store, kit.vault(), kit.clock.clone(), kit.audit()).await.expect("opened");
    let next = secrets.exchange(latest.expose(), None, None).await.expect("accepted").new_secret;
    assert_eq!(
        secrets.exchange(first.expose(), None, None).await.map(drop),
        Err(Refusal::Unauthenticated),
        "older ones are not"
    );
    secrets.revoke("n1", false).await.expect("revoked");
    assert_eq!(
        secrets.exchange(next.expose(), None, None).await.map(drop),
        Err(Refusal::Unauthenticated),
        "nor revoked ones"
    );
}

#[tokio::test]
async fn another_node_of_the_same_name_is_another_node() {
    let bench = bench().await;
    let (_, before) = bench.create("n1").await.expect("made");
    let token = bench.exchange(&before).await.expect("good").access_token;
    bench.secrets.remove_node("n1").await.expect("removed");
    assert!(bench.node(&token).is_none());
    let (_, after) = bench.create("n1").await.expect("made");
    assert_eq!(bench.exchange(&before).await.map(drop), Err(Refusal::Unauthenticated));
    bench.exchange(&after).await.expect("good");
    assert!(!bench.secrets.remove_node("n9").await.expect("answered"));
}

#[tokio::test]
async fn tokens_of_one_secret_are_bounded() {
    let bench = bench().await;
    let (_, secret) = bench.create("n1").await.expect("made");
    let first = bench.exchange(&secret).await.expect("good").access_token;
    for _ in 0..TOKENS {
        bench.secrets.exchange(secret.expose(), Some(3_600_000), None).await.expect("good");
    }
    assert!(bench.node(&first).is_none(), "the one that would expire first went");
    let kept = bench.kit.store().tokens(bench.kit.clock.now_ms()).await.expect("read").len();
    assert_eq!(kept, TOKENS as usize);
}

#[tokio::test]
async fn other_tokens_are_nobody() {
    let bench = bench().await;
    let (row, secret) = bench.create("n1").await.expect("made");
    let token = bench.exchange(&secret).await.expect("good").access_token;
    let id = row.id;
    for bad in ["", ".", "x", &format!("{id}."), &format!("{id}.x"), &token.expose()[1..], &"x".repeat(500)] {
        assert!(bench.secrets.agent_by_token(bad).is_none(), "{bad}");
    }
}

#[tokio::test]
async fn the_audit_log_hears_of_renewals_once_a_day_and_at_once_of_what_is_new() {
    let bench = bench().await;
    let (_, mut secret) = bench.create("n1").await.expect("made");
    let here: Option<IpAddr> = Some([192, 0, 2, 1].into());
    let there: Option<IpAddr> = Some([198, 51, 100, 7].into());
    let records = async || {
        let query = crate::coordinator::audit::Query { limit: 1000, ..Default::default() };
        let page = bench.secrets.audit.read(query).await.expect("read");
        page.records.iter().filter(|record| record.what == EXCHANGE).count()
    };
    for _ in 0..50 {
        secret = bench.secrets.exchange(secret.expose(), None, here).await.expect("good").new_secret;
    }
    assert_eq!(records().await, 1);
    secret = bench.secrets.exchange(secret.expose(), None, there).await.expect("good").new_secret;
    assert_eq!(records().await, 2, "from elsewhere");
    bench.kit.clock.advance(Duration::from_millis(TOLD_MS as u64));
    secret = bench.secrets.exchange(secret.expose(), None, there).await.expect("good").new_secret;
    assert_eq!(records().await, 3, "a day later");
    bench.secrets.revoke("n1", false).await.expect("revoked");
    assert_eq!(bench.secrets.exchange(secret.expose(), None, there).await.map(drop), Err(Refusal::Unauthenticated));
    assert_eq!(records().await, 4, "what is refused");
}
