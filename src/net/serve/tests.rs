//! Listeners against peers that misbehave, over real sockets. Limits are short here, and each test waits for what the listener does.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;

use super::*;
use crate::net::body::{BodyError, capped, channel};
use crate::net::kit::Ca;
use crate::net::tls::{H1, H2, H2_AND_H1, client_config, client_config_with, server_config};

mod handshakes;
mod unread;

const SHORT: Duration = Duration::from_millis(200);
/// Longer than any of these may take; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    ca: Ca,
    addr: SocketAddr,
    shutdown: Shutdown,
    serving: tokio::task::JoinHandle<()>,
}

fn short() -> ServeLimits {
    ServeLimits {
        handshake: SHORT,
        header_wait: SHORT,
        idle: SHORT,
        write_idle: SHORT,
        drain: PATIENCE,
        ..ServeLimits::public()
    }
}

async fn server(router: Router, limits: ServeLimits, clients: Option<&Ca>) -> Server {
    let ca = Ca::new();
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.expect("a port");
    let addr = listener.addr();
    let config = server_config(ca.identity(&["127.0.0.1"]), H2_AND_H1, clients.map(Ca::pem)).expect("settings");
    let shutdown = Shutdown::new();
    let serving = tokio::spawn(serve(listener, TlsHandle::new(config), router, limits, shutdown.clone()));
    Server { ca, addr, shutdown, serving }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

impl Server {
    async fn tls(&self, alpn: &[&[u8]]) -> ClientStream<TcpStream> {
        let config = client_config(self.ca.pem(), alpn).expect("settings");
        let socket = TcpStream::connect(self.addr).await.expect("connected");
        let name = ServerName::IpAddress(self.addr.ip().into());
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("a handshake")
    }

    async fn h2(&self) -> http2::SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.tls(H2).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        sender
    }

    async fn is_alive(&self) {
        let mut stream = self.tls(H1).await;
        let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let answer = exchange(&mut stream, request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// Writes, then reads to the end, which must come.
async fn exchange(stream: &mut ClientStream<TcpStream>, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.expect("written");
    to_the_end(stream).await
}

async fn to_the_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    // A connection that is cut without farewell ends by an error, which is an end too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the listener ends it");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_peer_that_does_not_shake_hands_is_let_go() {
    let server = server(hello(), short(), None).await;
    let mut socket = TcpStream::connect(server.addr).await.expect("connected");
    assert_eq!(to_the_end(&mut socket).await, "");
    // Nor one that says something else.
    let mut socket = TcpStream::connect(server.addr).await.expect("connected");
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    to_the_end(&mut socket).await;
    server.is_alive().await;
}

#[tokio::test]
async fn slow_headers_end_the_connection_and_nobody_elses() {
    let server = server(hello(), short(), None).await;
    let mut slow = server.tls(H1).await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.expect("written");
    let (mut reads, mut writes) = tokio::io::split(slow);
    let ended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ended);
    let drip = tokio::spawn(async move {
        while !seen.load(Ordering::SeqCst) && writes.write_all(b"x-a: b\r\n").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    server.is_alive().await;
    to_the_end(&mut reads).await;
    ended.store(true, Ordering::SeqCst);
    drip.await.expect("the drip ends");
}

#[tokio::test]
async fn a_silent_http2_peer_is_let_go() {
    let server = server(hello(), short(), None).await;
    let mut silent = server.tls(H2).await;
    to_the_end(&mut silent).await;
}

#[tokio::test]
async fn a_connection_without_work_is_let_go() {
    let server = server(hello(), short(), None).await;
    let mut sender = server.h2().await;
    let answer = sender.send_request(request("/")).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    drop(answer);
    tokio::time::timeout(PATIENCE, async {
        // `ready` fails once the connection is gone.
        while sender.ready().await.is_ok() && !sender.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the listener ends it");
}

#[tokio::test]
async fn too_many_and_too_large_headers_are_refused() {
    let server = server(hello(), short(), None).await;
    let mut many = String::from("GET / HTTP/1.1\r\nhost: x\r\n");
    (0..200).for_each(|n| many.push_str(&format!("x-{n}: y\r\n")));
    many.push_str("\r\n");
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(limits::HEADERS * 2));
    for request in [many, large] {
        let mut stream = server.tls(H1).await;
        let answer = exchange(&mut stream, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    server.is_alive().await;
}

fn reader() -> Router {
    Router::new().route("/", get(|| async { "hello" })).route(
        "/read",
        post(|body: Body| async move {
            match capped(body, 1000, SHORT).await {
                Ok(bytes) => (StatusCode::OK, bytes.len().to_string()),
                Err(BodyError::TooLarge(_)) => (StatusCode::PAYLOAD_TOO_LARGE, String::new()),
                Err(BodyError::Idle(_)) => (StatusCode::REQUEST_TIMEOUT, String::new()),
                Err(BodyError::Broken(_)) => (StatusCode::BAD_REQUEST, String::new()),
            }
        }),
    )
}

#[tokio::test]
async fn oversized_and_standing_bodies_are_refused() {
    let server = server(reader(), short(), None).await;
    let chunk = format!("{:x}\r\n{}\r\n", 2000, "y".repeat(2000));
    let head = "POST /read HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    for (rest, status) in [
        ("content-length: 5\r\n\r\n12345".to_owned(), "200"),
        ("content-length: 99999999999\r\n\r\n".to_owned(), "413"),
        (format!("transfer-encoding: chunked\r\n\r\n{chunk}"), "413"),
        ("content-length: 500\r\n\r\nstart".to_owned(), "408"),
    ] {
        let mut stream = server.tls(H1).await;
        let answer = exchange(&mut stream, format!("{head}{rest}").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
    }
}

#[tokio::test]
async fn connections_past_the_cap_wait_for_a_place() {
    let limits = ServeLimits { connections: 1, idle: PATIENCE, header_wait: PATIENCE, handshake: PATIENCE, ..short() };
    let server = server(hello(), limits, None).await;
    let first = server.tls(H1).await;
    let second = server.is_alive();
    tokio::pin!(second);
    tokio::select! {
        biased;
        () = &mut second => panic!("two connections at the same time"),
        () = tokio::time::sleep(SHORT) => {}
    }
    drop(first);
    tokio::time::timeout(PATIENCE, second).await.expect("served once there is a place");
}

#[tokio::test]
async fn a_reader_that_stops_reading_is_let_go() {
    let gone = Arc::new(Notify::new());
    let seen = Arc::clone(&gone);
    let endless = get(move || async move {
        let (sender, body) = channel(1, PATIENCE);
        tokio::spawn(async move {
            while sender.send(Bytes::from(vec![0; 1 << 20])).await.is_ok() {}
            seen.notify_one();
        });
        Body::new(body)
    });
    let server = server(Router::new().route("/", endless), short(), None).await;
    let mut stream = server.tls(H1).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    // The stream is kept and not read.
    tokio::time::timeout(PATIENCE, gone.notified()).await.expect("the writer learns that nobody reads");
    drop(stream);
}

#[tokio::test]
async fn client_certificates_are_asked_for_and_checked() {
    let (clients, strangers) = (Ca::new(), Ca::new());
    let who = get(|Extension(peer): Extension<Peer>| async move {
        assert!(peer.addr.ip().is_loopback());
        peer.certificate.map_or("nobody".to_owned(), |certificate| format!("{} bytes", certificate.len()))
    });
    let server = server(Router::new().route("/", who), short(), Some(&clients)).await;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut without = server.tls(H1).await;
    assert!(exchange(&mut without, request).await.ends_with("nobody"));
    for (ca, good) in [(&clients, true), (&strangers, false)] {
        let identity = ca.identity(&["somebody"]);
        let length = identity.chain[0].len();
        let config = client_config_with(server.ca.pem(), identity, H1).expect("settings");
        let socket = TcpStream::connect(server.addr).await.expect("connected");
        let name = ServerName::IpAddress(server.addr.ip().into());
        // In TLS 1.3 the client learns of its refusal only when it reads.
        let mut answer = String::new();
        if let Ok(mut stream) = TlsConnector::from(Arc::new(config)).connect(name, socket).await
            && stream.write_all(request).await.is_ok()
        {
            answer = to_the_end(&mut stream).await;
        }
        assert_eq!(answer.ends_with(&format!("{length} bytes")), good, "{answer}");
    }
}

#[tokio::test]
async fn what_is_at_work_is_finished_before_the_stop() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, go) = (Arc::clone(&entered), Arc::clone(&release));
    let slow = get(move || async move {
        inside.notify_one();
        go.notified().await;
        "done"
    });
    for alpn in [H1, H2] {
        let server = server(Router::new().route("/", slow.clone()), short(), None).await;
        let answer = if alpn == H1 {
            let mut stream = server.tls(H1).await;
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
            tokio::spawn(async move { to_the_end(&mut stream).await })
        } else {
            let mut sender = server.h2().await;
            tokio::spawn(async move {
                let answer = sender.send_request(request("/")).await.expect("an answer");
                let body = answer.into_body().collect().await.expect("a body").to_bytes();
                String::from_utf8_lossy(&body).into_owned()
            })
        };
        entered.notified().await;
        server.shutdown.stop();
        // The port is closed before the work is done.
        tokio::time::timeout(PATIENCE, async {
            while TcpStream::connect(server.addr).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("no more connections");
        assert!(!server.serving.is_finished());
        release.notify_one();
        assert!(answer.await.expect("joined").ends_with("done"));
        tokio::time::timeout(PATIENCE, server.serving).await.expect("it ends").expect("joined");
    }
}

#[tokio::test]
async fn a_reader_that_stands_still_does_not_hold_up_the_stop() {
    let gone = Arc::new(Notify::new());
    let (entered, seen) = (Arc::new(Notify::new()), Arc::clone(&gone));
    let inside = Arc::clone(&entered);
    let endless = get(move || async move {
        let (sender, body) = channel(1, PATIENCE);
        tokio::spawn(async move {
            inside.notify_one();
            while sender.send(Bytes::from(vec![0; 1 << 20])).await.is_ok() {}
            seen.notify_one();
        });
        Body::new(body)
    });
    let limits = ServeLimits { drain: SHORT, write_idle: PATIENCE * 10, ..short() };
    let server = server(Router::new().route("/", endless), limits, None).await;
    let mut stream = server.tls(H1).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    entered.notified().await;
    server.shutdown.stop();
    tokio::time::timeout(PATIENCE, server.serving).await.expect("it ends").expect("joined");
    tokio::time::timeout(PATIENCE, gone.notified()).await.expect("and so does the work");
    drop(stream);
}

#[tokio::test]
async fn held_back_uploads_leave_room_for_a_heartbeat() {
    let hold = Arc::new(Notify::new());
    let held = Arc::clone(&hold);
    let router = Router::new().route("/", get(|| async { "beat" })).route(
        "/upload",
        post(move |body: Body| async move {
            // As a coordinator whose memory is full: the body is not touched.
            held.notified().await;
            drop(body);
            "late"
        }),
    );
    let server = server(router, ServeLimits::agents(), None).await;
    let sender = server.h2().await;
    let mut uploads = Vec::new();
    for _ in 0..ServeLimits::agents().streams - 1 {
        let mut sender = sender.clone();
        let upload =
            Request::post("https://x/upload").body(Full::new(Bytes::from(vec![7; 4 << 20]))).expect("a request");
        uploads.push(tokio::spawn(async move { sender.send_request(upload).await.map(|answer| answer.status()) }));
    }
    for _ in 0..20 {
        let mut beat = sender.clone();
        let body = Full::new(Bytes::from_static(b"vitals"));
        let request = Request::get("https://x/").body(body).expect("a request");
        let answer =
            tokio::time::timeout(PATIENCE, beat.send_request(request)).await.expect("in time").expect("answered");
        assert_eq!(answer.status(), StatusCode::OK);
    }
    while uploads.iter().any(|upload| !upload.is_finished()) {
        hold.notify_waiters();
        tokio::task::yield_now().await;
    }
    for upload in uploads {
        assert_eq!(upload.await.expect("joined").expect("answered"), StatusCode::OK);
    }
}

fn request(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://x{path}")).body(Full::default()).expect("a request")
}

/// Answers before any of the body is read, and after a piece of it.
fn refuser() -> Router {
    let unread = post(|| async { (StatusCode::FORBIDDEN, "not you") });
    reader().route("/unread", unread)
}

/// A body whose pieces are handed over one by one.
async fn h2_pieces(server: &Server) -> http2::SendRequest<crate::net::body::Streamed> {
    let io = TokioIo::new(server.tls(H2).await);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn what_a_handler_left_unread_is_taken_before_the_stream_ends() {
    let limits = ServeLimits { rest: 300_000, rest_idle: PATIENCE, idle: PATIENCE, header_wait: PATIENCE, ..short() };
    let server = server(refuser(), limits, None).await;
    for path in ["/unread", "/read", "/nowhere"] {
        let mut sender = h2_pieces(&server).await;
        let (pieces, body) = channel(1, PATIENCE);
        let request = Request::post(format!("https://x{path}")).body(body).expect("a request");
        let answer = sender.send_request(request);
        let written = async {
            // More than the stream's window: a body that nobody takes stands still, a stream that is reset takes no more.
            for _ in 0..4 {
                pieces.send(Bytes::from(vec![7; 50_000])).await.expect("taken");
            }
            pieces.finish().await.expect("the stream is not reset");
        };
        let (answer, ()) =
            tokio::time::timeout(PATIENCE, futures_util::future::join(answer, written)).await.expect(path);
        let answer = answer.expect("an answer");
        assert!(answer.status().is_client_error(), "{path}: {}", answer.status());
        answer.into_body().collect().await.expect("a whole answer");
    }
}

#[tokio::test]
async fn what_is_left_unread_is_bounded_in_bytes_and_in_time() {
    const LONG: Duration = Duration::from_secs(PATIENCE.as_secs() * 10);
    let limits = ServeLimits { rest: 300_000, rest_idle: LONG, header_wait: LONG, idle: LONG, ..short() };
    let endless = server(refuser(), limits, None).await;
    let mut sender = h2_pieces(&endless).await;
    let (pieces, body) = channel(1, PATIENCE);
    let request = Request::post("https://x/unread").body(body).expect("a request");
    let answer = sender.send_request(request);
    let written = async { while pieces.send(Bytes::from(vec![7; 50_000])).await.is_ok() {} };
    let (answer, ()) = tokio::time::timeout(PATIENCE, futures_util::future::join(answer, written)).await.expect("cut");
    assert_eq!(answer.expect("an answer").status(), StatusCode::FORBIDDEN);

    let standing = server(refuser(), ServeLimits { rest_idle: SHORT, ..limits }, None).await;
    let mut sender = h2_pieces(&standing).await;
    let (pieces, body) = channel(1, PATIENCE);
    let request = Request::post("https://x/unread").body(body).expect("a request");
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("not held up for long");
    let answer = answer.expect("an answer, whatever comes of the body");
    let said = tokio::time::timeout(PATIENCE, answer.into_body().collect()).await.expect("the answer ends");
    assert_eq!(said.expect("whole").to_bytes(), "not you");
    tokio::time::timeout(PATIENCE, pieces.gone()).await.expect("and the stream with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_hears_the_answer_to_what_was_not_read() {
    use std::process::Command;
    let curl = |arguments: &[&str]| Command::new("curl").args(arguments).output();
    if !curl(&["--version"]).is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("HTTP2")) {
        let required = std::env::var_os("SHEAF_TEST_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "a curl that speaks HTTP/2 is required and not installed");
        return eprintln!("skipped: 1 check, since curl does not answer or speaks no HTTP/2");
    }
    let server = server(refuser(), ServeLimits::public(), None).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (ca, small, large) = (folder.path().join("ca"), folder.path().join("small"), folder.path().join("large"));
    let huge = folder.path().join("huge");
    std::fs::write(&huge, vec![b'y'; 3 << 20]).expect("written");
    std::fs::write(&ca, server.ca.pem()).expect("written");
    std::fs::write(&small, r#"{"name":"web-7"}"#).expect("written");
    std::fs::write(&large, vec![b'y'; 200_000]).expect("written");
    let cases =
        [("/unread", &small, "403"), ("/unread", &large, "403"), ("/read", &huge, "413"), ("/x", &small, "404")];
    for (round, (path, body, status)) in cases.into_iter().cycle().enumerate().take(40) {
        let (option, version) = if round % 3 == 0 { ("--http1.1", "1.1") } else { ("--http2", "2") };
        let url = format!("https://{}{path}", server.addr);
        let body = format!("@{}", body.display());
        let arguments =
            ["-sS", option, "-H", "expect:", "--cacert", ca.to_str().expect("text"), "-o", "/dev/null", "-w"]
                .into_iter()
                .map(str::to_owned)
                .chain(["%{http_version} %{http_code}".to_owned(), "--data-binary".to_owned(), body, url]);
        let arguments: Vec<_> = arguments.collect();
        let output = tokio::task::spawn_blocking(move || Command::new("curl").args(arguments).output());
        let output = output.await.expect("joined").expect("curl runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{version} {status}"), "{path}: {error}");
        assert_eq!(output.status.code(), Some(0), "{path}: {error}");
    }
}
