//! Whatever bytes come as a header: no panic, and nobody is believed.

use std::time::Duration;

use gateway::nostr::nip98::{Expected, Verified, verify};
use proptest::prelude::*;
use serde_json::json;

use super::{BASE, Signer, encode};

const NOW: u32 = 1_800_000_000;

fn judge(header: &[u8]) -> Option<Verified> {
    let (bases, uri) = ([BASE.parse().unwrap()], "/api/v1/nests".parse().unwrap());
    let window = Duration::from_mins(1);
    let expected = Expected { bases: &bases, method: "PUT", uri: &uri, now: NOW.into(), window };
    verify(header, &expected).ok()
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_pass(bytes in any::<Vec<u8>>(), scheme in any::<bool>(), encoded in any::<bool>()) {
        let mut header = if scheme { b"Nostr ".to_vec() } else { Vec::new() };
        if encoded {
            header.extend(encode(&String::from_utf8_lossy(&bytes)).bytes().skip(6));
        } else {
            header.extend(bytes);
        }
        prop_assert_eq!(judge(&header), None);
    }

    #[test]
    fn an_event_with_any_byte_changed_never_passes_as_another(at in any::<prop::sample::Index>(), byte: u8) {
        let signer = Signer::new(3);
        let tags = json!([["u", format!("{BASE}/api/v1/nests")], ["method", "PUT"]]);
        let event = signer.event(27235, NOW.into(), tags).to_string();
        let good = judge(encode(&event).as_bytes()).expect("a good one");
        let mut bytes = event.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        // White space and the case of hex digits may differ; what is read must not.
        if let Some(verified) = judge(encode(&String::from_utf8_lossy(&bytes)).as_bytes()) {
            prop_assert_eq!(verified, good);
        }
    }
}
