//! Who is believed to have signed a request, and who is not: NIP-98 by the letter, over HTTP and by the function.

mod cases;
mod properties;
mod vectors;

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gateway::{
    HttpArgs,
    nostr::{
        nip98::{Expected, LONGEST_HEADER, verify},
        sign::{self, Keys},
    },
};
use nostr::{
    event::{EventBuilder, FinalizeEvent as _, Kind, Tag},
    types::Timestamp,
};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use self::cases::Target;
use crate::{
    fakes::NEST,
    support::{Gateway, answer, args, checked, now, token},
};

pub const BASE: &str = "https://nests.test";

/// A Nostr identity.
pub struct Signer(Keys);

impl Signer {
    pub fn new(secret: u8) -> Self {
        Self(format!("{secret:02x}").repeat(32).parse().expect("a secret key"))
    }

    pub fn public_key(&self) -> String {
        self.0.public_key().to_hex()
    }

    /// A header for a request of now.
    pub fn authorize(&self, method: &Method, path: &str, body: Option<&str>) -> String {
        let at = u64::try_from(now()).unwrap();
        let body = body.map(str::as_bytes);
        sign::authorization(&self.0, method.as_str(), &format!("{BASE}{path}"), body, at).unwrap()
    }

    pub fn event(&self, kind: u16, at: u64, tags: Value) -> Value {
        let tags: Vec<Vec<String>> = serde_json::from_value(tags).expect("tags");
        let tags = tags.into_iter().map(|tag| Tag::parse(tag).expect("a tag"));
        let event = EventBuilder::new(Kind::from(kind), "signed")
            .tags(tags)
            .custom_created_at(Timestamp::from_secs(at));
        serde_json::to_value(event.finalize(&self.0).expect("an event")).unwrap()
    }
}

pub fn encode(event: &str) -> String {
    format!("Nostr {}", STANDARD.encode(event))
}

/// A gateway that clients reach at [`BASE`], and whose limits are out of the way.
pub async fn gateway() -> Gateway {
    Gateway::with(checked(HttpArgs {
        api_url: Some(BASE.into()),
        public_urls: Some("https://other.test:8443/behind/, http://third.test".into()),
        rate_limit_anonymous: Some("1000000/1000000".into()),
        ..args()
    }))
    .await
}

fn nest() -> String {
    format!("/api/v1/nests/{NEST}")
}

#[tokio::test]
async fn whatever_is_no_proof_is_401_and_reaches_no_service() {
    let gateway = gateway().await;
    let (url, now) = (format!("{BASE}{}", nest()), u64::try_from(now()).unwrap());
    let cases = cases::all(&Target { url: &url, method: "GET", now });
    let distinct: BTreeSet<_> = cases.iter().map(|(_, header)| header).collect();
    assert!(distinct.len() > 400, "{} cases", distinct.len());
    let mut over_http = 0;
    for (what, header) in &cases {
        let Ok(value) = reqwest::header::HeaderValue::from_bytes(header) else { continue };
        let (status, told) = answer(gateway.get(&nest()).header("authorization", value)).await;
        if status == 431 && header.len() > 15_000 {
            continue; // hyper has read enough (docs/errors.md)
        }
        if header.len() > LONGEST_HEADER {
            assert_eq!((status, &told["code"]), (431, &json!("token_too_large")), "{what}: {told}");
            continue;
        }
        assert_eq!((status, &told["code"]), (401, &json!("unauthenticated")), "{what}: {told}");
        over_http += 1;
    }
    assert!(over_http > 400, "{over_http} over HTTP");
    assert!(gateway.fake.calls().is_empty());
}

/// The same cases where no HTTP library holds anything back: control characters, a mebibyte.
#[test]
fn the_function_refuses_every_case_and_takes_what_they_were_made_from() {
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
        // A payload is held against the body only when that is there.
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
async fn the_scheme_is_written_as_one_likes_and_two_headers_are_none() {
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
    assert_eq!(answer(bearer).await.0, 401, "who has signed in is no Nostr identity");
    let signed = gateway.get("/api/bookings").header("authorization", signed);
    assert_eq!(answer(signed).await.0, 401, "nor the other way round");
}

#[tokio::test]
async fn a_request_is_signed_for_any_base_url_and_either_scheme() {
    let gateway = gateway().await;
    let (signer, at) = (Signer::new(1), u64::try_from(now()).unwrap());
    let ask = async |base: &str| {
        let tags = json!([["u", format!("{base}{}", nest())], ["method", "get"]]);
        let header = encode(&signer.event(27235, at, tags).to_string());
        answer(gateway.get(&nest()).header("authorization", header)).await.0
    };
    for base in [
        BASE,
        "http://nests.test",
        "https://nests.test:443",
        "http://nests.test:80",
        "HTTPS://NESTS.test",
        "https://other.test:8443/behind",
        "http://other.test:8443/behind",
        "https://third.test",
    ] {
        assert_eq!(ask(base).await, 200, "{base}");
    }
    for base in [
        "http://nests.test:443",
        "https://nests.test:80",
        "https://nests.test:8443",
        "https://other.test/behind",
        "https://other.test:8443",
        "https://other.test:8443/behindx",
        "https://third.test/behind",
    ] {
        assert_eq!(ask(base).await, 401, "{base}");
    }
}

#[tokio::test]
async fn the_query_is_signed_too() {
    let gateway = gateway().await;
    let signer = Signer::new(1);
    for (asked, signed, status) in [
        ("?a=1&b=2", "?a=1&b=2", 200),
        ("?a=%C3%A4", "?a=%C3%A4", 200),
        ("?a=1&b=2", "?b=2&a=1", 401),
        ("?a=1", "", 401),
        ("?a=1", "?a=2", 401),
    ] {
        let header = signer.authorize(&Method::GET, &format!("{}{signed}", nest()), None);
        let request = gateway.get(&format!("{}{asked}", nest())).header("authorization", header);
        assert_eq!(answer(request).await.0, status, "{asked} signed as {signed}");
    }
}

#[tokio::test]
async fn a_signed_body_is_the_body_that_came() {
    let gateway = gateway().await;
    let signer = Signer::new(1);
    let put = async |signed: Option<&str>, sent: &str| {
        let header = signer.authorize(&Method::PUT, "/api/v1/nests", signed);
        let request = gateway.request(Method::PUT, "/api/v1/nests").header("authorization", header);
        answer(request.body(sent.to_owned())).await.0
    };
    let body = r#"{"relays": ["wss://a.test"]}"#;
    assert_eq!(put(Some(body), body).await, 200);
    assert_eq!(put(Some(body), r#"{"relays": ["wss://b.test"]}"#).await, 401);
    assert_eq!(put(Some(body), "").await, 401);
    assert_eq!(put(Some(""), " ").await, 401, "byte by byte");
    assert_eq!(put(None, "").await, 200, "there is nothing to sign");
    assert_eq!(put(Some(""), "").await, 200);
    for unsigned in [r#"{"hls_stream": true}"#, "{}", " ", "\n", "null"] {
        assert_eq!(put(None, unsigned).await, 401, "{unsigned:?} is covered by no signature");
    }
    assert_eq!(gateway.fake.calls().iter().filter(|call| call.method == "create_nest").count(), 3);
}

#[tokio::test]
async fn body_must_be_signed_on_every_route_that_changes_something() {
    let gateway = gateway().await;
    let signer = Signer::new(1);
    let recording = format!("{}/recording/{}", nest(), uuid::Uuid::nil());
    for (method, path) in [
        (Method::PUT, "/api/v1/nests".to_owned()),
        (Method::PUT, "/api/v1/nests/".to_owned()),
        (Method::POST, format!("{}/permissions", nest())),
        (Method::DELETE, nest()),
        (Method::POST, format!("{}/recording", nest())),
        (Method::PATCH, recording.clone()),
        (Method::DELETE, recording),
    ] {
        let header = signer.authorize(&method, &path, None);
        let request = gateway.request(method.clone(), &path).header("authorization", header);
        let (status, told) = answer(request.body(r#"{"participant": "x"}"#)).await;
        assert_eq!((status, &told["code"]), (401, &json!("unauthenticated")), "{method} {path}");
        assert!(told["message"].as_str().unwrap().contains("payload"), "{told}");
    }
    assert!(gateway.fake.calls().is_empty());
}

/// Otherwise a client that has seen a header could use up the rate limit of its key.
#[tokio::test]
async fn another_body_counts_against_the_address_and_not_the_key() {
    let gateway = Gateway::with(checked(HttpArgs {
        api_url: Some(BASE.into()),
        rate_limit_user: Some("1/2".into()),
        rate_limit_moderation: Some("1/2".into()),
        rate_limit_anonymous: Some("1000/1000".into()),
        ..args()
    }))
    .await;
    let (signer, path) = (Signer::new(1), format!("{}/recording", nest()));
    let header = signer.authorize(&Method::POST, &path, None);
    let send = async |body: &'static str| {
        let request = gateway.request(Method::POST, &path).header("authorization", &header);
        answer(request.body(body)).await.0
    };
    for _ in 0..10 {
        assert_eq!(send("another body").await, 401);
    }
    assert_eq!(send("").await, 202, "the key has its requests left");
}

#[tokio::test]
async fn a_proof_counts_once_and_two_equal_gets_are_two_requests() {
    let gateway = gateway().await;
    let signer = Signer::new(1);
    let header = signer.authorize(&Method::PUT, "/api/v1/nests", None);
    let put = async |body: &'static str| {
        let request = gateway.request(Method::PUT, "/api/v1/nests").header("authorization", &header);
        answer(request.body(body)).await
    };
    assert_eq!(put("").await.0, 200);
    let (status, told) = put("").await;
    assert_eq!((status, &told["code"]), (401, &json!("unauthenticated")));
    assert_eq!(put("{}").await.0, 401, "another body is not the signer's");
    let header = signer.authorize(&Method::GET, &nest(), None);
    for _ in 0..2 {
        let request = gateway.get(&nest()).header("authorization", &header);
        assert_eq!(answer(request).await.0, 200);
    }
}

#[tokio::test]
async fn without_a_url_of_ours_nothing_is_believed_and_guests_come_in() {
    let gateway = Gateway::start().await;
    let header = Signer::new(1).authorize(&Method::GET, &nest(), None);
    let (status, told) = answer(gateway.get(&nest()).header("authorization", header)).await;
    assert_eq!(status, 401);
    assert!(told["message"].as_str().unwrap().contains("API_URL"), "{told}");
    assert_eq!(answer(gateway.get(&format!("{}/guest", nest()))).await.0, 200);
}

#[tokio::test]
async fn what_no_library_would_send_is_refused_without_a_failure() {
    let gateway = gateway().await;
    let long = "A".repeat(1024 * 1024);
    for (what, value) in [("NUL", "Nostr \0"), ("DEL", "Nostr \u{7f}"), ("1 MiB", long.as_str())] {
        let mut socket = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!(
            "GET {} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: {value}\r\n\r\n",
            nest()
        );
        let _ = socket.write_all(head.as_bytes()).await; // the gateway may close before it has read all
        let mut told = Vec::new();
        let _ = socket.read_to_end(&mut told).await;
        let status: Option<u16> =
            std::str::from_utf8(&told).ok().and_then(|told| told.get(9..12)?.parse().ok());
        assert!(status.is_none_or(|status| [400, 401, 431].contains(&status)), "{what}: {status:?}");
    }
    let header = Signer::new(1).authorize(&Method::GET, &nest(), None);
    assert_eq!(answer(gateway.get(&nest()).header("authorization", header)).await.0, 200, "and it goes on");
}

#[tokio::test]
async fn refused_signatures_count_against_the_address_and_good_ones_against_the_key() {
    let gateway = Gateway::with(checked(HttpArgs {
        api_url: Some(BASE.into()),
        rate_limit_user: Some("1/3".into()),
        rate_limit_anonymous: Some("1/3".into()),
        ..args()
    }))
    .await;
    let ask = async |signer: &Signer, path: &str| {
        let header = signer.authorize(&Method::GET, path, None);
        answer(gateway.get(&nest()).header("authorization", header)).await.0
    };
    let (one, other) = (Signer::new(1), Signer::new(2));
    for signer in [&one, &other] {
        assert_eq!(ask(signer, &nest()).await, 200, "they are participants");
    }
    let mut told = Vec::new();
    while told.last() != Some(&429) && told.len() < 50 {
        told.push(ask(&one, "/elsewhere").await);
    }
    assert!(told.len() < 50 && told[..told.len() - 1].iter().all(|status| *status == 401), "{told:?}");
    assert_eq!(ask(&one, &nest()).await, 200, "the same address with a good signature");
    let mut told = Vec::new();
    while told.last() != Some(&429) && told.len() < 50 {
        told.push(ask(&one, &nest()).await);
    }
    assert!(told.len() < 50 && told[..told.len() - 1].iter().all(|status| *status == 200), "{told:?}");
    assert_eq!(ask(&other, &nest()).await, 200, "another key");
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let metrics = chassis::telemetry::metrics();
    let gateway = gateway().await;
    assert_eq!(answer(gateway.get(&nest())).await.0, 401);
    assert_eq!(answer(gateway.get(&nest()).header("authorization", "Nostr {}")).await.0, 401);
    let told = metrics.render();
    for reason in ["nip98_missing", "nip98_base64"] {
        let line = format!("greenroom_sign_ins_refused_total{{reason=\"{reason}\"}}");
        assert!(told.contains(&line), "{line} is not in: {told}");
    }
}
