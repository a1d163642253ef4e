//! Bodies that nobody reads, and the answers to them.

use super::*;

fn patient() -> ServeLimits {
    ServeLimits {
        header_wait: PATIENCE,
        idle: PATIENCE,
        write_idle: PATIENCE,
        rest: 16 << 20,
        rest_idle: PATIENCE,
        ..short()
    }
}

#[tokio::test]
async fn whoever_sends_all_before_it_listens_hears_the_answer() {
    let server = server(refuser(), patient(), None).await;
    // More than the systems of both ends hold for each other.
    let body = vec![b'y'; 12 << 20];
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let length = format!("content-length: {}", body.len());
    for (path, status) in [("/unread", "403"), ("/read", "413"), ("/nowhere", "404")] {
        for (framing, body) in [(length.as_str(), &body), ("transfer-encoding: chunked", &chunked)] {
            let mut stream = server.tls(H1).await;
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n");
            let answer = exchange(&mut stream, &[head.as_bytes(), body].concat()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}, {framing}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_is_taken_at_a_connections_end_is_bounded() {
    for limits in [ServeLimits { rest: 300_000, ..patient() }, ServeLimits { header_wait: SHORT, ..patient() }] {
        let server = server(refuser(), limits, None).await;
        let mut stream = server.tls(H1).await;
        let endless = async {
            stream.write_all(b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999999\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'y'; 50_000]).await?;
            }
        };
        let ended: io::Result<()> = tokio::time::timeout(PATIENCE, endless).await.expect("it is cut");
        ended.expect_err("the writer learns of it");
    }
    // One that stands still is not waited for either.
    let server = server(refuser(), ServeLimits { rest_idle: SHORT, ..patient() }, None).await;
    let mut stream = server.tls(H1).await;
    exchange(&mut stream, b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").await;
    let gone = async { while stream.write_all(&[b'y'; 50_000]).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("the socket is closed");
}

#[tokio::test]
async fn a_body_that_is_too_long_to_be_taken_does_not_take_the_answer_along() {
    let server = server(refuser(), ServeLimits { rest: 300_000, ..patient() }, None).await;
    for length in [None, Some("999999999")] {
        let mut sender = h2_pieces(&server).await;
        let (pieces, body) = channel(1, PATIENCE);
        let mut request = Request::post("https://x/read");
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let answer = sender.send_request(request.body(body).expect("a request"));
        let written = async { while pieces.send(Bytes::from(vec![7; 50_000])).await.is_ok() {} };
        let both = futures_util::future::join(async { answer.await.expect("an answer") }, written);
        let (answer, ()) = tokio::time::timeout(PATIENCE, both).await.expect("cut");
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{length:?}");
        answer.into_body().collect().await.expect("a whole answer");
    }
}
