//! Published test vectors of every primitive that str0m uses. dimpl checks its own at the start of each connection
//! (`pair.rs`).

use str0m::crypto::{CryptoProvider, SrtpProvider};

fn provider() -> CryptoProvider {
    rtc_crypto::provider()
}

fn srtp() -> &'static dyn SrtpProvider {
    provider().srtp_provider
}

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

/// FIPS 180-4 examples.
#[test]
fn sha1_and_sha256_match_fips_180() {
    let text = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    assert_eq!(provider().sha1_provider.sha1(b"abc"), array("a9993e364706816aba3e25717850c26c9cd0d89d"));
    assert_eq!(provider().sha1_provider.sha1(text), array("84983e441c3bd26ebaae4aa1f95129e5e54670f1"));
    assert_eq!(
        provider().sha256_provider.sha256(text),
        array("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
    );
}

/// RFC 2202, cases 2, 3 and 7 (a key longer than a block, in two payloads).
#[test]
fn hmac_sha1_matches_rfc_2202() {
    let hmac = |key: &[u8], payloads: &[&[u8]]| provider().sha1_hmac_provider.sha1_hmac(key, payloads);
    assert_eq!(
        hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]),
        array("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
    );
    assert_eq!(hmac(&[0xaa; 20], &[&[0xdd; 50]]), array("125d7342b9ac11cd91a39af48aa17b4f63f175d3"));
    assert_eq!(
        hmac(
            &[0xaa; 80],
            &[b"Test Using Larger Than Block-Size Key and Larger ", b"Than One Block-Size Data"]
        ),
        array("e8e99d0f45237d786d6bbaa7965c7808bbff1a91")
    );
}

/// RFC 3711 B.2: the keystream for blocks 0, 1 and 2.
#[test]
fn aes_counter_mode_matches_rfc_3711() {
    let key = array("2b7e151628aed2a6abf7158809cf4f3c");
    let iv = array("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000");
    let keystream = hex(
        "e03ead0935c95e80e166b16dd92b4eb4 d23513162b02d0f72a43a2fe4a5f97ab 41e95b3bb0a2e8dd477901e4fca894c0",
    );
    let mut cipher = srtp().aes_128_cm_sha1_80().create_cipher(key, true);
    // str0m's buffers are longer than the input.
    let mut output = [0; 63];
    cipher.encrypt(&iv, &[0; 48], &mut output).unwrap();
    assert_eq!(output[..48], keystream);
    assert_eq!(output[48..], [0; 15]);
    let mut plain = [0; 48];
    cipher.decrypt(&iv, &output[..48], &mut plain).unwrap();
    assert_eq!(plain, [0; 48]);
}

/// RFC 3711 B.3: cipher key, salt and authentication key of AES-128.
#[test]
fn srtp_key_derivation_matches_rfc_3711() {
    let master = hex("e1f97a0d3e018be0d64fa32c06de4139");
    let derived = |input: &str| {
        let mut output = [0; 16];
        srtp().srtp_aes_128_ecb_round(&master, &hex(input), &mut output);
        output
    };
    assert_eq!(derived("0ec675ad498afeebb6960b3aabe60000"), array("c61e7a93744f39ee10734afe3ff7a087"));
    assert_eq!(derived("0ec675ad498afee9b6960b3aabe60000")[..14], hex("30cbbc08863d8c85d49db34a9ae1"));
    assert_eq!(derived("0ec675ad498afeeab6960b3aabe60000"), array("cebe321f6ff7716b6fd4ab49af256a15"));
    assert_eq!(derived("0ec675ad498afeeab6960b3aabe60001"), array("6d38baa48f0a0acf3c34e2359e6cdbce"));
}

/// RFC 6188 7.2: the cipher key of AES-256.
#[test]
fn srtp_key_derivation_matches_rfc_6188() {
    let master = hex("f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6");
    // Longer than a block, as in str0m.
    let mut output = [0; 32];
    let mut derived = |input: &str| {
        srtp().srtp_aes_256_ecb_round(&master, &hex(input), &mut output);
        output[..16].to_vec()
    };
    assert_eq!(derived("3b04803de51ee7c96423ab5b78d20000"), hex("5ba1064e30ec51613cad926c5a28ef73"));
    assert_eq!(derived("3b04803de51ee7c96423ab5b78d20001"), hex("1ec7fb397f70a960653caf06554cd8c4"));
}

/// The packet of RFC 7714 16: its AAD is the RTP header.
const IV: &str = "51753c6580c2726f20718414";
const AAD: &str = "8040f17b8041f8d35501a0b2";
const PLAIN: &[u8] = b"Gallia est omnis divisa in partes tres";

/// RFC 7714 16.1.1.
#[test]
fn aes_128_gcm_matches_rfc_7714() {
    let mut cipher = srtp().aead_aes_128_gcm().create_cipher(array("000102030405060708090a0b0c0d0e0f"), true);
    let sealed = hex("f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d\
                      7f27beb16a9152cf765ee4390cce");
    let mut output = [0; 54];
    cipher.encrypt(&array(IV), &hex(AAD), PLAIN, &mut output).unwrap();
    assert_eq!(output[..], sealed);
    let mut plain = [0; 38];
    let len = cipher.decrypt(&array(IV), &[&hex(AAD)], &sealed, &mut plain).unwrap();
    assert_eq!(plain[..len], *PLAIN);
}

/// RFC 7714 16.2.1.
#[test]
fn aes_256_gcm_matches_rfc_7714() {
    let key = array("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let mut cipher = srtp().aead_aes_256_gcm().create_cipher(key, true);
    let sealed = hex("32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3\
                      db36dfffd6b0f9bb7878d7a76c13");
    let mut output = [0; 54];
    cipher.encrypt(&array(IV), &hex(AAD), PLAIN, &mut output).unwrap();
    assert_eq!(output[..], sealed);
    let mut plain = [0; 38];
    // SRTCP has its AAD in two parts.
    let aad = hex(AAD);
    let len = cipher.decrypt(&array(IV), &[&aad[..8], &aad[8..]], &sealed, &mut plain).unwrap();
    assert_eq!(plain[..len], *PLAIN);
}

#[test]
fn changed_or_short_gcm_packet_is_refused() {
    let mut cipher = srtp().aead_aes_128_gcm().create_cipher([1; 16], false);
    let mut sealed = [0; 20];
    cipher.encrypt(&[2; 12], b"header", b"text", &mut sealed).unwrap();
    let mut plain = [0; 4];
    assert!(cipher.decrypt(&[2; 12], &[b"header"], &sealed, &mut plain).is_ok());
    assert!(cipher.decrypt(&[2; 12], &[b"heade_"], &sealed, &mut plain).is_err());
    assert!(cipher.decrypt(&[2; 12], &[b"header"], &sealed[..15], &mut plain).is_err());
    assert!(cipher.decrypt(&[2; 12], &[b"header"], &sealed, &mut [0; 3]).is_err());
    sealed[0] ^= 1;
    assert!(cipher.decrypt(&[2; 12], &[b"header"], &sealed, &mut plain).is_err());
}
