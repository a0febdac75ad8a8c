//! Arbitrary headers cause no panic and are refused.

use std::time::Duration;

use gateway::nostr::nip98::{Expected, Verified, verify};
use proptest::prelude::*;
use serde_json::json;

use super::{BASE, Signer, encode};

const NOW: u32 = 1_800_000_000;

fn accepted(header: &[u8]) -> Option<Verified> {
    let (bases, uri) = ([BASE.parse().unwrap()], "/api/v1/nests".parse().unwrap());
    let window = Duration::from_mins(1);
    let expected = Expected { bases: &bases, method: "PUT", uri: &uri, now: NOW.into(), window };
    verify(header, &expected).ok()
}

proptest! {
    #[test]
    fn arbitrary_headers_are_refused(bytes in any::<Vec<u8>>(), scheme in any::<bool>(), encoded in any::<bool>()) {
        let mut header = if scheme { b"Nostr ".to_vec() } else { Vec::new() };
        if encoded {
            header.extend(encode(&String::from_utf8_lossy(&bytes)).bytes().skip(6));
        } else {
            header.extend(bytes);
        }
        prop_assert_eq!(accepted(&header), None);
    }

    #[test]
    fn event_with_a_changed_byte_is_refused_or_the_same(at in any::<prop::sample::Index>(), byte: u8) {
        let signer = Signer::new(3);
        let tags = json!([["u", format!("{BASE}/api/v1/nests")], ["method", "PUT"]]);
        let event = signer.event(27235, NOW.into(), tags).to_string();
        let good = accepted(encode(&event).as_bytes()).expect("a valid header");
        let mut bytes = event.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        // A change of white space or of the case of hex digits may leave the parsed event equal.
        if let Some(verified) = accepted(encode(&String::from_utf8_lossy(&bytes)).as_bytes()) {
            prop_assert_eq!(verified, good);
        }
    }
}
