//! A line between two ends that can be cut, at will or after so many bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Carries bytes from those who connect to `at` to one place.
pub struct Line {
    pub at: SocketAddr,
    carried: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    cut: watch::Sender<u64>,
}

impl Line {
    /// A line to `to`; each connection is cut once `most` bytes went up on it.
    pub async fn new(to: SocketAddr, most: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let (cut, _) = watch::channel(0);
        let (carried, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let line = Self { at, carried: Arc::clone(&carried), connections: Arc::clone(&connections), cut: cut.clone() };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let Ok(far) = TcpStream::connect(to).await else { continue };
                let mut cut = cut.subscribe();
                let carried = Arc::clone(&carried);
                tokio::spawn(async move {
                    // Both ends are dropped here, in the middle of whatever they were saying.
                    tokio::select! {
                        () = carry(near, far, most, &carried) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        line
    }

    /// Bytes that went up so far.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.cut.send_modify(|times| *times += 1);
    }
}

async fn carry(near: TcpStream, far: TcpStream, most: u64, carried: &AtomicU64) {
    let ((mut from, mut back), (mut down, mut up)) = (near.into_split(), far.into_split());
    let upwards = async {
        let (mut buffer, mut left) = (vec![0; 16 << 10], most);
        while left > 0 {
            let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
            if up.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            carried.fetch_add(read as u64, Ordering::SeqCst);
            left = left.saturating_sub(read as u64);
        }
    };
    tokio::select! {
        () = upwards => {}
        _ = tokio::io::copy(&mut down, &mut back) => {}
    }
}
