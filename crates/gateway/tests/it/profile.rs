//! The name, e-mail address and picture of a token's person.

use gateway::HttpArgs;
use proto::types::v1::Caller;
use serde_json::{Value, json};

use crate::support::{Gateway, answer, args, checked, claims, sign};

/// The person that the services see for a token with these claims and none of the usual profile.
async fn person(gateway: &Gateway, profile: Value) -> Caller {
    let mut claims = claims("ana");
    let fields = claims.as_object_mut().unwrap();
    fields.retain(|claim, _| !["name", "email", "picture"].contains(&claim.as_str()));
    fields.extend(profile.as_object().unwrap().clone());
    assert_eq!(answer(gateway.get("/api/bookings").bearer_auth(sign(&claims))).await.0, 200, "{profile}");
    gateway.fake.last().caller.unwrap()
}

#[tokio::test]
async fn name_is_the_first_of_the_usual_claims() {
    let gateway = Gateway::start().await;
    for (profile, expected) in [
        (json!({"given_name": "Ana", "family_name": "Diaz", "preferred_username": "ad"}), "Ana Diaz"),
        (json!({"nickname": "Annie", "preferred_username": "ana@example.org"}), "Annie"),
        (json!({"preferred_username": "ana@example.org"}), "ana"),
        (json!({"name": "ana@example.org"}), "ana"),
        (json!({}), ""),
    ] {
        assert_eq!(person(&gateway, profile.clone()).await.name, expected, "{profile}");
    }
}

#[tokio::test]
async fn profile_is_read_from_the_configured_claims() {
    let args = HttpArgs {
        name_claim: Some("https://app.test/name".into()),
        email_claim: Some("/contact/mail".into()),
        picture_claim: Some("/contact/photos/0".into()),
        ..args()
    };
    let gateway = Gateway::with(checked(args)).await;
    let ana = person(
        &gateway,
        json!({
            "https://app.test/name": "Ana D.", "name": "Ana Diaz",
            "contact": {"mail": "ana@b.test", "email_verified": false, "photos": ["https://p.test/b.png"]},
            "email": "another@b.test", "email_verified": true, "picture": "https://p.test/a.png",
        }),
    )
    .await;
    assert_eq!((ana.name.as_str(), ana.email.as_str()), ("Ana D.", "ana@b.test"));
    assert_eq!((ana.email_verified, ana.avatar_url.as_str()), (Some(false), "https://p.test/b.png"));
    // Only the name has further claims to look at.
    let usual = json!({"name": "Ana", "email": "a@b.test", "email_verified": true, "picture": "https://p.test/a.png"});
    let ana = person(&gateway, usual).await;
    assert_eq!((ana.name.as_str(), ana.email.as_str(), ana.avatar_url.as_str()), ("Ana", "", ""));
    assert_eq!(ana.email_verified, None);
}
