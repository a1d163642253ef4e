//! Servers that answer well, badly, slowly, and not at all.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread;

use super::*;

const LONG: Duration = Duration::from_secs(60);

type Got = (Vec<u8>, Option<(Outcome, String)>);

/// Asks for `/x`, with bounds.
fn ask(at: &Address, time: Duration, bytes: u64, token: Option<&str>) -> Result<Got, Refusal> {
    let stop = CancellationToken::new();
    let token = token.map(Secret::new);
    let request = Request { at, path: "/x?y=1", statuses: &[200], time, bytes, token, stop: &stop };
    let mut answer = request.send()?;
    let mut body = Vec::new();
    answer.open().expect("opened");
    answer.read_to_end(&mut body).expect("read");
    assert!(answer.open().is_err(), "once only");
    Ok((body, answer.after()))
}

/// A server of one answer; it gives back what it was asked.
fn serve(answer: &'static [u8], hold: bool) -> (Address, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let at = Address::Port(listener.local_addr().expect("an address"));
    let server = thread::spawn(move || {
        let (mut link, _) = listener.accept().expect("accepted");
        let said = asked(&mut link);
        let _ = link.write_all(answer);
        if hold {
            // Until the other side has had enough.
            let _ = link.read(&mut [0; 1]);
        }
        said
    });
    (at, server)
}

fn asked(link: &mut impl Read) -> String {
    let mut text = Vec::new();
    while end_of_head(&text).is_none() {
        let mut piece = [0; 1000];
        match link.read(&mut piece).expect("read") {
            0 => break,
            n => text.extend_from_slice(&piece[..n]),
        }
    }
    String::from_utf8(text).expect("text")
}

fn get(answer: &'static [u8]) -> Result<Got, Refusal> {
    let (at, server) = serve(answer, false);
    let got = ask(&at, LONG, 1000, None);
    server.join().expect("served");
    got
}

#[test]
fn an_answer_is_its_body() {
    let (at, server) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more", false);
    assert_eq!(ask(&at, LONG, 1000, Some("abc")), Ok((b"hello".to_vec(), None)), "no more than was promised");
    let said = server.join().expect("served");
    assert!(said.starts_with("GET /x?y=1 HTTP/1.0\r\nHost: 127.0.0.1:"), "{said}");
    assert!(said.contains("\r\nAuthorization: Bearer abc\r\n"), "{said}");
    assert_eq!(get(b"HTTP/1.0 200 OK\r\n\r\nto the end"), Ok((b"to the end".to_vec(), None)));
    assert_eq!(get(b"HTTP/1.0 200 OK\nX: y\n\n"), Ok((Vec::new(), None)));
}

#[test]
fn a_socket_that_may_not_be_asked_is_not_a_failure() {
    if rustix::process::geteuid().is_root() {
        // Root may ask all.
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.sock");
    let _listener = UnixListener::bind(&path).expect("bound");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).expect("chmod");
    let at = Address::Socket(path.clone());
    let reason = format!("the agent may not ask unix:{}", path.display());
    assert_eq!(ask(&at, LONG, 1, None), Err(Refusal::Denied(reason)));
}

#[test]
fn a_status_that_is_no_success_keeps_its_page() {
    let (body, trouble) = get(b"HTTP/1.0 503 Busy\r\n\r\nwhy").expect("an answer");
    assert_eq!(body, b"why");
    assert_eq!(trouble, Some((Outcome::Failed, "the server answers 503".to_owned())));
    let (_, trouble) = get(b"HTTP/1.0 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n").expect("an answer");
    assert!(trouble.expect("trouble").1.ends_with("redirects are not followed"));
}

#[test]
fn what_cannot_be_read_is_a_refusal() {
    for (answer, expected) in [
        (b"".as_slice(), "says nothing"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP: `SSH-2.0-OpenSSH`"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "codes an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no length"),
        (b"HTTP/1.1 200 OK\r\nCont", "breaks off"),
    ] {
        let refusal = get(answer).expect_err("refused").to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn nobody_there_is_no_failure() {
    let at = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        Address::Port(listener.local_addr().expect("an address"))
    };
    assert_eq!(ask(&at, LONG, 1, None), Err(Refusal::Absent(format!("nothing listens on {at}"))));
    let none = Address::Socket("/nonexistent/x.sock".into());
    assert_eq!(ask(&none, LONG, 1, None).expect_err("none").to_string(), "nothing listens on unix:/nonexistent/x.sock");
}

#[test]
fn time_and_bytes_are_bounds() {
    let (at, server) = serve(b"HTTP/1.0 200 OK\r\n\r\n0123456789", false);
    let cut = (b"0123".to_vec(), Some((Outcome::Truncated, "stopped at the limit of 4 bytes".to_owned())));
    assert_eq!(ask(&at, LONG, 4, None), Ok(cut));
    server.join().expect("served");
    let short = Duration::from_millis(200);
    let (at, server) = serve(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhel", true);
    let late = (b"hel".to_vec(), Some((Outcome::Truncated, "not whole within 0.2 s".to_owned())));
    assert_eq!(ask(&at, short, 1000, None), Ok(late));
    server.join().expect("served");
    let (at, server) = serve(b"", true);
    assert_eq!(ask(&at, short, 1000, None), Err(Refusal::Failed("not whole within 0.2 s".to_owned())));
    server.join().expect("served");
    let (_, trouble) = get(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhel").expect("an answer");
    assert_eq!(trouble, Some((Outcome::Truncated, "the server broke off 2 bytes before the end".to_owned())));
}

#[test]
fn a_socket_of_the_file_system_is_asked_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    let server = thread::spawn(move || {
        let (mut link, _) = listener.accept().expect("accepted");
        let said = asked(&mut link);
        link.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello").expect("written");
        said
    });
    let at = Address::Socket(path);
    assert_eq!(ask(&at, LONG, 1000, None), Ok((b"hello".to_vec(), None)));
    assert!(server.join().expect("served").contains("\r\nHost: localhost\r\n"));
    assert!(matches!(ask(&at, LONG, 1, None), Err(Refusal::Absent(_))), "nobody listens any more");
}
