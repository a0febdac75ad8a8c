//! How services authenticate each other: a shared token in every call.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

pub const TOKEN_HEADER: &str = "x-greenroom-token";

/// The tokens that our services accept from each other. The first one is sent. A second one is still accepted while the
/// first is being rolled out.
#[derive(Clone, Debug)]
pub struct InternalTokens(Arc<[SecretString]>);

impl InternalTokens {
    /// `new[,old]`, each at least 32 bytes of visible ASCII.
    pub fn parse(tokens: &str) -> Result<Self, &'static str> {
        let tokens: Vec<&str> = tokens.split(',').map(str::trim).collect();
        if tokens.len() > 2 {
            return Err("at most two tokens, `new,old`");
        }
        if tokens.iter().any(|token| token.len() < 32 || !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err("each token must have at least 32 bytes of visible ASCII");
        }
        Ok(Self(tokens.into_iter().map(SecretString::from).collect()))
    }

    pub(crate) fn outgoing(&self) -> HeaderValue {
        let token = self.0.first().map_or("", |token| token.expose_secret());
        // `parse` allows only visible ASCII, so the fallback is not reached.
        let mut value = HeaderValue::from_str(token).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    pub(super) fn accept(&self, headers: &HeaderMap) -> bool {
        let offered = headers.get(TOKEN_HEADER).map_or(&b""[..], HeaderValue::as_bytes);
        // Constant time, except for the length, which is no secret.
        let matches = |token: &SecretString| token.expose_secret().as_bytes().ct_eq(offered);
        // `fold` and not `any`: it compares all tokens, so the time does not say which one matched.
        self.0.iter().map(matches).fold(Choice::from(0), |any, this| any | this).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tokens_are_accepted_and_neither_is_printed() {
        let (new, old) = ("n".repeat(32), "o".repeat(40));
        let tokens = InternalTokens::parse(&format!("{new},{old}")).unwrap();
        let accepts = |token: &str| {
            tokens.accept(&HeaderMap::from_iter([(
                http::HeaderName::from_static(TOKEN_HEADER),
                token.parse().unwrap(),
            )]))
        };
        assert!(accepts(&new) && accepts(&old));
        assert!(!accepts("") && !accepts(&"n".repeat(33)) && !tokens.accept(&HeaderMap::new()));
        assert!(!format!("{tokens:?}").contains("nnn"));
        assert!(InternalTokens::parse("short").is_err());
    }
}
