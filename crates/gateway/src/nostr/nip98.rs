//! NIP-98: an `Authorization` header that is a signed Nostr event, verified. Pure: no clock, no I/O, no state.
//!
//! What comes in is from strangers, so each check is cheaper than the one after it, and the signature comes last. The
//! same event again is not noticed here: for what changes something, room-lifecycle takes it once, in the transaction
//! of the effect. <https://github.com/nostr-protocol/nips/blob/master/98.md>

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Uri;
use nostr::{
    event::{Event, EventId, Kind, Signature, Tag},
    key::PublicKey,
    types::Timestamp,
};
use serde::Deserialize;
use url::Url;

/// The whole header; those of honest clients have about 700 bytes.
pub const LONGEST_HEADER: usize = 8 * 1024;

/// Why a header proves nothing. The words are those of `greenroom_sign_ins_refused_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("nip98_missing")]
    Missing,
    /// Another scheme than `Nostr`, or several headers.
    #[error("nip98_scheme")]
    Scheme,
    #[error("nip98_size")]
    Size,
    #[error("nip98_base64")]
    Base64,
    /// No event: not JSON, or a field is missing or of the wrong type.
    #[error("nip98_json")]
    Json,
    #[error("nip98_kind")]
    Kind,
    #[error("nip98_time")]
    Time,
    /// A tag that counts is missing, empty or there twice.
    #[error("nip98_tags")]
    Tags,
    #[error("nip98_url")]
    Url,
    #[error("nip98_method")]
    Method,
    /// Of the id or the signature.
    #[error("nip98_signature")]
    Signature,
    #[error("nip98_payload")]
    Payload,
    /// The body is not empty, and its hash was not signed.
    #[error("nip98_no_payload")]
    NoPayload,
    /// Not the caller's fault: nobody has said what our URLs are.
    #[error("nip98_no_urls")]
    NoUrls,
}

/// What the header is held against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// As clients reach us.
    pub bases: &'a [Url],
    pub method: &'a str,
    /// Of the request as it came.
    pub uri: &'a Uri,
    /// Unix seconds.
    pub now: i64,
    /// How far the signer's clock and ours may be apart, either way.
    pub window: Duration,
}

/// Who signed the request, and what else he signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// 64 lower-case hex digits.
    pub public_key: String,
    pub event_id: [u8; 32],
    /// SHA-256 of the body that the signer has sent.
    pub payload: Option<[u8; 32]>,
}

/// Verifies the value of an `Authorization` header.
pub fn verify(header: &[u8], expected: &Expected<'_>) -> Result<Verified, Refused> {
    if header.len() > LONGEST_HEADER {
        return Err(Refused::Size);
    }
    let (scheme, encoded) = header.split_at_checked(6).ok_or(Refused::Scheme)?;
    if !scheme.eq_ignore_ascii_case(b"nostr ") {
        return Err(Refused::Scheme);
    }
    let json = STANDARD.decode(encoded.trim_ascii()).map_err(|_| Refused::Base64)?;
    let event = event(&json)?;
    if event.kind != Kind::HttpAuth {
        return Err(Refused::Kind);
    }
    let now = u64::try_from(expected.now).map_err(|_| Refused::Time)?;
    if event.created_at.as_secs().abs_diff(now) > expected.window.as_secs() {
        return Err(Refused::Time);
    }
    let signed = tag(&event, "u")?.ok_or(Refused::Tags)?;
    let method = tag(&event, "method")?.ok_or(Refused::Tags)?;
    let payload = tag(&event, "payload")?;
    is_ours(signed, expected)?;
    // Methods are written in capitals, but the original API did not mind.
    if !method.eq_ignore_ascii_case(expected.method) {
        return Err(Refused::Method);
    }
    let payload = payload.map(|text| unhex(text).ok_or(Refused::Payload)).transpose()?;
    event.verify().map_err(|_| Refused::Signature)?;
    Ok(Verified { public_key: event.pubkey.to_hex(), event_id: event.id.to_bytes(), payload })
}

/// An event as NIP-01 writes it. The crate's own reader takes more: ids with something behind them, `note1…`, `npub1…`.
#[derive(Deserialize)]
struct Written {
    id: String,
    pubkey: String,
    created_at: u64,
    kind: u16,
    tags: Vec<Vec<String>>,
    content: String,
    sig: String,
}

fn event(json: &[u8]) -> Result<Event, Refused> {
    // Without the brace serde would read an array of the fields' values, too.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refused::Json);
    }
    let written: Written = serde_json::from_slice(json).map_err(|_| Refused::Json)?;
    let tags = written.tags.into_iter().map(Tag::parse).collect::<Result<Vec<_>, _>>();
    Ok(Event::new(
        EventId::from_byte_array(unhex(&written.id).ok_or(Refused::Json)?),
        PublicKey::from_byte_array(unhex(&written.pubkey).ok_or(Refused::Json)?),
        Timestamp::from_secs(written.created_at),
        Kind::from(written.kind),
        tags.map_err(|_| Refused::Json)?,
        written.content,
        Signature::from_byte_array(unhex(&written.sig).ok_or(Refused::Json)?),
    ))
}

/// The value of a tag that may be there once.
fn tag<'a>(event: &'a Event, name: &str) -> Result<Option<&'a str>, Refused> {
    let mut tags = event.tags.iter().filter(|tag| tag.kind() == name);
    let Some(first) = tags.next() else { return Ok(None) };
    if tags.next().is_some() {
        return Err(Refused::Tags);
    }
    first.content().ok_or(Refused::Tags).map(Some)
}

/// Host, port, path and query must be those of the request; behind a proxy the scheme may differ.
fn is_ours(signed: &str, expected: &Expected<'_>) -> Result<(), Refused> {
    if expected.bases.is_empty() {
        return Err(Refused::NoUrls);
    }
    let signed = Url::parse(signed).map_err(|_| Refused::Url)?;
    let plain = matches!(signed.scheme(), "http" | "https")
        && signed.username().is_empty()
        && signed.password().is_none()
        && signed.fragment().is_none();
    let same_place = |base: &Url| {
        // None: the default of its scheme, whichever that is.
        signed.host() == base.host()
            && signed.port() == base.port()
            && signed.path().strip_prefix(base.path().trim_end_matches('/')) == Some(expected.uri.path())
    };
    if plain && signed.query() == expected.uri.query() && expected.bases.iter().any(same_place) {
        Ok(())
    } else {
        Err(Refused::Url)
    }
}

/// Exactly `N` bytes, each as two hex digits.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}
