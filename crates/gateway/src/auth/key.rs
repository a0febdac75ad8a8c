//! A key of the identity provider, and why a token is refused.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("there is no bearer token")]
    Missing,
    #[error("the token cannot be read")]
    Malformed,
    #[error("the token is larger than 12 KiB")]
    TooLarge,
    #[error("the token was signed with an unknown key")]
    UnknownKey,
    #[error("the token's signature or algorithm is wrong")]
    Signature,
    #[error("the token was issued by another issuer")]
    Issuer,
    #[error("the token is meant for another audience")]
    Audience,
    #[error("the token was issued to another client")]
    Client,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token names no subject, or one with blanks at its ends or invisible characters")]
    Subject,
    /// Not the caller's fault: the keys were never fetched.
    #[error("the identity provider's keys are not known yet")]
    NoKeys,
    /// Not known to be the caller's fault: the keys are fetched for this token only after these seconds.
    #[error("the token was signed with a key that may be new; the keys are fetched again in {0} s")]
    KeyPause(u64),
}

/// A key and the one algorithm it verifies.
#[derive(Clone)]
pub(super) struct Key {
    decoding: DecodingKey,
    algorithm: Algorithm,
    validation: Validation,
}

impl Key {
    pub(super) fn new(decoding: DecodingKey, algorithm: Algorithm) -> Self {
        let mut validation = Validation::new(algorithm);
        // Only the signature is verified here: jsonwebtoken would verify times by the system clock (see `claims`).
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self { decoding, algorithm, validation }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn verify(&self, token: &str) -> Result<Value, Refused> {
        jsonwebtoken::decode(token, &self.decoding, &self.validation)
            .map(|token| token.claims)
            .map_err(|_| Refused::Signature)
    }
}
