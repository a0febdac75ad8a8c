//! The ciphers of SRTP: AES counter mode (RFC 3711) and AES-GCM (RFC 7714), and the AES block of its key derivation.

use std::fmt;

use aes::cipher::consts::U16;
use aes::cipher::{BlockEncrypt, BlockSizeUser, InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use ctr::{CtrCore, flavors::Ctr128BE};
use ring::aead;
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

const TAG_LEN: usize = 16;

#[derive(Debug)]
pub struct Srtp;

impl SrtpProvider for Srtp {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Srtp
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Srtp
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Srtp
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        encrypt_block::<aes::Aes128>(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        encrypt_block::<aes::Aes256>(key, input, output);
    }
}

#[expect(
    clippy::expect_used,
    reason = "the caller passes a master key of the profile's length, and a key derived from anything else must not be used"
)]
fn encrypt_block<C: KeyInit + BlockEncrypt + BlockSizeUser<BlockSize = U16>>(
    key: &[u8],
    input: &[u8],
    output: &mut [u8],
) {
    let cipher = C::new_from_slice(key).expect("SRTP master key has the profile's length");
    // str0m's buffers may be longer than a block.
    let (input, _) = input.split_first_chunk::<16>().expect("input is a block");
    let (output, _) = output.split_first_chunk_mut::<16>().expect("output has room for a block");
    *output = *input;
    cipher.encrypt_block(output.into());
}

impl SupportedAes128CmSha1_80 for Srtp {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(CounterMode(aes::Aes128::new(&key.into())))
    }
}

impl SupportedAeadAes128Gcm for Srtp {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Gcm::new(&aead::AES_128_GCM, &key))
    }
}

impl SupportedAeadAes256Gcm for Srtp {
    fn create_cipher(&self, key: [u8; 32], _encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Gcm::new(&aead::AES_256_GCM, &key))
    }
}

/// str0m appends and verifies the HMAC of this profile itself.
struct CounterMode(aes::Aes128);

impl fmt::Debug for CounterMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CounterMode")
    }
}

impl CounterMode {
    /// Encryption and decryption are the same. `output` may be longer than `input`.
    fn apply(&self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let output = output.get_mut(..input.len()).ok_or_else(too_short)?;
        // The whole 128-bit counter is one big-endian number (RFC 3711, 4.1.1).
        let counter = CtrCore::<&aes::Aes128, Ctr128BE>::inner_iv_init(&self.0, iv.into());
        StreamCipherCoreWrapper::from_core(counter)
            .apply_keystream_b2b(input, output)
            .map_err(|_| CryptoError::Other("AES counter mode failed".into()))
    }
}

impl Aes128CmSha1_80Cipher for CounterMode {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.apply(iv, input, output)
    }

    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.apply(iv, input, output)
    }
}

#[derive(Debug)]
struct Gcm(aead::LessSafeKey);

impl Gcm {
    #[expect(clippy::expect_used, reason = "the array types of the callers fix the key length")]
    fn new(algorithm: &'static aead::Algorithm, key: &[u8]) -> Self {
        let key = aead::UnboundKey::new(algorithm, key).expect("key has the algorithm's length");
        Self(aead::LessSafeKey::new(key))
    }

    /// Writes the ciphertext and the tag.
    fn seal(&self, iv: [u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let output = output.get_mut(..input.len() + TAG_LEN).ok_or_else(too_short)?;
        let (text, tag_out) = output.split_at_mut(input.len());
        // ring encrypts in place, and str0m wants the input unchanged.
        text.copy_from_slice(input);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(iv), aead::Aad::from(aad), text)
            .map_err(|_| CryptoError::Other("AES-GCM encryption failed".into()))?;
        tag_out.copy_from_slice(tag.as_ref());
        Ok(())
    }

    /// Returns the length of the plaintext. `output` needs no room for the tag.
    fn open(
        &self,
        iv: [u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let failed = || CryptoError::Other("AES-GCM decryption failed".into());
        let (text, tag) = input.split_last_chunk::<TAG_LEN>().ok_or_else(failed)?;
        let output = output.get_mut(..text.len()).ok_or_else(too_short)?;
        output.copy_from_slice(text);
        // The common case has one part and needs no allocation.
        let joined;
        let aad = if let [aad] = aads {
            *aad
        } else {
            joined = aads.concat();
            &joined
        };
        self.0
            .open_in_place_separate_tag(nonce(iv), aead::Aad::from(aad), (*tag).into(), output, 0..)
            .map(|plain| plain.len())
            .map_err(|_| failed())
    }
}

/// SRTP builds a nonce from SSRC and packet index. It is unique for a key as long as these are.
fn nonce(iv: [u8; 12]) -> aead::Nonce {
    aead::Nonce::assume_unique_for_key(iv)
}

fn too_short() -> CryptoError {
    CryptoError::Other("output buffer is too short".into())
}

impl AeadAes128GcmCipher for Gcm {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.seal(*iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(*iv, aads, input, output)
    }
}

impl AeadAes256GcmCipher for Gcm {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.seal(*iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(*iv, aads, input, output)
    }
}
