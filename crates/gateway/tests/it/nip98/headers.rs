//! Headers that are refused, and the forms of a valid one.

use std::collections::BTreeSet;

use gateway::nostr::nip98::{Expected, LONGEST_HEADER, verify};
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    BASE, Signer,
    cases::{self, Target},
    encode, gateway, nest,
};
use crate::support::{answer, now, token};

#[tokio::test]
async fn wrong_headers_are_401_and_reach_no_service() {
    let gateway = gateway().await;
    let (url, now) = (format!("{BASE}{}", nest()), u64::try_from(now()).unwrap());
    let cases = cases::all(&Target { url: &url, method: "GET", now });
    let distinct: BTreeSet<_> = cases.iter().map(|(_, header)| header).collect();
    assert!(distinct.len() > 400, "{} cases", distinct.len());
    let mut over_http = 0;
    for (what, header) in &cases {
        let Ok(value) = reqwest::header::HeaderValue::from_bytes(header) else { continue };
        let (status, reply) = answer(gateway.get(&nest()).header("authorization", value)).await;
        if status == 431 && header.len() > 15_000 {
            continue; // beyond the limit of hyper (docs/errors.md)
        }
        if header.len() > LONGEST_HEADER {
            assert_eq!((status, &reply["code"]), (431, &json!("token_too_large")), "{what}: {reply}");
            continue;
        }
        assert_eq!((status, &reply["code"]), (401, &json!("unauthenticated")), "{what}: {reply}");
        over_http += 1;
    }
    assert!(over_http > 400, "{over_http} over HTTP");
    gateway.fake.assert_not_called();
}

/// The same cases without an HTTP library, which would reject some: control characters, a mebibyte.
#[test]
fn verify_refuses_every_case_and_accepts_the_original() {
    let (url, now) = (format!("{BASE}{}", nest()), 1_800_000_000);
    let (bases, uri) = ([BASE.parse().unwrap()], nest().parse().unwrap());
    let expected = Expected {
        bases: &bases,
        method: "GET",
        uri: &uri,
        now: 1_800_000_000,
        window: std::time::Duration::from_mins(1),
    };
    let nothing: [u8; 32] = Sha256::digest(b"").into();
    for (what, header) in cases::all(&Target { url: &url, method: "GET", now }) {
        let verified = verify(&header, &expected);
        // `verify` does not compare a payload with the body.
        let payload = verified.as_ref().ok().and_then(|verified| verified.payload);
        assert!(
            verified.is_err() || payload.is_some_and(|payload| payload != nothing),
            "{what}: {verified:?}"
        );
    }
    let signer = Signer::new(1);
    let event = |at| signer.event(27235, at, json!([["u", url], ["method", "GET"]])).to_string();
    for at in [now - 60, now, now + 60] {
        let verified = verify(encode(&event(at)).as_bytes(), &expected).unwrap();
        assert_eq!((verified.public_key, verified.payload), (signer.public_key(), None), "{at}");
    }
    for at in [now - 61, now + 61] {
        assert!(verify(encode(&event(at)).as_bytes(), &expected).is_err(), "{at}");
    }
    assert!(verify(encode(&event(now)).as_bytes(), &Expected { bases: &[], ..expected }).is_err());
}

#[tokio::test]
async fn scheme_ignores_case_and_two_headers_are_401() {
    let gateway = gateway().await;
    let signed = Signer::new(1).authorize(&Method::GET, &nest(), None);
    let event = signed.strip_prefix("Nostr ").unwrap();
    for scheme in ["Nostr ", "nostr ", "NOSTR ", "Nostr  "] {
        let request = gateway.get(&nest()).header("authorization", format!("{scheme}{event}"));
        assert_eq!(answer(request).await.0, 200, "{scheme}");
    }
    let twice = gateway.get(&nest()).header("authorization", &signed).header("authorization", &signed);
    assert_eq!(answer(twice).await.0, 401);
    let bearer = gateway.get(&nest()).bearer_auth(token("host-1"));
    assert_eq!(answer(bearer).await.0, 401, "a token is not a Nostr identity");
    let signed = gateway.get("/api/bookings").header("authorization", signed);
    assert_eq!(answer(signed).await.0, 401, "a signature is not a token");
}

#[tokio::test]
async fn malformed_header_bytes_are_refused_without_a_failure() {
    let gateway = gateway().await;
    let long = "A".repeat(1024 * 1024);
    for (what, value) in [("NUL", "Nostr \0"), ("DEL", "Nostr \u{7f}"), ("1 MiB", long.as_str())] {
        let mut socket = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!(
            "GET {} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: {value}\r\n\r\n",
            nest()
        );
        let _ = socket.write_all(head.as_bytes()).await; // the gateway may close before it has read everything
        let mut reply = Vec::new();
        let _ = socket.read_to_end(&mut reply).await;
        let status: Option<u16> =
            std::str::from_utf8(&reply).ok().and_then(|reply| reply.get(9..12)?.parse().ok());
        assert!(status.is_none_or(|status| [400, 401, 431].contains(&status)), "{what}: {status:?}");
    }
    let header = Signer::new(1).authorize(&Method::GET, &nest(), None);
    assert_eq!(
        answer(gateway.get(&nest()).header("authorization", header)).await.0,
        200,
        "the gateway still serves"
    );
}
