//! A relay that cuts every connection once so many bytes came back through it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// The relay; its threads end with the process.
pub struct Proxy {
    pub url: String,
}

impl Proxy {
    pub fn start(to: &str, most: usize) -> Self {
        let to: SocketAddr = to.strip_prefix("https://").expect("a URL").parse().expect("an address");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(to).expect("the coordinator");
                let (back, forth) = (near.try_clone().expect("cloned"), far.try_clone().expect("cloned"));
                thread::spawn(move || relay(near, forth, usize::MAX));
                thread::spawn(move || relay(far, back, most));
            }
        });
        Self { url }
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, most: usize) {
    let (mut buffer, mut left) = ([0; 4096], most);
    while left > 0 {
        let want = left.min(buffer.len());
        match from.read(&mut buffer[..want]) {
            Ok(0) | Err(_) => break,
            Ok(count) if to.write_all(&buffer[..count]).is_err() => break,
            Ok(count) => left -= count,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
