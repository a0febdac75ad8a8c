//! Signed tokens as LiveKit reads them: exactly the grants of the table.

use domain::{Role, SeatRole};
use livekit_api::access_token::TokenVerifier;

use super::*;

const SECRET: &str = "a secret of 32 bytes and some more";

fn livekit() -> LiveKit {
    LiveKit { api_key: "key".into(), api_secret: SECRET.into(), ws_url: String::new(), url: String::new() }
}

fn sign(token_role: impl Into<TokenRole>, signed_at: OffsetDateTime, left: time::Duration) -> Signed {
    let (name, token_role) = ("Ana \"A\" Ünal", token_role.into());
    let ticket = Ticket { identity: "ana|1", name, token_role, room: "session-1", signed_at, left };
    let signer = Signer::new(&livekit(), Duration::from_hours(1)).unwrap();
    signer.sign(ticket).unwrap()
}

fn now() -> OffsetDateTime {
    chassis::clock::Clock::default().now()
}

#[test]
fn livekit_verifier_reads_the_grants_of_the_table() {
    let booked = [Role::Host, Role::Guest].map(TokenRole::from);
    let seated = [SeatRole::Host, SeatRole::Speaker, SeatRole::Guest].map(TokenRole::from);
    for token_role in booked.into_iter().chain(seated) {
        let signed = sign(token_role, now(), time::Duration::MINUTE);
        let claims = TokenVerifier::with_api_key("key", SECRET).verify(&signed.token).unwrap();
        let grants = token_role.grants;
        assert_eq!(
            (claims.sub.as_str(), claims.name.as_str()),
            ("ana|1", "Ana \"A\" Ünal"),
            "{token_role:?}"
        );
        assert_eq!(
            claims.attributes,
            HashMap::from([("role".into(), token_role.name.into())]),
            "{token_role:?}"
        );
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
        assert_eq!(claims.video, expected, "{token_role:?}");
    }
}

#[test]
fn token_has_no_administrative_grants() {
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
fn token_expires_with_the_window_or_after_the_longest_life() {
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
fn token_is_refused_with_another_key_or_secret() {
    let signed = sign(Role::Host, now(), time::Duration::MINUTE);
    assert!(TokenVerifier::with_api_key("key", &"x".repeat(32)).verify(&signed.token).is_err());
    assert!(TokenVerifier::with_api_key("other", SECRET).verify(&signed.token).is_err());
}
