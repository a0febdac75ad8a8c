//! How browsers' sessions are resumed, and how they end.

use std::time::Duration;

use livekit_api::services::room::CreateRoomOptions;
use livekit_dev::{ClientFault, ClockHandle};
use livekit_protocol::DisconnectReason;
use serde_json::json;

use crate::{
    browser::{Browser, PATHS, Page},
    python::Python,
    server::Server,
};

/// Two participants that receive each other's media.
async fn call(server: &Server, browser: &Browser, room: &str, single: bool) -> (Page, Page) {
    let ann = browser.joined(server, room, "ann", single).await;
    let bob = browser.joined(server, room, "bob", single).await;
    for page in [&ann, &bob] {
        page.publish(json!({"drawing": true, "microphone": true})).await;
    }
    ann.all_arrive(&["bob"]).await;
    bob.all_arrive(&["ann"]).await;
    (ann, bob)
}

#[tokio::test]
async fn browser_without_its_socket_resumes_its_session() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let (ann, bob) = call(&server, &browser, &format!("resume-{single}"), single).await;
        let (sid, events) = (ann.sid().await, server.livekit.events().len());
        ann.call("simulate", json!("signal-reconnect")).await;
        bob.call("send", json!("meanwhile")).await;
        ann.happens_times("reconnected", 1).await;
        bob.call("send", json!("after")).await;
        let heard: Vec<_> =
            ann.hears("after").await.into_iter().map(|message| message["text"].clone()).collect();
        assert_eq!(heard, ["meanwhile", "after"], "single peer connection: {single}");
        assert_eq!(ann.sid().await, sid, "single peer connection: {single}");
        ann.all_arrive(&["bob"]).await;
        bob.all_arrive(&["ann"]).await;
        assert_eq!(server.livekit.events().len(), events, "single peer connection: {single}");
    }
}

#[tokio::test]
async fn browser_that_rejoins_is_visible_again() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let (ann, bob) = call(&server, &browser, &format!("again-{single}"), single).await;
        let mut sid = ann.sid().await;
        for _ in 0..2 {
            ann.call("simulate", json!("full-reconnect")).await;
            sid = ann.joins_again(sid).await;
            ann.all_flow(&["bob"]).await;
            bob.all_arrive(&["ann"]).await;
        }
    }
}

/// A server on which only the API creates rooms, as with Greenroom.
async fn without_auto_create() -> Server {
    Server::with(|_| {}).await
}

#[tokio::test]
async fn browsers_rejoin_a_restarted_server() {
    let (server, browser) = (without_auto_create().await, Browser::start().await);
    for single in PATHS {
        let room = format!("restart-{single}");
        server.api().create_room(&room, CreateRoomOptions::default()).await.unwrap();
        let (ann, bob) = call(&server, &browser, &room, single).await;
        let (first, second) = (ann.sid().await, bob.sid().await);
        server.livekit.restart();
        server.api().create_room(&room, CreateRoomOptions::default()).await.unwrap();
        ann.joins_again(first).await;
        bob.joins_again(second).await;
        for (page, other) in [(&ann, "bob"), (&bob, "ann")] {
            page.all_flow(&[other]).await;
            page.arrives(other, "camera").await;
        }
    }
}

#[tokio::test]
async fn browser_gives_up_when_its_room_is_gone() {
    let (server, browser) = (without_auto_create().await, Browser::start().await);
    for single in PATHS {
        let room = format!("gone-{single}");
        server.api().create_room(&room, CreateRoomOptions::default()).await.unwrap();
        let ann = browser.joined(&server, &room, "ann", single).await;
        server.livekit.restart();
        ann.happens_times("disconnected", 1).await;
        assert_quiet(&server).await;
    }
}

/// Asserts that no client sends more requests.
async fn assert_quiet(server: &Server) {
    let calls = server.livekit.all_calls();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.livekit.all_calls(), calls, "a client continues to send requests");
}

/// Lets all tokens expire, also refreshed ones, and then cuts the participant's socket.
fn expire_at_a_resume(server: &Server, room: &str, identity: &str) {
    server.livekit.advance(ClockHandle::Tokens, Duration::from_hours(1));
    server.livekit.inject_client_fault(room, identity, ClientFault::CutSocket);
}

#[tokio::test]
async fn browser_gives_up_when_its_token_has_expired() {
    let browser = Browser::start().await;
    for (single, validate) in [(true, "rtc/v1/validate"), (false, "rtc/validate")] {
        let server = Server::start().await;
        let room = format!("expired-{single}");
        let ann = browser.joined(&server, &room, "ann", single).await;
        ann.publish(json!({"microphone": true})).await;
        expire_at_a_resume(&server, &room, "ann");
        ann.happens_times("disconnected", 1).await;
        // It has asked once for the reason, and the answer was 401.
        assert_eq!(server.livekit.calls(validate), 1, "{validate}");
        assert_quiet(&server).await;
    }
}

#[tokio::test]
async fn python_gives_up_when_its_token_has_expired() {
    for single in PATHS {
        let server = Server::start().await;
        let room = format!("expired-python-{single}");
        let pia = Python::joined(&server, &room, "pia", single).await;
        expire_at_a_resume(&server, &room, "pia");
        pia.call("ends", json!({})).await;
        assert_quiet(&server).await;
    }
}

#[tokio::test]
async fn closed_page_leaves() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let (room, name) = (format!("closed-{single}"), format!("ann-{single}"));
        let bob = browser.joined(&server, &room, "bob", single).await;
        let ann = browser.joined(&server, &room, &name, single).await;
        bob.happens("participantConnected", &name).await;
        ann.close().await;
        bob.happens("participantDisconnected", &name).await;
        let left = server.event("participant_left", &name).await;
        let reason = left.participant.map(|participant| participant.disconnect_reason());
        assert_eq!(reason, Some(DisconnectReason::ClientInitiated), "single peer connection: {single}");
    }
}
