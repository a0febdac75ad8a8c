//! Parses what users paste when they cannot join: an id, a LiveKit room name, the link of a meeting, or an naddr. Pure.
//! Any other text is not a reference, and never an error.

use domain::{NestId, SessionId};
use nostr::nips::nip19::{FromBech32, Nip19Coordinate};
use uuid::Uuid;

use super::policy::LONGEST_REFERENCE;

/// NIP-53's kinds of a room: the default of `NESTS_EVENT_KIND`, and the other one.
const NEST_KINDS: [u16; 2] = [30_312, 30_311];
/// The prefixes of our LiveKit room names (`domain::Owner::room_name`).
const NAMES: [&str; 3] = ["session-", "live-", "nest-"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// An id of any kind. Only the database knows the kind.
    Id(Uuid),
    /// A room on LiveKit, of any generation.
    RoomName(String),
    Meeting(SessionId),
    Nest(NestId),
}

/// Parses a reference. `None`: the text is not one.
#[must_use]
pub fn parse(text: &str) -> Option<Reference> {
    let text = text.trim();
    if text.len() > LONGEST_REFERENCE {
        return None;
    }
    if let Ok(id) = text.parse() {
        return Some(Reference::Id(id));
    }
    if text.contains("://") {
        return meeting(text);
    }
    let naddr = text.strip_prefix("nostr:").unwrap_or(text);
    if naddr.starts_with("naddr1") {
        return nest(naddr);
    }
    let is_name = NAMES.iter().any(|start| text.starts_with(start));
    (is_name && !text.contains('\0')).then(|| Reference::RoomName(text.to_owned()))
}

/// Any URL whose path ends in `/meeting/{id}`: each product chooses its own host and prefix.
fn meeting(url: &str) -> Option<Reference> {
    let path = url.split(['?', '#']).next()?.trim_end_matches('/');
    let (before, id) = path.rsplit_once('/')?;
    let id = before.ends_with("/meeting").then_some(id)?;
    id.parse().map(Reference::Meeting).ok()
}

/// A NIP-19 address whose identifier is the nest's id.
fn nest(naddr: &str) -> Option<Reference> {
    let address = Nip19Coordinate::from_bech32(naddr).ok()?.coordinate;
    NEST_KINDS.contains(&address.kind.as_u16()).then_some(())?;
    address.identifier.parse().map(Reference::Nest).ok()
}

#[cfg(test)]
mod tests {
    use nostr::{
        event::Kind,
        key::PublicKey,
        nips::{nip01::Coordinate, nip19::ToBech32},
    };
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e01";

    fn naddr(kind: u16, identifier: &str) -> String {
        let author = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let coordinate =
            Coordinate::new(Kind::from(kind), PublicKey::parse(author).unwrap()).identifier(identifier);
        Nip19Coordinate { coordinate, relays: Vec::new() }.to_bech32().unwrap()
    }

    #[test]
    fn parse_accepts_every_form_of_reference() {
        let id: Uuid = ID.parse().unwrap();
        assert_eq!(parse(&format!(" {ID}\n")), Some(Reference::Id(id)));
        for url in ["https://app.example.org/meeting/", "http://x/en/meeting/"] {
            for end in ["", "/", "?tab=1", "#now"] {
                assert_eq!(
                    parse(&format!("{url}{ID}{end}")),
                    Some(Reference::Meeting(SessionId(id))),
                    "{url} {end}"
                );
            }
        }
        for name in [format!("session-{ID}"), format!("live-{ID}-g3"), format!("nest-{ID}")] {
            assert_eq!(parse(&name), Some(Reference::RoomName(name.clone())));
        }
        for kind in NEST_KINDS {
            assert_eq!(parse(&naddr(kind, ID)), Some(Reference::Nest(NestId(id))));
            assert_eq!(parse(&format!("nostr:{}", naddr(kind, ID))), Some(Reference::Nest(NestId(id))));
        }
    }

    #[test]
    fn parse_returns_none_for_other_texts() {
        let long = format!("https://x/{}/meeting/{ID}", "y".repeat(LONGEST_REFERENCE));
        let wrong = [
            "",
            " ",
            "room",
            "https://app.example.org/meeting/",
            "https://x/meetings/x",
            "://",
            "naddr1qqqq",
            "https://x/booking/0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e01",
            "session-\0",
            &long,
            &naddr(30_023, ID),
            &naddr(30_312, "not an id"),
        ];
        for text in wrong {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in ".{0,300}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for start in ["", "naddr1", "nostr:naddr1", "https://x/meeting/", "session-"] {
                let _ = parse(&format!("{start}{text}"));
                let _ = parse(&format!("{start}{}", String::from_utf8_lossy(&bytes)));
            }
        }
    }
}
