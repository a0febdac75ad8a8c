//! Any header, method and path: no panic, and no request is authenticated, because none has a valid signature.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;

// The gateway's own file; building the whole gateway would take minutes and add nothing.
#[path = "../../crates/gateway/src/nostr/nip98.rs"]
mod nip98;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    method: &'a str,
    uri: &'a str,
    now: i64,
    window: u8,
    /// Written as it is, or as the base64 after `Nostr `.
    encode: bool,
    header: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let Ok(uri) = input.uri.parse() else { return };
    let bases = ["https://nests.example.org", "http://127.0.0.1:8080/behind"];
    let bases = bases.map(|base| base.parse().expect("a URL"));
    let window = Duration::from_secs(input.window.into());
    let expected = nip98::Expected { bases: &bases, method: input.method, uri: &uri, now: input.now, window };
    let header = if input.encode {
        format!("Nostr {}", STANDARD.encode(input.header)).into_bytes()
    } else {
        input.header.to_vec()
    };
    assert!(nip98::verify(&header, &expected).is_err());
});
