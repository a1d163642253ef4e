//! The data path end to end: real routes, real engine, real format; agents are scripts.

mod asked;
mod faults;
mod hostile;
mod kit;
mod merged;
mod reading;
mod restarted;
mod script;

#[tokio::test]
async fn whoever_is_at_the_wrong_listener_hears_of_the_other() {
    for (path, expected) in [("/sheaf/v1/nodes", "port 25555"), ("/agent/v9/session", "the same release")] {
        let answer = super::elsewhere(path.parse().expect("a URI")).await;
        assert_eq!(answer.status(), 404);
        let body = axum::body::to_bytes(answer.into_body(), 9999).await.expect("a body");
        let problem: crate::protocol::problem::Problem = serde_json::from_slice(&body).expect("a problem");
        assert!(problem.message.contains(expected), "{path}: {}", problem.message);
    }
}
