//! Ingress and SIP, which need Redis.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    reasons::HAS_REDIS,
    target::Target,
    tokens::{claims, sign},
};

async fn call(target: &Target, service: &str, method: &str) -> (StatusCode, Value) {
    let mut claims = claims(&target.key, "", &json!({"ingressAdmin": true}));
    claims["sip"] = json!({"admin": true, "call": true});
    target.call_with(&sign(&target.secret, &claims), service, method, &json!({})).await
}

#[tokio::test]
async fn ingress_and_sip_need_redis() {
    let target = Target::start().await;
    for (service, method, what) in [
        ("Ingress", "CreateIngress", "ingress"),
        ("Ingress", "ListIngress", "ingress"),
        ("SIP", "ListSIPInboundTrunk", "sip"),
        ("SIP", "CreateSIPParticipant", "sip"),
    ] {
        let (status, error) = call(&target, service, method).await;
        if !target.is_dev() && status != StatusCode::INTERNAL_SERVER_ERROR {
            println!("skipped: {HAS_REDIS}");
            return;
        }
        assert_eq!(
            (status, &error["code"]),
            (StatusCode::INTERNAL_SERVER_ERROR, &json!("internal")),
            "{service}/{method}"
        );
        assert_eq!(
            error["msg"],
            format!("twirp error unknown: {what} not connected (redis required)"),
            "{service}/{method}"
        );
    }
}

#[tokio::test]
async fn ingress_and_sip_have_their_own_grants() {
    let target = Target::start().await;
    let everything = json!({"roomAdmin": true, "roomCreate": true, "roomList": true, "roomRecord": true});
    for (service, method) in [
        ("Ingress", "ListIngress"),
        ("Ingress", "DeleteIngress"),
        ("SIP", "ListSIPTrunk"),
        ("SIP", "CreateSIPParticipant"),
    ] {
        let (status, error) = target.call(service, method, &everything, &json!({})).await;
        assert_eq!(
            (status, &error["msg"]),
            (StatusCode::UNAUTHORIZED, &json!("permissions denied")),
            "{service}/{method}"
        );
    }
}

#[tokio::test]
async fn services_without_a_method_are_a_bad_route() {
    let target = Target::start().await;
    for service in ["Ingress", "SIP", "AgentDispatchService", "Egress"] {
        let (status, error) = call(&target, service, "Nonsense").await;
        assert_eq!((status, &error["code"]), (StatusCode::NOT_FOUND, &json!("bad_route")), "{service}");
    }
}
