//! An HTTP proxy that knows `CONNECT` and nothing else, and where all of it really goes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A running proxy.
pub struct Tunnel {
    pub at: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    /// One that takes everybody to `to`, whatever they ask for, if their `Proxy-Authorization` is this.
    pub async fn new(to: SocketAddr, authorization: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    // A peer that leaves in the middle is nothing to a proxy.
                    let _ = carry(near, to, authorization, &seen).await;
                });
            }
        });
        Self { at, asked }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// The first lines of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("whole").clone()
    }
}

async fn carry(
    near: TcpStream,
    to: SocketAddr,
    authorization: Option<&str>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut near = BufReader::new(near);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if near.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    seen.lock().expect("whole").push(head.lines().next().unwrap_or_default().to_owned());
    let welcome = authorization.is_none_or(|wanted| {
        head.lines().any(|line| line.strip_prefix("Proxy-Authorization: ").is_some_and(|given| given == wanted))
    });
    if !welcome {
        return near.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await;
    }
    let mut far = TcpStream::connect(to).await?;
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
}
