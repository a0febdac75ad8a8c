use std::convert::Infallible;

use axum::{
    Extension,
    body::{Body, Bytes},
    routing::get,
};
use futures::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const BOUNDS: Bounds = Bounds::of(16);
const SOON: Duration = Duration::from_millis(50);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

const WHOLE: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn start(bounds: Bounds) -> (SocketAddr, Lifecycle) {
    let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| std::future::ready(peer.to_string());
    start_with(Router::new().route("/", get(who)), bounds).await
}

async fn start_with(router: Router, bounds: Bounds) -> (SocketAddr, Lifecycle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, lifecycle) = (listener.local_addr().unwrap(), Lifecycle::new());
    let own = lifecycle.clone();
    tokio::spawn(async move { serve(router, listener, &own, bounds).await });
    (address, lifecycle)
}

/// Reads everything that the server sends until it closes the connection.
async fn hear(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut heard)).await;
    let _ = ended.expect("the server closes the connection"); // reset is closed too
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn silent_client_is_disconnected() {
    let (address, _lifecycle) = start(Bounds { idle_timeout: SOON, ..BOUNDS }).await;
    for begun in [&b""[..], b"GET / HT", WHOLE] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(begun).await.unwrap();
        let answered = hear(&mut client).await.starts_with("HTTP/1.1 200");
        assert_eq!(answered, begun == WHOLE, "{}", begun.escape_ascii());
    }
}

#[tokio::test]
async fn incomplete_head_times_out_and_idle_connection_does_not() {
    let (address, _lifecycle) = start(Bounds { headers_timeout: Duration::from_secs(1), ..BOUNDS }).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    for idle_for in [Duration::ZERO, Duration::from_millis(1_500)] {
        tokio::time::sleep(idle_for).await;
        client.write_all(WHOLE).await.unwrap();
        let (me, mut heard) = (client.local_addr().unwrap().to_string(), Vec::new());
        while !heard.ends_with(me.as_bytes()) {
            heard.push(client.read_u8().await.unwrap());
        }
    }
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    assert_eq!(hear(&mut client).await, "");
}

/// Returns the server's answer to a client that closes its half after these bytes; checks that the server closes then.
async fn answer_to_half_closed(router: Router, sent: &[u8]) -> String {
    let (address, _lifecycle) = start_with(router, BOUNDS).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(sent).await.unwrap();
    client.shutdown().await.unwrap();
    hear(&mut client).await
}

fn slow_echo() -> Router {
    let slow = |body: Bytes| async move {
        tokio::time::sleep(4 * SOON).await; // the requests end long before the answers
        body
    };
    Router::new().route("/", get(slow).post(slow))
}

#[tokio::test]
async fn whole_requests_are_answered_after_a_half_close() {
    let post = &b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nwith"[..];
    for (sent, answers) in [(WHOLE.to_vec(), 1), (post.to_vec(), 1), ([WHOLE, post, WHOLE].concat(), 3)] {
        let heard = answer_to_half_closed(slow_echo(), &sent).await;
        assert_eq!(heard.matches("HTTP/1.1 200").count(), answers, "{heard}");
        assert_eq!(heard.contains("with"), sent.starts_with(b"POST") || answers > 1, "{heard}");
    }
}

#[tokio::test]
async fn half_a_request_is_closed_after_a_half_close() {
    let half_a_body = &b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nwith"[..];
    for half in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\n", half_a_body] {
        let heard = answer_to_half_closed(slow_echo(), half).await;
        assert!(!heard.contains(" 200 "), "{} {heard}", half.escape_ascii());
    }
    let heard = answer_to_half_closed(slow_echo(), &[WHOLE, b"GET /"].concat()).await;
    assert_eq!(heard.matches("HTTP/1.1").count(), 1, "{heard}");
}

#[tokio::test]
async fn peer_is_finished_when_it_sends_nothing_more() {
    let (sender, mut finished) = tokio::sync::mpsc::unbounded_channel();
    let wait = |Extension(peer): Extension<Peer>| async move {
        peer.finished().await;
        sender.send(()).unwrap();
    };
    let (address, _lifecycle) = start_with(Router::new().route("/", get(wait)), BOUNDS).await;
    for (sent, is_half) in [(WHOLE, true), (WHOLE, false), (&[WHOLE, b"GET /"].concat(), true)] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(sent).await.unwrap();
        assert!(tokio::time::timeout(2 * SOON, finished.recv()).await.is_err(), "it may send more");
        if is_half {
            client.shutdown().await.unwrap();
        } else {
            drop(client);
        }
        let received = tokio::time::timeout(Duration::from_secs(10), finished.recv()).await;
        assert_eq!(received, Ok(Some(())), "{}, half closed: {is_half}", sent.escape_ascii());
    }
}

#[tokio::test]
async fn address_that_is_not_admitted_is_closed_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, lifecycle) = (listener.local_addr().unwrap(), Lifecycle::new());
    let (own, permits) = (lifecycle.clone(), Arc::new(Semaphore::new(1)));
    let free = Arc::clone(&permits);
    let admit = move |from: IpAddr| {
        assert!(from.is_loopback());
        Arc::clone(&permits).try_acquire_owned().ok()
    };
    tokio::spawn(async move { serve_admitted(Router::new(), listener, &own, BOUNDS, admit).await });
    let first = TcpStream::connect(address).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    assert_eq!(hear(&mut second).await, "");
    assert_eq!(free.available_permits(), 0, "the first one is connected");
    drop(first);
    let freed = tokio::time::timeout(Duration::from_secs(10), free.acquire()).await;
    freed.expect("a connection that ends gives its permit back").unwrap().forget();
    assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 0, "background tasks that panicked");
}

#[tokio::test]
async fn permit_is_released_when_client_does_not_read() {
    let bounds = Bounds { write_timeout: SOON, ..Bounds::of(1) };
    let endless = || async { vec![0; 32 * 1024 * 1024] }; // more than the kernels keep
    let (address, lifecycle) = start_with(Router::new().route("/", get(endless)), bounds).await;
    let mut unreading = TcpStream::connect(address).await.unwrap();
    unreading.write_all(WHOLE).await.unwrap();
    let mut next = TcpStream::connect(address).await.unwrap();
    next.write_all(WHOLE).await.unwrap();
    let served = tokio::time::timeout(Duration::from_secs(10), next.readable()).await;
    served.expect("the permit is free again").unwrap();
    drop(next);
    assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 0, "background tasks that panicked");
}

#[tokio::test]
async fn stream_may_be_silent_longer_than_the_write_timeout() {
    let bounds = Bounds { write_timeout: SOON, headers_timeout: SOON, ..BOUNDS };
    let events = || async {
        Body::from_stream(stream::unfold(0, |n| async move {
            tokio::time::sleep(2 * SOON).await;
            (n < 3).then(|| (Ok::<_, Infallible>("data: x\n\n"), n + 1))
        }))
    };
    let (address, _lifecycle) = start_with(Router::new().route("/", get(events)), bounds).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    assert_eq!(hear(&mut client).await.matches("data: x").count(), 3);
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let (address, _lifecycle) = start(BOUNDS).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let flood = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'x'; 16 * 1024]].concat();
    let _ = client.write_all(&flood).await; // the server may have closed already
    assert!(!hear(&mut client).await.contains(" 200 "));
}

#[tokio::test]
async fn connections_wait_when_the_limit_is_reached() {
    let (address, _lifecycle) = start(Bounds { connections: 1, ..BOUNDS }).await;
    let first = TcpStream::connect(address).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(REQUEST).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(100), second.readable()).await;
    assert!(waiting.is_err(), "it is not served beside the first");
    drop(first);
    let answer = hear(&mut second).await;
    assert!(answer.ends_with(&second.local_addr().unwrap().to_string()), "{answer}");
}

#[tokio::test]
async fn idle_connections_close_at_once_on_stop() {
    let (address, lifecycle) = start(BOUNDS).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(WHOLE).await.unwrap();
    idle.readable().await.unwrap();
    assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 0, "background tasks that panicked");
    assert!(hear(&mut idle).await.starts_with("HTTP/1.1 200"));
}
