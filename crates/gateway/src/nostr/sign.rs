//! Writes the header that [`super::nip98`] verifies. For `greenroom nostr sign`, and for tests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nostr::{
    event::{EventBuilder, FinalizeEvent as _, Kind, Tag},
    types::Timestamp,
};
use sha2::{Digest as _, Sha256};

pub use nostr::{error::Error, key::Keys};

/// Returns the `Authorization` header of a request to `url`. If there is a body, its hash is signed too.
pub fn authorization(
    keys: &Keys,
    method: &str,
    url: &str,
    body: Option<&[u8]>,
    unix_seconds: u64,
) -> Result<String, Error> {
    let mut tags = vec![Tag::parse(["u", url])?, Tag::parse(["method", method])?];
    if let Some(body) = body {
        tags.push(Tag::parse(["payload", &hex::encode(Sha256::digest(body))])?);
    }
    let event = EventBuilder::new(Kind::HttpAuth, "")
        .tags(tags)
        .custom_created_at(Timestamp::from_secs(unix_seconds))
        .finalize(keys)?;
    Ok(format!("Nostr {}", STANDARD.encode(event.as_json())))
}
