//! A TCP proxy between an agent and the coordinator that cuts, stalls and refuses on demand.
//!
//! It sees ciphertext only. It counts what goes up, so that a test can break the line in the middle of an entry.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Default)]
struct Line {
    /// Bytes that went up, over all connections.
    up: u64,
    /// Holds everything back from the moment that `up` reaches this.
    stall_at: Option<u64>,
    /// Cuts every connection, once, when `up` reaches this.
    cut_at: Option<u64>,
    cuts: u64,
    connections: u64,
    open: Vec<TcpStream>,
    closing: bool,
}

/// The proxy; ends with its value.
pub struct Proxy {
    /// Where agents connect to.
    pub address: SocketAddr,
    line: Arc<(Mutex<Line>, Condvar)>,
}

impl Proxy {
    /// A proxy in front of `target`.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let line = Arc::new((Mutex::new(Line::default()), Condvar::new()));
        let shared = line.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                if shared.0.lock().expect("line").closing {
                    break;
                }
                let Ok(server) = TcpStream::connect(target) else { continue };
                let mut state = shared.0.lock().expect("line");
                state.connections += 1;
                state.open.push(client.try_clone().expect("a second handle"));
                state.open.push(server.try_clone().expect("a second handle"));
                drop(state);
                let (up, down) = (shared.clone(), shared.clone());
                let (from, to) = (client.try_clone().expect("handle"), server.try_clone().expect("handle"));
                thread::spawn(move || pump(from, to, &up, true));
                thread::spawn(move || pump(server, client, &down, false));
            }
        });
        Self { address, line }
    }

    /// From `bytes` upwards on, nothing moves any more.
    pub fn stall_at(&self, bytes: u64) {
        self.line.0.lock().expect("line").stall_at = Some(bytes);
    }

    /// Lets everything move again.
    pub fn release(&self) {
        self.line.0.lock().expect("line").stall_at = None;
        self.line.1.notify_all();
    }

    /// Cuts all connections once `bytes` have gone up; new ones pass.
    pub fn cut_at(&self, bytes: u64) {
        self.line.0.lock().expect("line").cut_at = Some(bytes);
    }

    /// Waits until `done` holds of (bytes up, cuts, connections); fails after a minute.
    pub fn wait(&self, what: &str, done: impl Fn(u64, u64, u64) -> bool) {
        let mut state = self.line.0.lock().expect("line");
        let mut rounds = 0;
        while !done(state.up, state.cuts, state.connections) {
            rounds += 1;
            assert!(
                rounds < 600,
                "{what}: {} bytes up, {} cuts, {} connections",
                state.up,
                state.cuts,
                state.connections
            );
            state = self.line.1.wait_timeout(state, Duration::from_millis(100)).expect("line").0;
        }
    }

    /// Bytes that went up so far.
    pub fn up(&self) -> u64 {
        self.line.0.lock().expect("line").up
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.line.0.lock().expect("line");
        state.closing = true;
        state.stall_at = None;
        close_all(&mut state);
        drop(state);
        self.line.1.notify_all();
        // Wakes the accept loop, which then sees `closing`.
        let _ = TcpStream::connect(self.address);
    }
}

fn close_all(state: &mut Line) {
    for stream in state.open.drain(..) {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, line: &(Mutex<Line>, Condvar), upwards: bool) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let mut state = line.0.lock().expect("line");
        if upwards {
            state.up += read as u64;
            line.1.notify_all();
            if state.cut_at.is_some_and(|at| state.up >= at) {
                state.cut_at = None;
                state.cuts += 1;
                close_all(&mut state);
                break;
            }
        }
        while state.stall_at.is_some_and(|at| state.up >= at) && !state.closing {
            state = line.1.wait(state).expect("line");
        }
        drop(state);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
