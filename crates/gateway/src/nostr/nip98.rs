//! Verifies NIP-98: an `Authorization` header that is a signed Nostr event. Pure: no clock, no I/O, no state.
//!
//! The input is untrusted, so each check is cheaper than the next one, and the signature is the last check. A repeated
//! event is not detected here. If a request changes something, room-lifecycle carries its event out once, in the
//! transaction of the change (its replay.rs). <https://github.com/nostr-protocol/nips/blob/master/98.md>

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

/// Bytes of the whole header. Headers of usual clients have about 700 bytes.
pub const LONGEST_HEADER: usize = 8 * 1024;

/// Why a header is refused. The texts are label values of `greenroom_sign_ins_refused_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("nip98_missing")]
    Missing,
    /// A scheme other than `Nostr`, or several headers.
    #[error("nip98_scheme")]
    Scheme,
    #[error("nip98_size")]
    Size,
    #[error("nip98_base64")]
    Base64,
    /// Not an event: not JSON, or a field is missing or has the wrong type.
    #[error("nip98_json")]
    Json,
    #[error("nip98_kind")]
    Kind,
    #[error("nip98_time")]
    Time,
    /// A required tag is missing or empty, or occurs twice.
    #[error("nip98_tags")]
    Tags,
    #[error("nip98_url")]
    Url,
    #[error("nip98_method")]
    Method,
    /// The id or the signature is wrong.
    #[error("nip98_signature")]
    Signature,
    #[error("nip98_payload")]
    Payload,
    /// The body is not empty, and its hash was not signed.
    #[error("nip98_no_payload")]
    NoPayload,
    /// Not the caller's fault: the URLs of this gateway are not set.
    #[error("nip98_no_urls")]
    NoUrls,
}

/// The request that the header must match.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The base URLs at which clients reach this gateway.
    pub bases: &'a [Url],
    pub method: &'a str,
    /// The URI of the unchanged request.
    pub uri: &'a Uri,
    /// Unix seconds.
    pub now: i64,
    /// How much the clocks of the signer and of this process may differ, in either direction.
    pub window: Duration,
}

/// The signer of the request, and what the signature covers besides URL and method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// 64 lower-case hex digits.
    pub public_key: String,
    pub event_id: [u8; 32],
    /// SHA-256 of the body, as signed.
    pub payload: Option<[u8; 32]>,
}

/// Verifies the value of an `Authorization` header.
pub fn verify(header: &[u8], expected: &Expected<'_>) -> Result<Verified, Refused> {
    if header.len() > LONGEST_HEADER {
        return Err(Refused::Size);
    }
    // Compared without regard to case, as schemes are.
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
    // Both directions: an event from the future would be valid for longer than the window.
    if event.created_at.as_secs().abs_diff(now) > expected.window.as_secs() {
        return Err(Refused::Time);
    }
    let signed = tag(&event, "u")?.ok_or(Refused::Tags)?;
    let method = tag(&event, "method")?.ok_or(Refused::Tags)?;
    let payload = tag(&event, "payload")?;
    is_ours(signed, expected)?;
    // Methods are written in capitals, but the replaced API ignored case.
    if !method.eq_ignore_ascii_case(expected.method) {
        return Err(Refused::Method);
    }
    let payload = payload.map(|text| unhex(text).ok_or(Refused::Payload)).transpose()?;
    event.verify().map_err(|_| Refused::Signature)?;
    Ok(Verified { public_key: event.pubkey.to_hex(), event_id: event.id.to_bytes(), payload })
}

/// An event as NIP-01 defines it. The parser of the `nostr` crate accepts more: ids with trailing characters, `note1…`,
/// `npub1…`.
#[derive(Deserialize)]
struct RawEvent {
    id: String,
    pubkey: String,
    created_at: u64,
    kind: u16,
    tags: Vec<Vec<String>>,
    content: String,
    sig: String,
}

/// Parses an event strictly.
fn event(json: &[u8]) -> Result<Event, Refused> {
    // Without this check, serde would also accept an array of the fields' values.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refused::Json);
    }
    let raw: RawEvent = serde_json::from_slice(json).map_err(|_| Refused::Json)?;
    let tags = raw.tags.into_iter().map(Tag::parse).collect::<Result<Vec<_>, _>>();
    Ok(Event::new(
        EventId::from_byte_array(unhex(&raw.id).ok_or(Refused::Json)?),
        PublicKey::from_byte_array(unhex(&raw.pubkey).ok_or(Refused::Json)?),
        Timestamp::from_secs(raw.created_at),
        Kind::from(raw.kind),
        tags.map_err(|_| Refused::Json)?,
        raw.content,
        Signature::from_byte_array(unhex(&raw.sig).ok_or(Refused::Json)?),
    ))
}

/// Returns the value of a tag that may occur once.
fn tag<'a>(event: &'a Event, name: &str) -> Result<Option<&'a str>, Refused> {
    let mut tags = event.tags.iter().filter(|tag| tag.kind() == name);
    let Some(first) = tags.next() else { return Ok(None) };
    // With two tags, one program would read the first and another one the second.
    if tags.next().is_some() {
        return Err(Refused::Tags);
    }
    first.content().ok_or(Refused::Tags).map(Some)
}

/// Checks that host, port, path and query are those of the request. Behind a proxy, the scheme may differ.
fn is_ours(signed: &str, expected: &Expected<'_>) -> Result<(), Refused> {
    if expected.bases.is_empty() {
        return Err(Refused::NoUrls);
    }
    let signed = Url::parse(signed).map_err(|_| Refused::Url)?;
    // A user name, a password and a fragment are never part of a request, so a signature must not have them.
    let plain = matches!(signed.scheme(), "http" | "https")
        && signed.username().is_empty()
        && signed.password().is_none()
        && signed.fragment().is_none();
    let same_target = |base: &Url| {
        // A port of None is the default of the scheme; the schemes may differ.
        signed.host() == base.host()
            && signed.port() == base.port()
            && signed.path().strip_prefix(base.path().trim_end_matches('/')) == Some(expected.uri.path())
    };
    // Compared as written: decoding could make different URLs equal.
    if plain && signed.query() == expected.uri.query() && expected.bases.iter().any(same_target) {
        Ok(())
    } else {
        Err(Refused::Url)
    }
}

/// Parses exactly `N` bytes, each as two hex digits.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}
