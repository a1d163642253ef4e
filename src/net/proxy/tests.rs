//! A proxy that lets through, refuses, is silent, talks nonsense, or is not there.

use std::net::SocketAddr;

use tokio::io::AsyncBufReadExt as _;
use tokio::net::TcpListener;

use super::*;

/// Answers one connection with `answer`, echoes what comes after it, and gives the request's head.
async fn proxy(answer: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let served = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("a connection");
        let mut tcp = tokio::io::BufReader::new(tcp);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            tcp.read_line(&mut line).await.expect("a line");
            if line == "\r\n" || line.is_empty() {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        tcp.write_all(answer).await.expect("answered");
        tcp.flush().await.expect("flushed");
        let mut byte = [0];
        while let Ok(1) = tcp.read(&mut byte).await {
            tcp.write_all(&byte).await.expect("echoed");
            tcp.flush().await.expect("flushed");
        }
        lines
    });
    (at, served)
}

fn of(at: SocketAddr, credentials: Option<&str>) -> Proxy {
    Proxy::new(&format!("http://{at}"), credentials.map(Secret::new), &[]).expect("a proxy")
}

#[tokio::test]
async fn it_lets_through_to_the_host_that_was_asked_for() {
    let (at, served) = proxy(b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n").await;
    let mut tcp = of(at, Some("ada:s3:cret\n")).connect("coordinator.example", 25556).await.expect("through");
    tcp.write_all(b"x").await.expect("sent");
    let mut byte = [0];
    tcp.read_exact(&mut byte).await.expect("echoed");
    drop(tcp);
    let request = served.await.expect("served");
    assert_eq!(request[0], "CONNECT coordinator.example:25556 HTTP/1.1");
    assert_eq!(request[1], "Host: coordinator.example:25556");
    assert_eq!(request[2], format!("Proxy-Authorization: Basic {}", STANDARD.encode("ada:s3:cret")));
    let (at, served) = proxy(b"HTTP/1.1 200 OK\r\n\r\n").await;
    drop(of(at, None).connect("[fd00::1]", 1).await.expect("through"));
    assert_eq!(served.await.expect("served"), ["CONNECT [fd00::1]:1 HTTP/1.1", "Host: [fd00::1]:1"]);
}

#[tokio::test]
async fn what_a_proxy_answers_instead_is_said() {
    for (answer, credentials, expected) in [
        (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], None, "wants a user and a password"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Some("a:b"), "refuses the user and the password"),
        (
            b"HTTP/1.1 403 Not\x1b[2J allowed\r\nX: y\r\n\r\n<html>",
            None,
            "refuses a connection to c:1: 403 Not\\u{1b}[2J allowed",
        ),
        (b"HTTP/1.1 503\r\n\r\n", None, "503"),
        (b"220 mail.example ESMTP\r\n\r\n", None, "does not answer as an HTTP proxy does"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", None, "does not answer as an HTTP proxy does"),
    ] {
        let (at, _served) = proxy(answer).await;
        let error = of(at, credentials).connect("c", 1).await.expect_err("no way through").to_string();
        assert!(error.contains(expected) && error.contains(&at.to_string()), "{error}");
        assert!(!error.contains("a:b"), "{error}");
    }
}

#[tokio::test]
async fn a_head_without_an_end_and_a_proxy_that_hangs_up_are_no_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let served = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        let flood = vec![b'x'; 64 << 10];
        while tcp.write_all(&flood).await.is_ok() {}
        drop(listener.accept().await.expect("another"));
    });
    let error = of(at, None).connect("c", 1).await.expect_err("a flood");
    assert!(matches!(error, ProxyError::NoProxy(_)), "{error:?}");
    let error = of(at, None).connect("c", 1).await.expect_err("nothing");
    assert!(matches!(error, ProxyError::HungUp(_) | ProxyError::Broken(..)), "{error:?}");
    served.await.expect("served");
    // The port is nobody's now.
    let error = of(at, None).connect("c", 1).await.expect_err("nobody");
    assert!(matches!(error, ProxyError::Connect(..)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_proxy_is_waited_for_only_so_long() {
    // The kernel takes the connection, and nobody ever reads from it.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let began = tokio::time::Instant::now();
    let error = of(listener.local_addr().expect("an address"), None).connect("c", 1).await.expect_err("silence");
    assert!(matches!(error, ProxyError::Late(_)), "{error:?}");
    assert!(began.elapsed() <= WAIT + HANDSHAKE);
}

#[test]
fn only_plain_proxies_with_a_port_are_taken() {
    for bad in
        ["", "proxy:3128", "https://proxy:3128", "http://proxy", "http://:3128", "http://proxy:3128/x", "socks5://p:1"]
    {
        assert!(matches!(Proxy::new(bad, None, &[]), Err(ProxyError::Url(_))), "{bad}");
    }
    assert!(matches!(Proxy::new("http://ada:pw@proxy:3128", None, &[]), Err(ProxyError::InUrl)));
    for bad in ["", "ada", ":pw", "ada:p\nw"] {
        let made = Proxy::new("http://proxy:3128", Some(Secret::new(bad)), &[]);
        assert!(matches!(made, Err(ProxyError::Credentials)), "{bad:?}");
    }
    let shown = format!("{:?}", of(([10, 0, 0, 1], 3128).into(), Some("ada:geheim")));
    assert!(shown.contains("10.0.0.1:3128") && !shown.contains(&STANDARD.encode("ada:geheim")), "{shown}");
    assert_eq!(of(([1, 1, 1, 1], 1).into(), Some("a:b")), of(([1, 1, 1, 1], 1).into(), Some("a:b")));
    assert_ne!(of(([1, 1, 1, 1], 1).into(), Some("a:b")), of(([1, 1, 1, 1], 1).into(), Some("a:c")));
    assert_ne!(of(([1, 1, 1, 1], 1).into(), Some("a:b")), of(([1, 1, 1, 1], 1).into(), None));
}

#[test]
fn hosts_are_reached_without_it_by_name_domain_address_and_network() {
    let words = ["internal", ".example.org", "*.corp.example", "10.0.0.0/8", "192.0.2.7", "fd00::/8", "[2001:db8::1]"];
    let proxy = Proxy::new("http://p:1", None, &words.map(str::to_owned)).expect("a proxy");
    for direct in [
        "internal",
        "INTERNAL",
        "a.internal",
        "example.org",
        "a.b.example.org.",
        "x.corp.example",
        "10.9.8.7",
        "192.0.2.7",
        "fd12::1",
        "[fd12::1]",
        "2001:db8::1",
        "::ffff:10.1.2.3",
    ] {
        assert!(!proxy.serves(direct), "{direct}");
    }
    for served in ["notinternal", "badexample.org", "11.0.0.1", "192.0.2.8", "2001:db8::2", "10.example"] {
        assert!(proxy.serves(served), "{served}");
    }
    assert!(!Proxy::new("http://p:1", None, &["*".to_owned()]).expect("a proxy").serves("anything"));
    assert!(!Proxy::new("http://p:1", None, &["0.0.0.0/0".to_owned()]).expect("a proxy").serves("8.8.8.8"));
    for bad in ["", ".", "10.0.0.0/33", "fd00::/129", "10.0.0.0/x", "a b", "x/8", "http://x"] {
        let made = Proxy::new("http://p:1", None, &[bad.to_owned()]);
        assert!(matches!(made, Err(ProxyError::Except(_))), "{bad}");
    }
}
