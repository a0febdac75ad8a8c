//! Self-signed certificates for DTLS, and the public key of the peer's certificate.
//!
//! No certificate is trusted by its content: str0m compares its SHA-256 fingerprint with the one in the SDP. So only the
//! key is read from it, and only keys that every WebRTC client creates are accepted: ECDSA on P-256.

#[cfg(test)]
mod tests;

use str0m::crypto::dtls::DtlsCert;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
/// `[0] EXPLICIT`, the version of an X.509 v3 certificate.
const VERSION: u8 = 0xa0;
/// OBJECT IDENTIFIER id-ecPublicKey, OBJECT IDENTIFIER prime256v1.
const EC_P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
/// An uncompressed point: 0x04, x, y.
const POINT_LEN: usize = 65;

#[derive(Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not the DER of an X.509 certificate.
    Malformed,
    /// A key that is not ECDSA on P-256.
    Unsupported,
}

/// Creates a P-256 key and a certificate for it. The serial number is random because Firefox refuses two certificates
/// with the same issuer and serial number.
pub fn generate() -> Option<DtlsCert> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).ok()?;
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).ok()?;
    params.serial_number = Some(rand::random::<[u8; 16]>().to_vec().into());
    let certificate = params.self_signed(&key).ok()?;
    Some(DtlsCert { certificate: certificate.der().to_vec(), private_key: key.serialize_der() })
}

/// Returns the point of the certificate's P-256 key.
pub fn p256_point(certificate: &[u8]) -> Result<&[u8], KeyError> {
    // By bytes: any other curve or algorithm differs here.
    let (algorithm, key) = subject_public_key(certificate).ok_or(KeyError::Malformed)?;
    if algorithm != EC_P256 {
        return Err(KeyError::Unsupported);
    }
    // The first byte of a bit string is its number of unused bits, which is 0 for whole bytes.
    match key.strip_prefix(&[0]) {
        Some(point) if point.len() == POINT_LEN && point[0] == 4 => Ok(point),
        _ => Err(KeyError::Malformed),
    }
}

/// Returns the contents of the algorithm and of the bit string of a certificate's `SubjectPublicKeyInfo` (RFC 5280 4.1).
fn subject_public_key(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    // Version 1 certificates have no version field.
    if let Some((_, after)) = element(fields, VERSION) {
        fields = after;
    }
    // Fields before the key are skipped whatever they contain: only the fingerprint is trusted.
    for _ in ["serial number", "signature", "issuer", "validity", "subject"] {
        fields = any_element(fields)?.2;
    }
    let (info, _) = element(fields, SEQUENCE)?;
    let (algorithm, after) = element(info, SEQUENCE)?;
    let (key, _) = element(after, BIT_STRING)?;
    Some((algorithm, key))
}

/// Splits off one DER element with this tag. Returns its content and the bytes after it.
fn element(der: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, after) = any_element(der)?;
    (tag == expected).then_some((content, after))
}

fn any_element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, der) = der.split_first()?;
    let (&first, der) = der.split_first()?;
    // Below 0x80 the byte is the length; otherwise its low bits say how many bytes of length follow.
    let (len, der) = if first < 0x80 {
        (usize::from(first), der)
    } else {
        let (len, der) = der.split_at_checked(usize::from(first & 0x7f))?;
        // Three bytes cover any certificate that fits into a DTLS handshake message.
        if len.is_empty() || len.len() > 3 {
            return None;
        }
        (len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), der)
    };
    let (content, after) = der.split_at_checked(len)?;
    Some((tag, content, after))
}
