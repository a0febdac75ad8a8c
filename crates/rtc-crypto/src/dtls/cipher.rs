//! The cipher suite of DTLS: ECDHE-ECDSA with AES-128-GCM and SHA-256.

use aes::cipher::{BlockEncrypt, KeyInit};
use dimpl::crypto::{
    Aad, Buf, Cipher, Dtls12CipherSuite, Dtls13CipherSuite, HashAlgorithm, Nonce, SupportedDtls12CipherSuite,
    SupportedDtls13CipherSuite, TmpBuf,
};
use dimpl::{CryptoError, CryptoOperation};
use ring::aead;

const KEY_LEN: usize = 16;
const TAG_LEN: usize = 16;

#[derive(Debug)]
pub struct Aes128GcmSha256;

impl SupportedDtls12CipherSuite for Aes128GcmSha256 {
    fn suite(&self) -> Dtls12CipherSuite {
        Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    /// No MAC key, the key, and the implicit part of the nonce (RFC 5288).
    fn key_lengths(&self) -> (usize, usize, usize) {
        (0, KEY_LEN, 4)
    }

    fn explicit_nonce_len(&self) -> usize {
        8
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        gcm(key)
    }
}

impl SupportedDtls13CipherSuite for Aes128GcmSha256 {
    fn suite(&self) -> Dtls13CipherSuite {
        Dtls13CipherSuite::AES_128_GCM_SHA256
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    fn key_len(&self) -> usize {
        KEY_LEN
    }

    fn iv_len(&self) -> usize {
        12
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        gcm(key)
    }

    #[expect(clippy::expect_used, reason = "dimpl derives this key with `key_len` above")]
    fn encrypt_sn(&self, key: &[u8], sample: &[u8; 16]) -> [u8; 16] {
        let mut block = (*sample).into();
        aes::Aes128::new_from_slice(key).expect("record number key has 16 bytes").encrypt_block(&mut block);
        block.into()
    }
}

fn gcm(key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
    let key = aead::UnboundKey::new(&aead::AES_128_GCM, key)
        .map_err(|_| CryptoError::OperationFailed(CryptoOperation::CreateCipher))?;
    Ok(Box::new(Gcm(aead::LessSafeKey::new(key))))
}

#[derive(Debug)]
struct Gcm(aead::LessSafeKey);

impl Cipher for Gcm {
    fn encrypt(&mut self, text: &mut Buf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        self.0
            .seal_in_place_append_tag(
                // dimpl gives each record a nonce of its own.
                aead::Nonce::assume_unique_for_key(nonce.0),
                aead::Aad::from(&aad[..]),
                text,
            )
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::Encrypt))
    }

    fn decrypt(&mut self, text: &mut TmpBuf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        let len = self
            .0
            .open_in_place(
                aead::Nonce::assume_unique_for_key(nonce.0),
                aead::Aad::from(&aad[..]),
                text.as_mut(),
            )
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::Decrypt))?
            .len();
        // The tag is behind the plaintext and must not be read as data.
        text.truncate(len);
        Ok(())
    }
}
