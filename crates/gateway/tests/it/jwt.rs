//! Verification of tokens with a shared secret.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway::HttpArgs;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{AUDIENCE, Gateway, SECRET, answer, args, checked, claims, now, sign, sign_with, token};

const PATH: &str = "/api/bookings";

async fn status(gateway: &Gateway, token: &str) -> u16 {
    answer(gateway.get(PATH).bearer_auth(token)).await.0
}

fn with(field: &str, value: impl Into<Value>) -> String {
    let mut claims = claims("ana");
    claims[field] = value.into();
    sign(&claims)
}

fn without(field: &str) -> String {
    let mut claims = claims("ana");
    claims.as_object_mut().unwrap().remove(field);
    sign(&claims)
}

#[tokio::test]
async fn valid_token_names_the_caller_to_the_services() {
    let gateway = Gateway::start().await;
    let mut admin = claims("ana");
    admin["app_metadata"] = json!({"roles": ["admin"]});
    admin["groups"] = json!(["choir", "band"]);
    admin["name"] = json!("Name\0 of ana"); // Postgres does not store NUL
    assert_eq!(status(&gateway, &sign(&admin)).await, 200);
    let caller = gateway.fake.last().caller.unwrap();
    assert_eq!((caller.user_id.as_str(), caller.name.as_str()), ("ana", "Name of ana"));
    assert_eq!((caller.email.as_str(), caller.avatar_url.as_str()), ("a@b.test", "https://p.test/a.png"));
    assert_eq!((caller.is_admin, caller.system), (true, false));
    assert_eq!(caller.groups, ["choir", "band"]);
}

#[tokio::test]
async fn name_of_a_token_is_cut_at_200_characters() {
    let gateway = Gateway::start().await;
    for (claim, name) in [("Ü".repeat(200), "Ü".repeat(200)), ("名".repeat(3_000), "名".repeat(200))] {
        assert_eq!(status(&gateway, &with("name", claim)).await, 200, "{name}");
        assert_eq!(gateway.fake.last().caller.unwrap().name, name, "{name}");
    }
}

#[tokio::test]
async fn person_with_too_many_groups_to_cache_is_authenticated() {
    let gateway = Gateway::start().await;
    let groups: Vec<String> = (0..400).map(|number| format!("group {number}")).collect();
    let token = with("groups", groups.clone());
    for _ in 0..2 {
        assert_eq!(status(&gateway, &token).await, 200);
        assert_eq!(gateway.fake.last().caller.unwrap().groups, groups);
    }
}

#[tokio::test]
async fn invalid_tokens_are_401_and_reach_no_service() {
    let gateway = Gateway::start().await;
    let unsigned = |header: Value| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&header), part(&claims("ana")))
    };
    let mut critical = Header::new(Algorithm::HS256);
    critical.crit = Some(vec!["exp".into()]);
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let (another, good) = (EncodingKey::from_secret(&[7; 32]), token("ana"));
    for (case, token) in [
        ("another secret", sign_with(&Header::new(Algorithm::HS256), &claims("ana"), &another)),
        ("HS512 with our secret", sign_with(&Header::new(Algorithm::HS512), &claims("ana"), &secret)),
        ("alg none", unsigned(json!({"alg": "none", "typ": "JWT"}))),
        ("alg None", unsigned(json!({"alg": "None"}))),
        ("HS256 without a signature", unsigned(json!({"alg": "HS256"}))),
        ("a critical extension", sign_with(&critical, &claims("ana"), &secret)),
        ("a changed signature", format!("{}AAAA", &good[..good.len() - 4])),
        ("expired", with("exp", now() - 60)),
        ("no expiry", without("exp")),
        ("an expiry that is a text", with("exp", "tomorrow")),
        ("not yet valid", with("nbf", now() + 120)),
        ("a start that is a text", with("nbf", "now")),
        ("another issuer", with("iss", "https://evil.test/")),
        ("the issuer without its slash", with("iss", "https://id.test")),
        ("no issuer", without("iss")),
        ("another audience", with("aud", "another")),
        ("other audiences", with("aud", json!(["one", "two"]))),
        ("no audience", without("aud")),
        ("no subject", without("sub")),
        ("an empty subject", with("sub", "")),
        ("a subject of 201 bytes", with("sub", "x".repeat(201))),
        ("a subject that is a number", with("sub", 7)),
        ("a subject with a NUL", with("sub", "a\0b")),
        ("three dots", "a.b.c".into()),
        ("nothing", String::new()),
    ] {
        let (status, body) = answer(gateway.get(PATH).bearer_auth(token)).await;
        assert_eq!((status, &body["code"]), (401, &json!("unauthenticated")), "{case}: {body}");
        assert_eq!(body["error"], "Unauthorized", "{case}");
    }
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn missing_or_other_authorization_is_401() {
    let gateway = Gateway::start().await;
    for authorization in [None, Some("Basic YTpi"), Some("Bearer"), Some("bearer")] {
        let mut request = gateway.get(PATH);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        assert_eq!(answer(request).await.0, 401, "{authorization:?}");
    }
    let lower = gateway.get(PATH).header("authorization", format!("bearer {}", token("ana")));
    assert_eq!(answer(lower).await.0, 200, "the scheme ignores case");
}

#[tokio::test]
async fn valid_tokens_are_accepted_at_the_limits() {
    let gateway = Gateway::start().await;
    for (case, token) in [
        ("expired a moment ago", with("exp", now() - 10)),
        ("valid in a moment", with("nbf", now() + 10)),
        ("one audience of several", with("aud", json!(["another", AUDIENCE]))),
        ("a fractional expiry", with("exp", json!(f64::from(u32::MAX) + 0.5))),
        ("an expiry far beyond", with("exp", i64::MAX)),
        ("a subject of 200 bytes", with("sub", "x".repeat(200))),
        ("a name that is no text", with("name", json!({"first": "Ana"}))),
    ] {
        assert_eq!(status(&gateway, &token).await, 200, "{case}");
    }
}

#[tokio::test]
async fn token_times_are_verified_by_the_process_clock() {
    let (fast, slow) = (Gateway::off_by(60).await, Gateway::off_by(-60).await);
    let half_an_hour = token("ana");
    assert_eq!(status(&fast, &half_an_hour).await, 401, "it has expired there");
    assert_eq!(status(&slow, &half_an_hour).await, 200);
    assert_eq!(status(&slow, &with("nbf", now())).await, 401, "it is not valid there yet");
    assert_eq!(status(&fast, &with("exp", now() + 7200)).await, 200);
}

#[tokio::test]
async fn token_that_is_too_large_is_431_with_the_limit() {
    let gateway = Gateway::start().await;
    let groups = |bytes: usize| with("groups", vec!["g".repeat(bytes)]);
    let small = groups(8 * 1024);
    assert!(small.len() <= 12 * 1024);
    assert_eq!(status(&gateway, &small).await, 200);
    for bytes in [9 * 1024, 10 * 1024] {
        let large = groups(bytes);
        assert!((12 * 1024 + 1..15 * 1024).contains(&large.len()), "{}", large.len());
        let (status, reply) = answer(gateway.get(PATH).bearer_auth(&large)).await;
        assert_eq!((status, &reply["code"]), (431, &json!("token_too_large")), "{reply}");
        let message = reply["message"].as_str().unwrap();
        assert!(message.contains("12 KiB") && !message.contains("sign in again"), "{message}");
    }
}

#[tokio::test]
async fn token_times_out_of_range_are_verified() {
    let gateway = Gateway::start().await;
    let numbers =
        || [json!(i64::MIN), json!(i64::MAX), json!(u64::MAX), json!(1e300), json!(-1e300), json!(0)];
    for number in numbers() {
        let far = number.as_f64().unwrap() > 1e9;
        assert_eq!(
            status(&gateway, &with("exp", number.clone())).await,
            if far { 200 } else { 401 },
            "exp {number}"
        );
        assert_eq!(
            status(&gateway, &with("nbf", number.clone())).await,
            if far { 401 } else { 200 },
            "nbf {number}"
        );
        assert_eq!(status(&gateway, &with("iat", number.clone())).await, 200, "iat {number}");
    }
    for number in ["exp", "nbf"] {
        assert_eq!(status(&gateway, &with(number, "soon")).await, 401, "{number}");
    }
}

#[tokio::test]
async fn audience_none_accepts_only_tokens_without_aud() {
    let gateway = Gateway::with(checked(HttpArgs { auth_audience: Some("none".into()), ..args() })).await;
    assert_eq!(status(&gateway, &without("aud")).await, 200);
    for aud in [json!(AUDIENCE), json!("none"), json!(["none"]), json!([]), json!(""), json!(null)] {
        assert_eq!(status(&gateway, &with("aud", aud.clone())).await, 401, "{aud}");
    }
}

#[tokio::test]
async fn client_id_or_azp_is_the_configured_client() {
    for audience in ["none", AUDIENCE] {
        let args =
            HttpArgs { auth_audience: Some(audience.into()), oidc_client_id: Some("web".into()), ..args() };
        let gateway = Gateway::with(checked(args)).await;
        let token = |client: Value| {
            let mut claims = claims("ana");
            if audience == "none" {
                claims.as_object_mut().unwrap().remove("aud");
            }
            claims.as_object_mut().unwrap().extend(client.as_object().unwrap().clone());
            sign(&claims)
        };
        for (client, expected) in [
            (json!({"client_id": "web"}), 200),
            (json!({"azp": "web"}), 200),
            (json!({"azp": "another"}), 401),
            (json!({"client_id": "another"}), 401),
            (json!({"client_id": ["web"]}), 401),
            (json!({}), 401),
        ] {
            assert_eq!(status(&gateway, &token(client.clone())).await, expected, "{audience}: {client}");
        }
    }
}
