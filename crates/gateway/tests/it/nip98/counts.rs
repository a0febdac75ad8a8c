//! What requests count against: the key of a valid signature, or the address.

use gateway::HttpArgs;
use reqwest::Method;

use super::{BASE, Signer, gateway, nest};
use crate::support::{Gateway, answer, args, checked};

/// Otherwise a client that knows a header could use up the rate limit of its key.
#[tokio::test]
async fn wrong_body_counts_against_the_address_and_not_the_key() {
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
    assert_eq!(send("").await, 202, "the key still has its tokens");
}

#[tokio::test]
async fn valid_signatures_count_against_the_key_others_the_address() {
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
        assert_eq!(ask(signer, &nest()).await, 200, "each key joins");
    }
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) && statuses.len() < 50 {
        statuses.push(ask(&one, "/elsewhere").await);
    }
    assert!(
        statuses.len() < 50 && statuses[..statuses.len() - 1].iter().all(|status| *status == 401),
        "{statuses:?}"
    );
    assert_eq!(ask(&one, &nest()).await, 200, "the same address with a good signature");
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) && statuses.len() < 50 {
        statuses.push(ask(&one, &nest()).await);
    }
    assert!(
        statuses.len() < 50 && statuses[..statuses.len() - 1].iter().all(|status| *status == 200),
        "{statuses:?}"
    );
    assert_eq!(ask(&other, &nest()).await, 200, "another key");
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let metrics = chassis::telemetry::metrics();
    let gateway = gateway().await;
    assert_eq!(answer(gateway.get(&nest())).await.0, 401);
    assert_eq!(answer(gateway.get(&nest()).header("authorization", "Nostr {}")).await.0, 401);
    let rendered = metrics.render();
    for reason in ["nip98_missing", "nip98_base64"] {
        let line = format!("greenroom_sign_ins_refused_total{{reason=\"{reason}\"}}");
        assert!(rendered.contains(&line), "{line} is not in: {rendered}");
    }
}
