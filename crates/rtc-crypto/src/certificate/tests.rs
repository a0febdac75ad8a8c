use super::{KeyError, SEQUENCE, VERSION, any_element, element, generate, p256_point};

#[test]
fn key_of_a_generated_certificate_is_found() {
    let ours = generate().unwrap();
    let key = rcgen::KeyPair::try_from(ours.private_key.as_slice()).unwrap();
    assert_eq!(p256_point(&ours.certificate).unwrap(), rcgen::PublicKeyData::der_bytes(&key));
}

#[test]
fn two_certificates_differ_in_serial_number() {
    let serial = |certificate: &[u8]| {
        let (certificate, _) = element(certificate, SEQUENCE).unwrap();
        let (fields, _) = element(certificate, SEQUENCE).unwrap();
        let (_, fields) = element(fields, VERSION).unwrap();
        any_element(fields).unwrap().1.to_vec()
    };
    let (one, two) = (generate().unwrap(), generate().unwrap());
    assert_ne!(serial(&one.certificate), serial(&two.certificate));
}

#[test]
fn key_that_is_not_p256_is_refused() {
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        assert_eq!(p256_point(certificate.der()), Err(KeyError::Unsupported), "{algorithm:?}");
    }
}

/// For every truncation and every changed byte: a key or an error, never a panic.
#[test]
fn broken_certificates_are_refused_without_a_panic() {
    let certificate = generate().unwrap().certificate;
    for len in 0..certificate.len() / 2 {
        assert_eq!(p256_point(&certificate[..len]), Err(KeyError::Malformed), "{len} bytes");
    }
    for at in 0..certificate.len() {
        for value in [0, 0x7f, 0x80, 0x84, 0xff] {
            let mut broken = certificate.clone();
            broken[at] = value;
            let _ = p256_point(&broken);
        }
    }
}
