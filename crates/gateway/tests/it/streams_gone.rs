//! Readers of the stream of events that send nothing more: some read on, some are gone.

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

/// A gateway that says nothing by itself while a test runs.
async fn silent() -> Gateway {
    let mut config = checked(args());
    config.streams.heartbeat = Duration::from_hours(1);
    Gateway::with(config).await
}

/// A reader that has heard the beginning of its stream.
async fn listen(gateway: &Gateway, person: &str) -> TcpStream {
    let mut reader = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "GET {LISTING}/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n",
        token(person)
    );
    reader.write_all(head.as_bytes()).await.unwrap();
    hear(&mut reader, "id: ").await;
    reader
}

/// Reads until this text was heard.
async fn hear(reader: &mut TcpStream, text: &str) {
    let mut heard = Vec::new();
    let hearing = async {
        while !String::from_utf8_lossy(&heard).contains(text) {
            heard.push(reader.read_u8().await.expect("the stream goes on"));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), hearing).await.expect(text);
}

#[tokio::test]
async fn reader_that_is_gone_frees_its_place() {
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
    eventually("a place again", async || (ask().await == 200).then_some(())).await;
}

#[tokio::test]
async fn half_closed_reader_gets_its_events() {
    let gateway = silent().await;
    let mut reader = listen(&gateway, "ana").await;
    reader.shutdown().await.unwrap();
    for _ in 0..4 {
        hear(&mut reader, ": ping").await; // only writing tells whether it is gone
    }
    for version in 1..=2 {
        gateway.fake.listing().write(stream(ROOM, version));
        hear(&mut reader, &format!("\"version\":{version}")).await;
    }
}
