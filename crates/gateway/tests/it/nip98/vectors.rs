//! Headers signed by nostr-tools, an independent implementation (`tests/vectors/make.mjs`).

use reqwest::Method;
use serde::Deserialize;

use super::BASE;
use crate::{
    fakes::NEST,
    support::{Gateway, answer, args, checked, now},
};
use chassis::clock::Clock;
use gateway::HttpArgs;

#[derive(Deserialize)]
struct Vector {
    public_key: String,
    method: String,
    url: String,
    body: Option<String>,
    created_at: i64,
    authorization: String,
}

#[tokio::test]
async fn signatures_of_nostr_tools_are_accepted() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../vectors/nip98.json")).unwrap();
    assert!(vectors.len() >= 8);
    for vector in vectors {
        let (base, path) = vector.url.split_at(vector.url.find("/api").unwrap());
        let mut config =
            checked(HttpArgs { api_url: Some(BASE.into()), public_urls: Some(base.into()), ..args() });
        config.auth.clock = Clock::off_by(time::Duration::seconds(vector.created_at - now()));
        let gateway = Gateway::with(config).await;
        let method = Method::from_bytes(vector.method.as_bytes()).unwrap();
        let ask = async |body: Option<String>| {
            let request =
                gateway.request(method.clone(), path).header("authorization", &vector.authorization);
            let request = request.header("content-type", "application/json");
            answer(request.body(body.unwrap_or_default())).await
        };
        let shown = format!("{} {}", vector.method, vector.url);
        if let Some(body) = &vector.body {
            let (status, reply) = ask(Some(format!("{body} "))).await;
            assert_eq!(status, 401, "{shown} with another body: {reply}");
        }
        let (status, reply) = ask(vector.body.clone()).await;
        assert!((200..300).contains(&status), "{shown}: {status} {reply}");
        let caller = gateway.fake.last().caller.unwrap();
        assert_eq!(caller.user_id, vector.public_key, "{shown}");
        assert!(path.contains(NEST) || path.trim_end_matches('/') == "/api/v1/nests", "{shown}");
    }
}
