use domain::NestId;

use super::*;

const HOST: &str = "3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d";

/// The address has no relays.
#[test]
fn address_holds_identifier_author_and_kind() {
    let nest: NestId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
    for (kind, number) in [(EventKind::InteractiveRoom, 30_312), (EventKind::LiveEvent, 30_311)] {
        let address = encode(nest, HOST, kind).unwrap();
        assert!(address.starts_with("naddr1"), "{address}");
        let found = Nip19Coordinate::from_bech32(&address).unwrap();
        assert_eq!(found.coordinate.identifier, nest.to_string(), "{kind:?}");
        assert_eq!(found.coordinate.public_key.to_hex(), HOST, "{kind:?}");
        assert_eq!(found.coordinate.kind.as_u16(), number, "{kind:?}");
        assert!(found.relays.is_empty(), "{kind:?}");
        assert_eq!(decode(&address), Some(nest), "{kind:?}");
    }
}

#[test]
fn decode_returns_none_when_not_an_address_of_a_nest() {
    let other = Coordinate::new(Kind::from_u16(30_312), PublicKey::from_hex(HOST).unwrap());
    let other = other.identifier("kitchen").to_bech32().unwrap();
    for address in ["", "naddr1", "naddr1qqqqqq", &other, HOST, "67e55044-10b1-426f-9247-bb680e5fe0c8"] {
        assert_eq!(decode(address), None, "{address}");
    }
    assert!(encode(NestId::default(), "host", EventKind::default()).is_err());
}
