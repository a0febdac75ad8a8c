//! `/rtc/validate` and `/rtc/v1/validate`: what a client sends in addition to its token.

use std::io::Write;

use base64::{Engine, engine::general_purpose::URL_SAFE};
use flate2::{Compression, write::GzEncoder};
use livekit_protocol::{JoinRequest, WrappedJoinRequest, wrapped_join_request};
use prost::Message;
use reqwest::Method;
use serde_json::json;

use crate::target::{Target, fresh};

const GZIP: i32 = wrapped_join_request::Compression::Gzip as i32;
const MEBIBYTE: usize = 1024 * 1024;

fn wrapped(join_request: Vec<u8>, compression: i32) -> String {
    URL_SAFE.encode(WrappedJoinRequest { compression, join_request }.encode_to_vec())
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn with_metadata(metadata: String) -> Vec<u8> {
    JoinRequest { metadata, ..Default::default() }.encode_to_vec()
}

/// A token with or without permission for own attributes and metadata.
async fn guest(target: &Target, may_update: bool) -> String {
    let room = target.create("validate").await.name;
    target.token("ann", &json!({"roomJoin": true, "room": room, "canUpdateOwnMetadata": may_update}))
}

async fn get(target: &Target, path: &str, token: &str, query: &str) -> (u16, String) {
    let path = format!("{path}?access_token={token}{query}");
    let response = target.request(Method::GET, &path).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn refused(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[tokio::test]
async fn unreadable_attributes_are_400() {
    let target = Target::start().await;
    let token = guest(&target, false).await;
    for attributes in ["zzz", &URL_SAFE.encode("[]"), &URL_SAFE.encode(r#"{"a": 1}"#)] {
        let answer = get(&target, "/rtc/validate", &token, &format!("&attributes={attributes}")).await;
        assert_eq!(answer, refused(400, "cannot decode attributes"), "{attributes}");
    }
}

#[tokio::test]
async fn own_attributes_need_a_grant_unless_empty() {
    let target = Target::start().await;
    let own = format!("&attributes={}", URL_SAFE.encode(r#"{"a": "b"}"#));
    for (may_update, answer) in
        [(false, refused(401, "no permissions to access the room")), (true, refused(200, "success"))]
    {
        let token = guest(&target, may_update).await;
        assert_eq!(get(&target, "/rtc/validate", &token, &own).await, answer, "may update: {may_update}");
        for none in ["{}", "null"] {
            let none = format!("&attributes={}", URL_SAFE.encode(none));
            assert_eq!(
                get(&target, "/rtc/validate", &token, &none).await,
                refused(200, "success"),
                "{none}, may update: {may_update}"
            );
        }
    }
}

#[tokio::test]
async fn metadata_in_the_query_is_ignored() {
    let target = Target::start().await;
    let token = guest(&target, false).await;
    let answer = get(&target, "/rtc/validate", &token, "&metadata=zzz").await;
    assert_eq!(answer, refused(200, "success"));
}

#[tokio::test]
async fn v1_needs_a_join_request() {
    let target = Target::start().await;
    let token = guest(&target, false).await;
    for query in ["", "&join_request=", "&attributes=zzz"] {
        let answer = get(&target, "/rtc/v1/validate", &token, query).await;
        assert_eq!(answer, refused(400, "join_request is required"), "{query}");
    }
    let plain = format!("&join_request={}", wrapped(with_metadata(String::new()), 0));
    // An empty join request is refused too.
    assert_eq!(get(&target, "/rtc/v1/validate", &token, &plain).await.0, 400);
    let zipped = format!("&join_request={}", wrapped(zipped(&[]), GZIP));
    assert_eq!(get(&target, "/rtc/v1/validate", &token, &zipped).await, refused(200, "success"));
}

#[tokio::test]
async fn unreadable_join_request_is_400_and_says_where() {
    let target = Target::start().await;
    let token = guest(&target, false).await;
    let large = with_metadata("x".repeat(MEBIBYTE + 1));
    for (request, text) in [
        ("zzz".to_owned(), "cannot base64 decode wrapped join request"),
        (URL_SAFE.encode([0xff, 0xff]), "cannot unmarshal wrapped join request"),
        (wrapped(vec![0xff, 0xff], 0), "cannot unmarshal join request"),
        (wrapped(zipped(&[0xff, 0xff]), GZIP), "cannot unmarshal join request"),
        (wrapped(b"junk".to_vec(), GZIP), "cannot read decompressed join request"),
        (wrapped(zipped(&large), GZIP), "join request too large"),
    ] {
        for path in ["/rtc/v1/validate", "/rtc/validate"] {
            let answer = get(&target, path, &token, &format!("&join_request={request}")).await;
            assert_eq!(answer, refused(400, text), "{path}");
        }
    }
}

#[tokio::test]
async fn join_request_brings_metadata_with_a_grant_only() {
    let target = Target::start().await;
    let request = format!("&join_request={}", wrapped(with_metadata("mine".to_owned()), 0));
    for (may_update, status) in [(false, 401), (true, 200)] {
        let token = guest(&target, may_update).await;
        assert_eq!(
            get(&target, "/rtc/v1/validate", &token, &request).await.0,
            status,
            "may update: {may_update}"
        );
    }
}

#[tokio::test]
async fn v1_and_validate_have_the_same_refusals() {
    let target = Target::start().await;
    let request = format!("&join_request={}", wrapped(zipped(&[]), GZIP));
    let missing = target.joining("ann", &fresh("missing"));
    let anonymous = target.token("", &json!({"roomJoin": true, "room": fresh("any")}));
    let of_missing = if target.creates_rooms().await {
        refused(200, "success")
    } else {
        refused(404, "requested room does not exist")
    };
    for (token, answer) in [
        ("garbage", refused(401, "invalid authorization token")),
        (&anonymous, refused(400, "identity cannot be empty")),
        (&missing, of_missing),
    ] {
        assert_eq!(get(&target, "/rtc/v1/validate", token, &request).await, answer, "{token}");
    }
}

#[tokio::test]
async fn paths_for_sockets_are_empty_for_a_plain_get() {
    let target = Target::start().await;
    for path in ["/rtc/v1", "/agent"] {
        let response = target.request(Method::GET, path).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.text().await.unwrap()), refused(404, ""), "{path}");
    }
    let whip = target.request(Method::GET, "/whip/v1").send().await.unwrap();
    assert_eq!(whip.status().as_u16(), 204);
}
