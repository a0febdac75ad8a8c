//! A valid event with some changes: bytes of its JSON, or tags before it is signed. Every accepted event was signed by the
//! key that it names, for this request and this time.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use arbitrary::Arbitrary;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;
use nip98::{Expected, Verified, verify};
use nostr::{
    event::{EventBuilder, FinalizeEvent as _, Kind, Tag},
    key::Keys,
    types::Timestamp,
};

#[path = "../../crates/gateway/src/nostr/nip98.rs"]
mod nip98;

const URL: &str = "https://nests.example.org/api/v1/nests?a=1";
const NOW: i64 = 1_800_000_000;

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::parse(&"07".repeat(32)).expect("a secret key"));
static GOOD: LazyLock<String> = LazyLock::new(|| {
    let tags = [tag(&["u", URL]), tag(&["method", "PUT"])];
    sign(Kind::HttpAuth, NOW.unsigned_abs(), tags.into_iter().flatten())
});

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    /// Bytes that are overwritten, inserted into, or removed from the valid event.
    Text(Vec<(u16, Edit<'a>)>),
    /// An event signed as it is.
    Signed { kind: Option<u16>, at: Option<u64>, tags: Vec<Field<'a>> },
}

#[derive(Arbitrary, Debug)]
enum Edit<'a> {
    Write(u8),
    Insert(&'a str),
    Cut(u8),
}

#[derive(Arbitrary, Debug)]
enum Field<'a> {
    GoodUrl,
    GoodMethod,
    Url(&'a str),
    Path(&'a str),
    Method(&'a str),
    Payload(&'a str),
    Other(Vec<&'a str>),
}

fn tag(values: &[&str]) -> Option<Tag> {
    Tag::parse(values.iter().copied()).ok()
}

fn sign(kind: Kind, at: u64, tags: impl Iterator<Item = Tag>) -> String {
    let event = EventBuilder::new(kind, "").tags(tags).custom_created_at(Timestamp::from_secs(at));
    event.finalize(&*KEYS).expect("an event").as_json()
}

impl Field<'_> {
    fn tag(&self) -> Option<Tag> {
        match self {
            Self::GoodUrl => tag(&["u", URL]),
            Self::GoodMethod => tag(&["method", "PUT"]),
            Self::Url(url) => tag(&["u", url]),
            Self::Path(path) => tag(&["u", &format!("https://nests.example.org{path}")]),
            Self::Method(method) => tag(&["method", method]),
            Self::Payload(payload) => tag(&["payload", payload]),
            Self::Other(values) => tag(values),
        }
    }
}

fn authenticate(json: &[u8]) -> Option<Verified> {
    let (bases, uri) = (["https://nests.example.org".parse().expect("a URL")], "/api/v1/nests?a=1".parse());
    let window = Duration::from_secs(60);
    let expected = Expected { bases: &bases, method: "PUT", uri: &uri.expect("a URI"), now: NOW, window };
    verify(format!("Nostr {}", STANDARD.encode(json)).as_bytes(), &expected).ok()
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Text(edits) => {
        let mut json = GOOD.clone().into_bytes();
        for (at, edit) in edits {
            let at = usize::from(at) % json.len().max(1);
            match edit {
                Edit::Write(byte) if at < json.len() => json[at] = byte,
                Edit::Write(byte) => json.push(byte),
                Edit::Insert(text) => drop(json.splice(at..at, text.bytes())),
                Edit::Cut(length) => drop(json.drain(at..(at + usize::from(length)).min(json.len()))),
            }
        }
        // White space may change; the signer and the signed content may not.
        assert!(authenticate(&json).is_none_or(|verified| Some(verified) == authenticate(GOOD.as_bytes())));
    }
    Input::Signed { kind, at, tags } => {
        let known = kind.map_or(Kind::HttpAuth, Kind::from);
        let at = at.unwrap_or(NOW.unsigned_abs());
        let json = sign(known, at, tags.iter().filter_map(Field::tag));
        if let Some(verified) = authenticate(json.as_bytes()) {
            assert_eq!(verified.public_key, KEYS.public_key().to_hex());
            assert_eq!(known, Kind::HttpAuth);
            assert!(at.abs_diff(NOW.unsigned_abs()) <= 60);
            let named = |name| tags.iter().filter_map(Field::tag).filter(|tag| tag.kind() == name).count();
            assert_eq!((named("u"), named("method"), named("payload") < 2), (1, 1, true));
        }
    }
});
