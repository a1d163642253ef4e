//! Handshakes that stand still, and those that wait for them.

use super::*;

/// A peer that says hello, hears the listener's answer, and says nothing more: it has a place.
async fn half(server: &Server) -> TcpStream {
    let config = client_config(server.ca.pem(), H1).expect("settings");
    let name = ServerName::IpAddress(server.addr.ip().into());
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("a hello");
    let mut socket = TcpStream::connect(server.addr).await.expect("connected");
    socket.write_all(&hello).await.expect("written");
    assert_ne!(socket.read(&mut [0]).await.expect("answered"), 0);
    socket
}

#[tokio::test]
async fn handshakes_past_the_limit_wait_for_their_turn() {
    let limits = ServeLimits { handshakes: 1, handshake: PATIENCE * 10, ..short() };
    let server = server(hello(), limits, None).await;
    let first = half(&server).await;
    let second = server.is_alive();
    tokio::pin!(second);
    tokio::select! {
        biased;
        () = &mut second => panic!("two handshakes at the same time"),
        () = tokio::time::sleep(SHORT) => {}
    }
    drop(first);
    tokio::time::timeout(PATIENCE, second).await.expect("served once there is a place");
}

#[tokio::test]
async fn who_stands_still_in_a_handshake_loses_its_place() {
    let limits = ServeLimits { handshakes: 1, handshake: SHORT * 4, ..short() };
    let server = server(hello(), limits, None).await;
    let mut first = half(&server).await;
    to_the_end(&mut first).await;
    server.is_alive().await;
}

#[tokio::test]
async fn silent_peers_take_no_place_from_others() {
    let limits = ServeLimits { handshakes: 1, handshake: PATIENCE * 10, ..short() };
    let server = server(hello(), limits, None).await;
    let mut silent = Vec::new();
    for part in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut socket = TcpStream::connect(server.addr).await.expect("connected");
        socket.write_all(part).await.expect("written");
        silent.push(socket);
    }
    tokio::time::timeout(PATIENCE, server.is_alive()).await.expect("nobody has the place");
}
