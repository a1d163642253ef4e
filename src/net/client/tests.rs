//! The client against real listeners: what it says when it cannot do what it should.

use axum::Router;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::*;
use crate::net::kit::Ca;
use crate::net::serve::{Listener, ServeLimits, serve};
use crate::net::tls::{H2_AND_H1, TlsHandle, server_config};
use crate::shutdown::Shutdown;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Echo {
    word: String,
}

async fn server(ca: &Ca, names: &[&str]) -> (String, Shutdown) {
    let router = Router::new()
        .route("/echo", post(|body: axum::Json<Echo>| async { body }))
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route("/refuse", get(|| async { (StatusCode::CONFLICT, r#"{"code":"conflict","message":"taken"}"#) }))
        .route("/odd", get(|| async { (StatusCode::BAD_GATEWAY, "<html>") }));
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.expect("a port");
    let base = format!("https://{}", listener.addr());
    let tls = TlsHandle::new(server_config(ca.identity(names), H2_AND_H1, None).expect("settings"));
    let shutdown = Shutdown::new();
    shutdown.spawn(serve(listener, tls, router, ServeLimits::public(), shutdown.clone()));
    (base, shutdown)
}

#[tokio::test]
async fn json_goes_out_and_comes_back() {
    let ca = Ca::new();
    let (base, _stop) = server(&ca, &["127.0.0.1"]).await;
    let client = Client::new(&format!("{base}/"), ca.pem()).expect("a client");
    let word = Echo { word: "x".into() };
    let answer: Echo = client.json(Method::POST, "/echo", HeaderMap::new(), Some(&word)).await.expect("an echo");
    assert_eq!(answer, word);
    client.json::<()>(Method::GET, "/empty", HeaderMap::new(), None::<&()>).await.expect("nothing is an answer");
}

#[tokio::test]
async fn a_refusal_speaks_with_the_coordinators_sentence() {
    let ca = Ca::new();
    let (base, _stop) = server(&ca, &["127.0.0.1"]).await;
    let client = Client::new(&base, ca.pem()).expect("a client");
    let refused = client.json::<()>(Method::GET, "/refuse", HeaderMap::new(), None::<&()>).await.expect_err("refused");
    assert_eq!(refused.to_string(), "taken");
    assert!(matches!(refused, ClientError::Refused { status: StatusCode::CONFLICT, .. }));
    let odd = client.json::<()>(Method::GET, "/odd", HeaderMap::new(), None::<&()>).await.expect_err("refused");
    assert!(odd.to_string().contains("502"), "{odd}");
}

#[tokio::test]
async fn a_foreign_certificate_tells_which_flag_to_use() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (base, _stop) = server(&ca, &["127.0.0.1"]).await;
    let client = Client::new(&base, other.pem()).expect("a client");
    let error = client.send(Method::GET, "/", HeaderMap::new(), Bytes::new()).await.map(drop).expect_err("not trusted");
    assert!(matches!(error, ClientError::NotTrusted { .. }), "{error:?}");
    assert!(error.to_string().contains("--ca"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name_says_so() {
    let ca = Ca::new();
    let (base, _stop) = server(&ca, &["elsewhere.example", "10.0.0.1"]).await;
    let client = Client::new(&base, ca.pem()).expect("a client");
    let error = client.send(Method::GET, "/", HeaderMap::new(), Bytes::new()).await.map(drop).expect_err("wrong name");
    assert!(matches!(error, ClientError::WrongName { .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_there_is_named() {
    // Bound and dropped: the port is free again.
    let addr = Listener::bind(([127, 0, 0, 1], 0).into()).await.expect("a port").addr();
    let client = Client::new(&format!("https://{addr}"), Ca::new().pem()).expect("a client");
    let error = client.send(Method::GET, "/", HeaderMap::new(), Bytes::new()).await.map(drop).expect_err("nobody");
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    assert!(crate::report::chain(&error).contains("refused"), "{}", crate::report::chain(&error));
}

#[test]
fn other_urls_are_refused() {
    let ca = Ca::new();
    for bad in ["", "host", "http://host", "https://", "https://host/path", "https://a b"] {
        assert!(matches!(Client::new(bad, ca.pem()), Err(ClientError::Url(_))), "{bad:?}");
    }
    assert!(matches!(Client::new("https://host", b"no pem"), Err(ClientError::Ca(_))));
}
