//! Key exchange of DTLS: X25519 and P-256.

use dimpl::crypto::{ActiveKeyExchange, Buf, NamedGroup, SupportedKxGroup};
use dimpl::{CryptoError, CryptoOperation};
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::SystemRandom;

/// In the order of preference.
pub const GROUPS: &[&dyn SupportedKxGroup] = &[
    &Group { name: NamedGroup::X25519, algorithm: &agreement::X25519 },
    &Group { name: NamedGroup::Secp256r1, algorithm: &agreement::ECDH_P256 },
];

#[derive(Debug)]
struct Group {
    name: NamedGroup,
    algorithm: &'static agreement::Algorithm,
}

impl SupportedKxGroup for Group {
    fn name(&self) -> NamedGroup {
        self.name
    }

    fn start_exchange(&self, mut public_key: Buf) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        let private_key = EphemeralPrivateKey::generate(self.algorithm, &SystemRandom::new())
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::GenerateEphemeralKey))?;
        let public = private_key
            .compute_public_key()
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::ComputePublicKey))?;
        public_key.clear();
        public_key.extend_from_slice(public.as_ref());
        Ok(Box::new(Exchange { name: self.name, private_key, public_key }))
    }
}

#[derive(Debug)]
struct Exchange {
    name: NamedGroup,
    private_key: EphemeralPrivateKey,
    public_key: Buf,
}

impl ActiveKeyExchange for Exchange {
    fn pub_key(&self) -> &[u8] {
        &self.public_key
    }

    fn complete(self: Box<Self>, peer: &[u8], out: &mut Buf) -> Result<(), CryptoError> {
        // The private key can be used once, so it is moved out.
        let Self { name, private_key, .. } = *self;
        let peer = UnparsedPublicKey::new(private_key.algorithm(), peer);
        agreement::agree_ephemeral(private_key, &peer, |secret| {
            // The buffer may be a reused one.
            out.clear();
            out.extend_from_slice(secret);
        })
        .map_err(|_| CryptoError::InvalidPublicKey(name))
    }

    fn group(&self) -> NamedGroup {
        self.name
    }
}
