//! Passwords and sessions.

use super::*;
use crate::coordinator::kit::{Kit, PASSWORD};
use crate::coordinator::principal::{Door, Scope};

fn users(kit: &Kit) -> Users {
    Users::new(kit.store(), kit.clock.clone())
}

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

#[tokio::test]
async fn the_right_password_is_the_user() {
    let kit = Kit::new().await;
    let users = users(&kit);
    for _ in 0..2 {
        let who = users.login("admin", &secret(PASSWORD), None).await.expect("right");
        assert_eq!(who, kit.admin());
    }
    for (name, password) in
        [("admin", "wrong horse"), ("admin", ""), ("nobody", PASSWORD), ("", ""), ("Admin", PASSWORD)]
    {
        assert_eq!(users.login(name, &secret(password), None).await.map(drop), Err(Refusal::Unauthenticated), "{name}");
    }
    let long = "x".repeat(1 << 20);
    assert_eq!(users.login("admin", &secret(&long), None).await.map(drop), Err(Refusal::Unauthenticated));
}

#[tokio::test]
async fn a_remembered_success_ends_with_the_password_and_with_time() {
    let kit = Kit::new().await;
    let users = users(&kit);
    users.login("admin", &secret(PASSWORD), None).await.expect("right");
    assert!(users.remembered.lock().expect("whole").values().all(|until| *until > kit.clock.now_ms()));
    assert!(users.change_password("admin", &secret("another horse"), false).await.expect("changed"));
    assert_eq!(users.login("admin", &secret(PASSWORD), None).await.map(drop), Err(Refusal::Unauthenticated));
    users.login("admin", &secret("another horse"), None).await.expect("right");
    let key = *users.remembered.lock().expect("whole").keys().next().expect("one");
    kit.clock.advance(REMEMBERED);
    assert!(!users.is_remembered(&key));
}

#[tokio::test]
async fn at_most_two_passwords_are_hashed_at_once_and_a_flood_is_refused() {
    let kit = Kit::new().await;
    let users = users(&kit);
    let flood: Vec<_> = (0..AT_ONCE + WAITING + 40)
        .map(|n| {
            let users = users.clone();
            tokio::spawn(
                async move { users.login("admin", &secret(&format!("wrong horse {n}")), None).await.map(drop) },
            )
        })
        .collect();
    let (mut refused, mut busy) = (0, 0);
    for login in flood {
        assert!(AT_ONCE - users.hashing.available_permits() <= AT_ONCE);
        match login.await.expect("joined") {
            Err(Refusal::Unauthenticated) => refused += 1,
            Err(Refusal::Busy) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused >= AT_ONCE + WAITING, "{refused}");
    assert!(busy > 0);
    users.login("admin", &secret(PASSWORD), None).await.expect("and then all is well");
}

#[tokio::test]
async fn a_session_is_good_while_it_is_used() {
    let kit = Kit::new().await;
    let users = users(&kit);
    let id = users.open_session(&kit.admin()).await.expect("opened");
    let opened = kit.clock.now_ms();
    let by_session = Principal { door: Door::Session, ..kit.admin() };
    for _ in 0..3 {
        kit.clock.advance(limits::SESSION - Duration::from_millis(1));
        let session = users.session(id.expose()).await.expect("good");
        assert_eq!((session.principal, session.created_ms), (by_session.clone(), opened));
    }
    kit.clock.advance(limits::SESSION);
    assert_eq!(users.session(id.expose()).await.map(drop), Err(Refusal::Unauthenticated));
    assert_eq!(users.close_session(id.expose()).await, Err(Refusal::Unauthenticated));
}

#[tokio::test]
async fn a_closed_session_and_others_are_nobody() {
    let kit = Kit::new().await;
    let users = users(&kit);
    let id = users.open_session(&kit.admin()).await.expect("opened");
    users.close_session(id.expose()).await.expect("closed");
    for bad in [id.expose(), "", "x", &"x".repeat(5000)] {
        assert_eq!(users.session(bad).await.map(drop), Err(Refusal::Unauthenticated));
    }
    let id = users.open_session(&kit.admin()).await.expect("opened");
    users.change_password("admin", &secret("another horse"), false).await.expect("changed");
    assert_eq!(users.session(id.expose()).await.map(drop), Err(Refusal::Unauthenticated), "a new password ends them");
}

#[tokio::test]
async fn what_expired_is_forgotten_and_nothing_else() {
    let kit = Kit::new().await;
    let users = users(&kit);
    users.open_session(&kit.admin()).await.expect("opened");
    kit.clock.advance(limits::SESSION / 2);
    let alive = users.open_session(&kit.admin()).await.expect("opened");
    kit.clock.advance(limits::SESSION / 2);
    let store = kit.store();
    assert_eq!(store.forget_expired(kit.clock.now_ms(), idle_ms()).await.expect("swept"), 1);
    assert_eq!(store.forget_expired(kit.clock.now_ms(), idle_ms()).await.expect("swept"), 0);
    users.session(alive.expose()).await.expect("good");
}

#[tokio::test]
async fn a_right_password_is_heard_when_its_source_is_quiet() {
    let kit = Kit::new().await;
    let users = users(&kit);
    let address = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(users.login("admin", &secret("wrong horse"), address(1)).await.map(drop));
    }
    assert!(answers[..10].iter().all(|answer| *answer == Err(Refusal::Unauthenticated)), "{answers:?}");
    assert!(matches!(answers[11], Err(Refusal::Throttled(1..=6))), "{answers:?}");
    // Also what was good a moment ago is not looked at: it could be guessed at all the faster.
    users.login("admin", &secret(PASSWORD), address(2)).await.expect("a quiet source");
    assert!(matches!(users.login("admin", &secret(PASSWORD), address(1)).await, Err(Refusal::Throttled(_))));
    kit.clock.advance(Duration::from_secs(6));
    users.login("admin", &secret(PASSWORD), address(1)).await.expect("after a while");
}

#[tokio::test]
async fn a_session_outlives_a_restart() {
    let kit = Kit::new().await;
    let id = users(&kit).open_session(&kit.admin()).await.expect("opened");
    let kit = kit.restarted().await;
    users(&kit).session(id.expose()).await.expect("good");
}

#[tokio::test]
async fn unusable_names_and_passwords_are_refused() {
    let kit = Kit::new().await;
    let users = users(&kit);
    for name in ["", "a:b", "a b", "ä", &"x".repeat(65)] {
        let refused = users.add(name, &secret(PASSWORD), Role::Viewer, None).await;
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{name}");
    }
    assert!(matches!(users.add("a", &secret("short"), Role::Viewer, None).await, Err(Refusal::Invalid(_))));
    assert!(users.add("a", &secret(PASSWORD), Role::Viewer, None).await.expect("added"));
    assert!(!users.add("a", &secret(PASSWORD), Role::Admin, None).await.expect("taken"));
    assert_eq!(users.login("a", &secret(PASSWORD), None).await.expect("right").role, Role::Viewer);
}

#[test]
fn a_role_may_what_those_below_it_may() {
    let who = |role| Principal::new("x", role, Scope::All, Door::Password);
    assert!(who(Role::Admin).needs(Role::Operator).is_ok());
    assert_eq!(who(Role::Viewer).needs(Role::Operator), Err(Refusal::Forbidden));
    assert_eq!(who(Role::Operator).needs(Role::Admin), Err(Refusal::Forbidden));
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        assert_eq!(Role::parse(role.as_str()), Some(role));
    }
}
