//! Tickets of the event stream: valid as long as the sign-in, at most 12 h, and for this purpose only.

use chassis::clock::Clock;
use gateway::HttpConfig;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    fakes::{ROOM, stream},
    streams::LISTING,
    streams_events::Events,
    support::{Gateway, answer, args, checked, claims, now, sign, token},
};

async fn ticket(gateway: &Gateway, token: String) -> String {
    issue(gateway, token).await["ticket"].as_str().unwrap().to_owned()
}

async fn issue(gateway: &Gateway, token: String) -> Value {
    let request = gateway.post(&format!("{LISTING}/ticket")).bearer_auth(token);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let (status, body) = crate::support::status_and_body(response).await;
    assert_eq!((status, &body["ok"]), (200, &json!(true)), "{body}");
    body
}

/// A token that expires in this number of seconds.
fn token_for(seconds: i64) -> String {
    let mut claims = claims("ana");
    claims["exp"] = json!(now() + seconds);
    sign(&claims)
}

fn events(ticket: &str) -> String {
    format!("{LISTING}/events?ticket={ticket}")
}

#[tokio::test]
async fn ticket_listens_as_its_bearer() {
    let gateway = Gateway::start().await;
    let mut member = claims("ana");
    member["groups"] = json!(["choir"]);
    let ticket = ticket(&gateway, sign(&member)).await;
    let mut listening = Events::open(gateway.get(&events(&ticket))).await;
    let mut again = Events::open(gateway.get(&events(&ticket))).await;
    let mut row = stream(ROOM, 1);
    row.access_level = proto::types::v1::AccessLevel::Group.into();
    row.groups = vec!["choir".into()];
    gateway.fake.listing().write(row);
    assert_eq!(listening.next_row().await["id"], json!(ROOM));
    assert_eq!(again.next_row().await["id"], json!(ROOM), "a ticket can be used repeatedly");
}

#[tokio::test]
async fn wrong_foreign_or_expired_ticket_is_401() {
    let gateway = Gateway::start().await;
    let good = ticket(&gateway, token("ana")).await;
    let late = |seconds| {
        let mut config = checked(args());
        config.auth.clock = Clock::off_by(time::Duration::seconds(seconds));
        config
    };
    let mut foreign = checked(args());
    foreign.streams.link_secrets = vec!["another secret of at least 32 bytes".into()];
    let refused = async |config: HttpConfig, ticket: &str| {
        let gateway = Gateway::with(config).await;
        let (status, body) = answer(gateway.get(&events(ticket))).await;
        assert_eq!((status, &body["error"]), (401, &json!("UNAUTHENTICATED")), "{ticket}");
        gateway.fake.assert_not_called();
    };
    refused(late(1_800), &good).await;
    refused(foreign, &good).await;
    for wrong in ["", "x", "x.y", &good[1..], &good[..good.len() - 1]] {
        refused(checked(args()), wrong).await;
    }
    // A new ticket: on a busy machine the refusals can take a while.
    let fresh = ticket(&gateway, token("ana")).await;
    let gateway = Gateway::with(late(1_700)).await;
    Events::open(gateway.get(&events(&fresh))).await;
}

#[tokio::test]
async fn ticket_expires_with_the_sign_in_or_after_12_h() {
    let gateway = Gateway::start().await;
    for (sign_in, expected) in [(600, 600), (7 * 24 * 3600, 12 * 3600)] {
        let before = now();
        let answer = issue(&gateway, token_for(sign_in)).await;
        let expires_at = OffsetDateTime::parse(answer["expires_at"].as_str().unwrap(), &Rfc3339).unwrap();
        let bounds = before + expected..=now() + expected;
        assert!(bounds.contains(&expires_at.unix_timestamp()), "{answer}");
    }
}

#[tokio::test]
async fn sign_in_that_has_expired_gets_no_ticket() {
    let gateway = Gateway::start().await;
    let token = token_for(-5);
    let request = gateway.get("/api/bookings").bearer_auth(&token);
    assert_eq!(answer(request).await.0, 200, "within the leeway of the clocks");
    let (status, body) = answer(gateway.post(&format!("{LISTING}/ticket")).bearer_auth(&token)).await;
    assert_eq!((status, &body["error"]), (401, &json!("UNAUTHENTICATED")), "{body}");
}

#[tokio::test]
async fn stream_of_a_ticket_ends_when_it_expires() {
    let gateway = Gateway::start().await;
    let ticket = ticket(&gateway, token_for(2)).await;
    let mut listening = Events::open(gateway.get(&events(&ticket))).await;
    assert_eq!(listening.next().await.as_deref(), Some("id: 0"));
    assert_eq!(listening.next().await, None, "before the first comment, which comes after 15 s");
    assert_eq!(answer(gateway.get(&events(&ticket))).await.0, 401);
}

#[tokio::test]
async fn ticket_opens_only_the_event_stream() {
    let gateway = crate::streams::public().await;
    let ticket = ticket(&gateway, token("ana")).await;
    assert_eq!(answer(gateway.get("/api/v1/live/rooms/me").bearer_auth(&ticket)).await.0, 401);
    assert_eq!(answer(gateway.get(&format!("/api/v1/live/rooms/me?ticket={ticket}"))).await.0, 401);
    assert_eq!(answer(gateway.get(&events(&ticket)).bearer_auth("wrong")).await.0, 401);
    assert_eq!(answer(gateway.get(&events("wrong"))).await.0, 401, "a public listing does not make it valid");
    let request = gateway.post(&format!("{LISTING}/ticket"));
    assert_eq!(answer(request).await.0, 401, "an anonymous client needs no ticket and gets none");
    let jwt = token("ana");
    assert_eq!(answer(gateway.get(&events(&jwt))).await.0, 401, "a JWT is not a ticket");
}
