//! NIP-98: which signatures the gateway accepts, over HTTP and by the function `verify`.

mod cases;
mod counts;
mod coverage;
mod headers;
mod properties;
mod vectors;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gateway::{
    HttpArgs,
    nostr::sign::{self, Keys},
};
use nostr::{
    event::{EventBuilder, FinalizeEvent as _, Kind, Tag},
    types::Timestamp,
};
use reqwest::Method;
use serde_json::Value;

use crate::{
    fakes::NEST,
    support::{Gateway, args, checked, now},
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

    /// Returns the header of a request that is signed now.
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

/// A gateway that clients reach at [`BASE`], and whose limits the tests do not reach.
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
