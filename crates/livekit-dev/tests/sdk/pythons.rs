//! Participants of the Python SDK, with each other and with browsers.

use serde_json::json;

use crate::{
    browser::{Browser, PATHS},
    python::Python,
    server::Server,
};

#[tokio::test]
async fn pythons_on_both_paths_see_and_hear_each_other() {
    let server = Server::start().await;
    for [first, second] in [[true, true], [true, false], [false, false]] {
        let room = format!("pythons-{first}-{second}");
        let ann = Python::publishing(&server, &room, "ann", first).await;
        let bob = Python::publishing(&server, &room, "bob", second).await;
        for source in ["camera", "microphone"] {
            ann.arrives("bob", source).await;
            bob.arrives("ann", source).await;
        }
    }
}

#[tokio::test]
async fn python_and_browser_receive_each_other() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let room = format!("meet-{single}");
        let pia = Python::publishing(&server, &room, "pia", single).await;
        let bob = browser.joined(&server, &room, "bob", single).await;
        bob.publish(json!({"camera": true, "microphone": true})).await;
        bob.all_arrive(&["pia"]).await;
        for source in ["camera", "microphone"] {
            pia.arrives("bob", source).await;
        }
        pia.call("send", json!({"text": "from python"})).await;
        assert_eq!(
            bob.hears("from python").await,
            [json!({"from": "pia", "text": "from python"})],
            "single peer connection: {single}"
        );
        bob.call("send", json!("from chromium")).await;
        let heard = pia.call("hears", json!({"text": "from chromium"})).await;
        assert_eq!(
            heard,
            json!([{"from": "bob", "text": "from chromium"}]),
            "single peer connection: {single}"
        );
    }
}

#[tokio::test]
async fn speaker_is_active_until_muted() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let room = format!("speaker-{single}");
        let pia = Python::publishing(&server, &room, "pia", single).await;
        let quinn = Python::joined(&server, &room, "quinn", single).await;
        let bob = browser.joined(&server, &room, "bob", single).await;
        quinn.arrives("pia", "microphone").await;
        bob.arrives("pia", "microphone").await;
        // Only changes are announced, and only to subscribers: the others may have missed the first one. The SDK forgets the
        // speaker when it receives another change, so only pia has a microphone.
        pia.speaks("pia", true).await;
        pia.mute("microphone", true).await;
        pia.speaks("pia", false).await;
        for active in [true, false] {
            pia.mute("microphone", !active).await;
            pia.speaks("pia", active).await;
            quinn.speaks("pia", active).await;
            bob.call("speaks", json!({"identity": "pia", "active": active})).await;
        }
    }
}
