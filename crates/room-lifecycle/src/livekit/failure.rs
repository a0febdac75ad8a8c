//! Failures of calls to LiveKit, with texts that may be logged and stored. LiveKit's refusal of a token repeats the
//! whole token (livekit.md §1.1); our texts contain no token.

use livekit_api::services::{ServerError, ServiceError};

/// The number of characters that are kept of a text of LiveKit.
const MAX_REASON_CHARS: usize = 200;
/// The beginning of every JSON Web Token: `{"` in base64.
const TOKEN: &str = "eyJ";

/// Why a call to LiveKit failed.
#[derive(Debug, thiserror::Error)]
pub enum LiveKitError {
    /// LiveKit answers that it does not have this room or participant.
    #[error("LiveKit does not know it")]
    NotFound,
    /// LiveKit refused with another Twirp code.
    #[error("LiveKit refused: {code}: {text}")]
    Refused { code: String, text: String },
    /// LiveKit does not accept our tokens at all.
    #[error("LiveKit refuses our API key or secret (LIVEKIT_API_KEY, LIVEKIT_API_SECRET): {0}")]
    KeyRefused(String),
    /// There was no connection: the request was not sent.
    #[error("LiveKit cannot be reached: {0}")]
    Unreachable(String),
    /// The answer is not LiveKit's, but perhaps a proxy's: nothing is known about the effect.
    #[error("the answer of LiveKit cannot be read: {0}")]
    Unreadable(String),
    /// There was no answer: nothing is known about the effect.
    #[error("LiveKit did not answer: {0}")]
    Unknown(String),
    /// Deletion is off: this database was made for another LiveKit, or is a copy (`greenroom repair adopt`).
    #[error(
        "deleting and stopping are off: this database is not the one that this deployment was set up with"
    )]
    NotOurs,
}

impl From<ServiceError> for LiveKitError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Twirp(ServerError::Twirp(twirp)) => Self::twirp(twirp.code, &twirp.msg),
            ServiceError::Twirp(ServerError::Request(error)) => error.into(),
            error => Self::Unknown(reason(&error.to_string())),
        }
    }
}

impl From<reqwest::Error> for LiveKitError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Unknown("no answer in time".to_owned());
        }
        let why = reason(&innermost(&error));
        if error.is_connect() {
            Self::Unreachable(why)
        } else if error.is_decode() {
            Self::Unreadable(why)
        } else {
            Self::Unknown(why)
        }
    }
}

impl LiveKitError {
    pub(super) fn twirp(code: String, text: &str) -> Self {
        match code.as_str() {
            "not_found" => Self::NotFound,
            _ => Self::Refused { code, text: reason(text) },
        }
    }

    pub(super) fn key_refused(text: &str) -> Self {
        Self::KeyRefused(reason(text))
    }

    /// The `error.type` of spans: Twirp's code, or why LiveKit sent no code.
    pub(super) fn kind(&self) -> &str {
        match self {
            Self::NotFound => "not_found",
            Self::Refused { code, .. } => code,
            Self::KeyRefused(_) => "key_refused",
            Self::Unreachable(_) | Self::Unreadable(_) | Self::Unknown(_) => "no_answer",
            Self::NotOurs => "not_ours",
        }
    }
}

/// Shortens a text of LiveKit, or of a proxy, and replaces each token, for logs and records.
#[must_use]
pub fn reason(text: &str) -> String {
    without_tokens(text).trim().chars().take(MAX_REASON_CHARS).collect() // shortened last: a part of a token is not recognized
}

fn without_tokens(text: &str) -> String {
    let (mut safe, mut rest) = (String::new(), text);
    while let Some((before, token)) = rest.find(TOKEN).map(|at| rest.split_at(at)) {
        safe.push_str(before);
        safe.push_str("<token>");
        rest = token.trim_start_matches(is_of_token);
    }
    safe + rest
}

/// Whether a character may belong to a token: URL-safe base64, the dots between its parts, and URL escapes of both.
fn is_of_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.%+/=".contains(character)
}

/// The innermost cause, which is the most specific.
fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use livekit_api::{access_token::AccessToken, services::ServerErrorCode};

    use super::*;

    fn token() -> String {
        AccessToken::with_api_key("devkey", "a-secret-of-thirty-two-characters").to_jwt().unwrap()
    }

    #[test]
    fn token_is_replaced_and_the_reason_kept() {
        let token = token();
        let text = format!("invalid token: {token}, error: token signature is invalid");
        assert_eq!(reason(&text), "invalid token: <token>, error: token signature is invalid");
        for around in [["<", ">"], ["\"", "\""], ["Bearer ", "\n"], ["?access_token=", "&x=1"], ["é", "é"]]
        {
            let [before, after] = around;
            let safe = without_tokens(&format!("{before}{token}{after}{token}"));
            assert_eq!(safe, format!("{before}<token>{after}<token>"));
        }
        assert_eq!(without_tokens("no token here"), "no token here");
    }

    #[test]
    fn token_that_is_cut_off_or_escaped_is_replaced() {
        let token = token();
        for end in TOKEN.len()..token.len() {
            assert_eq!(without_tokens(&token[..end]), "<token>");
        }
        assert_eq!(without_tokens(&token.replace('.', "%2E")), "<token>");
        let late = format!("{}{token}", "x".repeat(MAX_REASON_CHARS - 20));
        assert!(!reason(&late).contains(TOKEN), "no part of the token is left");
    }

    #[test]
    fn refusals_of_livekit_hold_no_token() {
        let refusal = |code: &str| {
            let twirp = ServerErrorCode { code: code.to_owned(), msg: token(), meta: HashMap::new() };
            LiveKitError::from(ServiceError::Twirp(ServerError::Twirp(twirp)))
        };
        for error in [refusal("unauthenticated"), refusal("not_found"), LiveKitError::key_refused(&token())] {
            assert!(!format!("{error} {error:?}").contains(TOKEN), "{error}");
        }
        assert!(matches!(refusal("not_found"), LiveKitError::NotFound));
    }
}
