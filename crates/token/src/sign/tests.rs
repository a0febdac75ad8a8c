//! What is signed is what LiveKit reads, and no more than the grants table says.

use domain::{Role, SeatRole};
use livekit_api::access_token::TokenVerifier;

use super::*;

const SECRET: &str = "a secret of 32 bytes and some more";

fn livekit() -> LiveKit {
    LiveKit { api_key: "key".into(), api_secret: SECRET.into(), ws_url: String::new(), url: String::new() }
}

fn sign(part: impl Into<Part>, signed_at: OffsetDateTime, left: time::Duration) -> Signed {
    let (name, part) = ("Ana \"A\" Ünal", part.into());
    let ticket = Ticket { identity: "ana|1", name, part, room: "session-1", signed_at, left };
    let signer = Signer::new(&livekit(), Duration::from_hours(1)).unwrap();
    signer.sign(ticket).unwrap()
}

fn now() -> OffsetDateTime {
    chassis::clock::Clock::default().now()
}

#[test]
fn livekits_own_verifier_reads_the_grants_of_the_table() {
    let booked = [Role::Host, Role::Guest].map(Part::from);
    let seated = [SeatRole::Host, SeatRole::Speaker, SeatRole::Guest].map(Part::from);
    for part in booked.into_iter().chain(seated) {
        let signed = sign(part, now(), time::Duration::MINUTE);
        let claims = TokenVerifier::with_api_key("key", SECRET).verify(&signed.token).unwrap();
        let grants = part.grants;
        assert_eq!((claims.sub.as_str(), claims.name.as_str()), ("ana|1", "Ana \"A\" Ünal"));
        assert_eq!(claims.attributes, HashMap::from([("role".into(), part.name.into())]));
        let expected = VideoGrants {
            room: "session-1".into(),
            room_join: true,
            can_publish: Some(!grants.publish.is_empty()),
            can_publish_sources: grants.publish.iter().map(|source| source.as_str().to_owned()).collect(),
            can_subscribe: Some(grants.subscribe),
            can_publish_data: Some(grants.data),
            can_update_own_metadata: Some(grants.own_metadata),
            ..VideoGrants::default()
        };
        assert_eq!(claims.video, expected);
    }
}

#[test]
fn no_administration_of_livekit_is_ever_written_into_a_token() {
    let signed = sign(Role::Host, now(), time::Duration::MINUTE);
    let claims = signed.token.split('.').nth(1).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let mut grants: Vec<&str> = claims["video"].as_object().unwrap().keys().map(String::as_str).collect();
    grants.sort_unstable();
    let expected = [
        "canPublish",
        "canPublishData",
        "canPublishSources",
        "canSubscribe",
        "canUpdateOwnMetadata",
        "room",
        "roomJoin",
    ];
    assert_eq!(grants, expected);
}

#[test]
fn a_token_ends_with_the_window_or_after_the_longest_life() {
    let signed_at = now().replace_nanosecond(999_999_999).unwrap();
    let whole = signed_at.replace_nanosecond(0).unwrap();
    let short = sign(Role::Host, signed_at, time::Duration::minutes(7));
    assert_eq!(short.expires_at, whole + time::Duration::minutes(7));
    let long = sign(Role::Host, signed_at, time::Duration::hours(7));
    assert_eq!(long.expires_at, whole + time::Duration::HOUR);
    let claims = TokenVerifier::with_api_key("key", SECRET).verify(&long.token).unwrap();
    assert_eq!(claims.exp, numeric_date(long.expires_at));
    assert_eq!(claims.nbf, numeric_date(whole) - 10);
}

#[test]
fn another_secret_does_not_verify() {
    let signed = sign(Role::Host, now(), time::Duration::MINUTE);
    assert!(TokenVerifier::with_api_key("key", &"x".repeat(32)).verify(&signed.token).is_err());
    assert!(TokenVerifier::with_api_key("other", SECRET).verify(&signed.token).is_err());
}
