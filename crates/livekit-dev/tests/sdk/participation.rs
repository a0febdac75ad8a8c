//! Messages and calls between participants, and permissions.

use serde_json::{Value, json};

use crate::{
    browser::{Browser, PATHS, Page},
    python::Python,
    server::Server,
};

#[tokio::test]
async fn chat_arrives_with_its_sender() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let room = format!("chat-{single}");
        let ann = browser.joined(&server, &room, "ann", single).await;
        let bob = browser.joined(&server, &room, "bob", !single).await;
        let long = "long ".repeat(20_000);
        for (text, from, to, sender) in [
            ("hello", &ann, &bob, "ann"),
            ("hello back", &bob, &ann, "bob"),
            (long.as_str(), &ann, &bob, "ann"),
        ] {
            from.call("chat", json!(text)).await;
            let heard = to.hears(text).await;
            assert_eq!(
                heard.last(),
                Some(&json!({"from": sender, "text": text})),
                "from {sender}, single peer connection: {single}"
            );
        }
    }
}

#[tokio::test]
async fn file_of_1_mb_arrives_whole() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let room = format!("file-{single}");
        let ann = browser.joined(&server, &room, "ann", single).await;
        let bob = browser.joined(&server, &room, "bob", !single).await;
        for (from, to, sender) in [(&ann, &bob, "ann"), (&bob, &ann, "bob")] {
            let file = from.call("sendFile", json!(1_000_000)).await;
            let heard = to.hears(file.as_str().unwrap()).await;
            assert_eq!(
                heard,
                [json!({"from": sender, "text": file})],
                "from {sender}, single peer connection: {single}"
            );
        }
    }
}

/// Calls a method. Returns its answer, or the code of its error.
async fn perform_rpc(page: &Page, to: &str, method: &str, timeout_ms: u32) -> Value {
    let call = json!({"destinationIdentity": to, "method": method, "payload": "hello", "responseTimeout": timeout_ms});
    page.call("performRpc", call).await
}

#[tokio::test]
async fn call_of_a_method_is_answered_or_fails_with_a_code() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let room = format!("calls-{single}");
        let ann = browser.joined(&server, &room, "ann", single).await;
        let bob = browser.joined(&server, &room, "bob", !single).await;
        ann.happens("participantConnected", "bob").await;
        for (caller, callee) in [((&ann, "ann"), (&bob, "bob")), ((&bob, "bob"), (&ann, "ann"))] {
            callee.0.call("answerCalls", Value::Null).await;
            let answer = perform_rpc(caller.0, callee.1, "echo", 20_000).await;
            assert_eq!(
                answer,
                json!({"answer": format!("{}: hello", caller.1)}),
                "single peer connection: {single}"
            );
            for (method, timeout_ms, code) in
                [("refuse", 20_000, 2000), ("never", 2_000, 1502), ("absent", 20_000, 1400)]
            {
                let failed = perform_rpc(caller.0, callee.1, method, timeout_ms).await;
                assert_eq!(failed, json!({"code": code}), "{method}");
            }
        }
    }
}

#[tokio::test]
async fn api_data_arrives_once_per_nonce() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let room = format!("nonce-{single}");
        let ann = browser.joined(&server, &room, "ann", single).await;
        let pia = Python::joined(&server, &room, "pia", single).await;
        for (text, nonce) in [("once", 1), ("once", 1), ("last", 2)] {
            server.send_data(&room, text, nonce).await;
        }
        let heard = ["once", "last"].map(|text| json!({"from": "", "text": text}));
        assert_eq!(ann.hears("last").await, heard, "single peer connection: {single}");
        assert_eq!(
            pia.call("hears", json!({"text": "last"})).await,
            json!(heard),
            "single peer connection: {single}"
        );
    }
}

#[tokio::test]
async fn demoted_browser_unpublishes_until_promoted() {
    let (server, browser) = (Server::start().await, Browser::start().await);
    for single in PATHS {
        let room = format!("demoted-{single}");
        let ann = browser.joined(&server, &room, "ann", single).await;
        let bob = browser.joined(&server, &room, "bob", single).await;
        ann.publish(json!({"camera": true})).await;
        bob.arrives("ann", "camera").await;
        server.permit(&room, "ann", false).await;
        bob.happens("trackUnpublished", "camera").await;
        ann.happens("localTrackUnpublished", "camera").await;
        let refused = ann.attempt("publish", json!({"camera": true})).await.unwrap_err();
        assert!(refused.contains("permission"), "{refused}");
        server.permit(&room, "ann", true).await;
        ann.call("mayPublish", json!(true)).await;
        ann.publish(json!({"camera": true})).await;
        bob.arrives("ann", "camera").await;
    }
}
