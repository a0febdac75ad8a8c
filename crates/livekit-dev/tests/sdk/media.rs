//! The media that browsers receive from each other.

use serde_json::json;

use crate::{
    browser::{Browser, PATHS},
    server::Server,
};

#[tokio::test]
async fn five_browsers_on_both_paths_decode_each_other() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    let names = ["p1", "p2", "p3", "p4", "late"];
    let mut pages = Vec::new();
    for (number, name) in names.into_iter().enumerate() {
        let page = browser.joined(&server, "five", name, number % 2 == 0).await;
        page.publish(json!({"camera": true, "microphone": true})).await;
        pages.push(page);
    }
    for (page, own) in pages.iter().zip(names) {
        let others: Vec<_> = names.into_iter().filter(|name| *name != own).collect();
        page.all_arrive(&others).await;
    }
    pages.remove(0).close().await;
    for (page, own) in pages.iter().zip(&names[1..]) {
        page.happens("participantDisconnected", "p1").await;
        let others: Vec<_> = names[1..].iter().copied().filter(|name| name != own).collect();
        page.all_arrive(&others).await;
    }
}

#[tokio::test]
async fn camera_turned_off_and_on_continues() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let room = format!("camera-{single}");
        let ann = browser.joined(&server, &room, "ann", single).await;
        let bob = browser.joined(&server, &room, "bob", single).await;
        ann.publish(json!({"camera": true, "microphone": true})).await;
        bob.arrives("ann", "camera").await;
        ann.publish(json!({"camera": false})).await;
        bob.happens("trackMuted", "camera").await;
        bob.stops("ann", "camera", "microphone").await;
        ann.publish(json!({"camera": true})).await;
        bob.happens("trackUnmuted", "camera").await;
        bob.arrives("ann", "camera").await;
    }
}

#[tokio::test]
async fn screen_share_with_sound_starts_and_stops() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let room = format!("screen-{single}");
        let ann = browser.joined(&server, &room, "ann", single).await;
        let bob = browser.joined(&server, &room, "bob", single).await;
        ann.publish(json!({"screen": true})).await;
        for source in ["screen_share", "screen_share_audio"] {
            bob.happens("trackSubscribed", source).await;
        }
        bob.arrives("ann", "screen_share").await;
        ann.publish(json!({"screen": false})).await;
        for source in ["screen_share", "screen_share_audio"] {
            bob.happens("trackUnpublished", source).await;
            bob.gone("ann", source).await;
        }
    }
}

#[tokio::test]
async fn hidden_video_element_gets_no_packets_until_shown() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let room = format!("hidden-{single}");
        let ann = browser.joined(&server, &room, "ann", single).await;
        let options = json!({"singlePeerConnection": single, "adaptiveStream": true});
        let bob = browser.joined_with(&server, &room, "bob", &options).await;
        ann.publish(json!({"camera": true, "microphone": true})).await;
        bob.arrives("ann", "camera").await;
        bob.call("show", json!(false)).await;
        bob.stops("ann", "camera", "microphone").await;
        bob.call("show", json!(true)).await;
        bob.arrives("ann", "camera").await;
    }
}
