//! Readers of the event stream that closed their half of the connection: some still read, some have disconnected.

use std::time::Duration;

use testkit::eventually;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    fakes::{ROOM, stream},
    streams::LISTING,
    support::{Gateway, args, checked, token},
};

/// A gateway that sends no heartbeat while a test runs.
async fn silent() -> Gateway {
    let mut config = checked(args());
    config.streams.heartbeat = Duration::from_hours(1);
    Gateway::with(config).await
}

/// Opens a stream and reads its beginning.
async fn listen(gateway: &Gateway, person: &str) -> TcpStream {
    let mut reader = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "GET {LISTING}/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n",
        token(person)
    );
    reader.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut reader, "id: ").await;
    reader
}

/// Reads until this text has arrived.
async fn read_until(reader: &mut TcpStream, text: &str) {
    let mut received = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&received).contains(text) {
            received.push(reader.read_u8().await.expect("the stream stays open"));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect(text);
}

#[tokio::test]
async fn disconnected_reader_frees_its_slot() {
    let gateway = silent().await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(listen(&gateway, "ana").await);
    }
    let ask = async || {
        let request = gateway.get(&format!("{LISTING}/events")).bearer_auth(token("ana"));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask().await, 429);
    drop(held);
    eventually("a freed slot", async || (ask().await == 200).then_some(())).await;
}

#[tokio::test]
async fn half_closed_reader_gets_its_events() {
    let gateway = silent().await;
    let mut reader = listen(&gateway, "ana").await;
    reader.shutdown().await.unwrap();
    for _ in 0..4 {
        read_until(&mut reader, ": ping").await; // only writing shows whether it has disconnected
    }
    for version in 1..=2 {
        gateway.fake.listing().write(stream(ROOM, version));
        read_until(&mut reader, &format!("\"version\":{version}")).await;
    }
}
