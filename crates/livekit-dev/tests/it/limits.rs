//! A client that breaks the limits can end only its own connection.

use std::{io::Write, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use livekit_dev::{ClockHandle, Fault, Redis, Store, Switches};
use livekit_protocol::{SessionDescription, WrappedJoinRequest, request_response::Reason, signal_request};
use prost::Message as _;
use rtc_client::{Client, Error, Options, Track};
use tokio::io::AsyncReadExt;

use crate::clients::{PATHS, more_frames, served, served_with, settled, token_with};

#[tokio::test]
async fn unreadable_message_ends_one_connection_only() {
    let served = served().await;
    for path in PATHS {
        let room = format!("garbage-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        ann.garbage(vec![0xff; 64]);
        ann.until("the end", |seen| seen.closed).await.unwrap();
        settled(&bob).await;
        ann.resume().await.unwrap();
    }
}

#[tokio::test]
async fn unreadable_offer_ends_one_connection_only() {
    let served = served().await;
    for path in PATHS {
        let room = format!("offer-{path:?}");
        let bob = served.client_over(path, &room, "bob").await;
        for sdp in ["v=0\r\nm=audio".to_owned(), String::new(), "a=\r\n".repeat(100_000)] {
            let ann = served.client_over(path, &room, "ann").await;
            let offer = SessionDescription { r#type: "offer".to_owned(), sdp, id: 9, ..Default::default() };
            ann.request(signal_request::Message::Offer(offer));
            ann.until("the end", |seen| seen.closed).await.unwrap();
        }
        settled(&bob).await;
    }
}

/// Up to 256 messages wait for a client, and the system's buffers hold some more.
#[tokio::test]
async fn client_that_does_not_read_loses_its_connection() {
    let served = served().await;
    let bob = served.client("slow", "bob").await;
    let token = token_with("slow", "ann", &serde_json::json!({}));
    let mut ann = upgraded(&served.url, &token).await;
    let (messages, large) = (400, "x".repeat(100_000));
    for number in 0..messages {
        served.api().update_room_metadata("slow", &format!("{number} {large}")).await.unwrap();
    }
    bob.until("the last one", |seen| seen.room.metadata.starts_with("399 ")).await.unwrap();
    let (mut buffer, mut total) = (vec![0; 1 << 20], 0);
    while let Ok(length @ 1..) = ann.read(&mut buffer).await {
        total += length;
    }
    assert!(total < messages * large.len(), "{total}");
    settled(&bob).await;
}

/// A client's end of a WebSocket on `/rtc`.
async fn upgraded(url: &str, token: &str) -> reqwest::Upgraded {
    let request = reqwest::Client::new()
        .get(format!("{url}/rtc?access_token={token}"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.send().await.unwrap().upgrade().await.unwrap()
}

#[tokio::test]
async fn thirty_third_track_is_refused() {
    let served = served().await;
    for path in PATHS {
        let room = format!("tracks-{path:?}");
        let ann = Client::join(served.options(&room, "ann").over(path).without_media()).await.unwrap();
        for _ in 0..32 {
            ann.publish(Track::microphone()).await.unwrap();
        }
        let Err(Error::Request(response)) = ann.publish(Track::microphone()).await else {
            panic!("published")
        };
        assert_eq!(response.reason(), Reason::LimitExceeded, "{path:?}");
    }
}

#[tokio::test]
async fn ninth_joining_connection_of_an_address_is_refused() {
    let served = served().await;
    served.server.faults().set("rtc/v1", Fault::Hang);
    let joining: Vec<_> = (0..8)
        .map(|number| tokio::spawn(Client::join(served.options("many", &format!("p{number}")))))
        .collect();
    crate::support::eventually("eight connections hang", || served.server.faults().hanging() == 8).await;
    let Err(Error::Refused(refusal)) = Client::join(served.options("many", "p9")).await else {
        panic!("joined")
    };
    assert_eq!(refusal.status, 429);
    served.server.faults().clear();
    for join in joining {
        join.await.unwrap().unwrap();
    }
    Client::join(served.options("many", "p9")).await.unwrap();
}

/// Redis hangs, and every join waits 23 s for its refusal.
#[tokio::test]
async fn refused_connection_holds_no_slot_while_it_waits() {
    let served = served_with(|config| {
        config.store = Store::RedisLike;
        config.wait_speed = 0;
    })
    .await;
    served.server.set_switches(Switches { redis: Redis::Hangs, ..Switches::default() });
    let joins = PATHS.into_iter().flat_map(|path| (0..9).map(move |number| (path, number)));
    let joining: Vec<_> = joins
        .map(|(path, number)| {
            tokio::spawn(Client::join(served.options("redis", &format!("p{number}")).over(path)))
        })
        .collect();
    let all_wait = served.server.waits_reach(joining.len());
    assert!(tokio::time::timeout(Duration::from_secs(30), all_wait).await.is_ok(), "not all joins waited");
    served.server.advance(ClockHandle::Waits, Duration::from_secs(23));
    for join in joining {
        let Err(Error::Refused(refusal)) = join.await.unwrap() else { panic!("joined") };
        assert_eq!((refusal.status, refusal.body.as_str()), (500, "i/o timeout"));
    }
}

#[tokio::test]
async fn join_request_that_inflates_too_far_is_refused() {
    let served = served().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&vec![0; 2 * 1024 * 1024]).unwrap();
    let wrapped = WrappedJoinRequest { compression: 1, join_request: gzip.finish().unwrap() };
    let request = URL_SAFE.encode(wrapped.encode_to_vec());
    let token = token_with("bomb", "ann", &serde_json::json!({}));
    let url = format!("{}/rtc/v1/validate?access_token={token}&join_request={request}", served.url);
    assert_eq!(reqwest::get(url).await.unwrap().status().as_u16(), 400);
}

#[tokio::test]
async fn second_address_carries_media() {
    for given in [["127.0.0.1", "127.0.0.2"].as_slice(), &["127.0.0.2"]] {
        let addresses = given.iter().map(|address| address.parse().unwrap()).collect();
        let served = served_with(|config| config.rtc.addresses = addresses).await;
        for path in PATHS {
            let room = format!("addresses-{path:?}");
            let ann = served.client_over(path, &room, "ann").await;
            let addresses = served.server.media_addresses();
            let ips: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            assert_eq!(ips, given, "{path:?}, {given:?}");
            let bob = served.client_over(path, &room, "bob").await;
            let camera = ann.publish(Track::camera()).await.unwrap();
            more_frames(&bob, &camera.sid).await;
        }
    }
}

#[tokio::test]
async fn json_client_is_answered_in_json() {
    let served = served().await;
    for path in PATHS {
        let room = format!("json-{path:?}");
        let options = Options { json: true, ..served.options(&room, "ann").over(path) };
        let ann = Client::connect(options).await.unwrap();
        settled(&ann).await;
    }
}

/// A client that never negotiates, and one whose packets are lost.
#[tokio::test]
async fn client_that_does_not_become_active_is_removed() {
    let served = served().await;
    for path in PATHS {
        for media in [false, true] {
            let room = format!("stalled-{path:?}-{media}");
            let mut options = served.options(&room, "ann").over(path);
            (options.media, options.udp) = (media, false);
            let ann = Client::join(options).await.unwrap();
            served.server.advance_clock(Duration::from_mins(1));
            ann.until("the end", |seen| seen.closed).await.unwrap();
            let leave = ann.seen(|seen| seen.end.as_ref().and_then(|end| end.leave.clone())).unwrap();
            assert_eq!(
                leave.reason(),
                livekit_protocol::DisconnectReason::JoinFailure,
                "media: {media}, {path:?}"
            );
            assert_eq!(
                served.events_of(&room, "ann"),
                ["participant_connection_aborted"],
                "media: {media}, {path:?}"
            );
        }
    }
}
