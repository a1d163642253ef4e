//! A relay that cuts every connection, or holds it, once so many bytes came back through it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// The relay; its threads end with the process.
pub struct Proxy {
    pub url: String,
    stalled: Receiver<()>,
}

impl Proxy {
    pub fn start(to: &str, most: usize) -> Self {
        Self::open(to, most, false)
    }

    /// One that lets nothing more through by then, and cuts nothing.
    pub fn stalling(to: &str, most: usize) -> Self {
        Self::open(to, most, true)
    }

    /// Waits until a connection is held.
    pub fn stalled(&self) {
        self.stalled.recv().expect("a relay that runs");
    }

    fn open(to: &str, most: usize, stalls: bool) -> Self {
        let to: SocketAddr = to.strip_prefix("https://").expect("a URL").parse().expect("an address");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let (tell, stalled) = channel();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(to).expect("the coordinator");
                let (back, forth) = (near.try_clone().expect("cloned"), far.try_clone().expect("cloned"));
                let tell = stalls.then(|| tell.clone());
                thread::spawn(move || relay(near, forth, usize::MAX, None));
                thread::spawn(move || relay(far, back, most, tell));
            }
        });
        Self { url, stalled }
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, most: usize, stall: Option<Sender<()>>) {
    let (mut buffer, mut left) = ([0; 4096], most);
    while left > 0 {
        let want = left.min(buffer.len());
        match from.read(&mut buffer[..want]) {
            Ok(0) | Err(_) => break,
            Ok(count) if to.write_all(&buffer[..count]).is_err() => break,
            Ok(count) => left -= count,
        }
    }
    if let Some(tell) = stall.filter(|_| left == 0) {
        let _ = tell.send(());
        // What comes after is left where it is; the other direction ends both when the client leaves.
        loop {
            thread::park();
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
