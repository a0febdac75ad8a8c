//! Why LiveKit did not do what it was asked, in words that may be logged and stored: LiveKit's refusal of a token
//! repeats the whole token (livekit.md §1.1), and none of our words do.

use livekit_api::services::{ServerError, ServiceError};

/// Characters of a text of LiveKit that are kept.
const LONGEST_REASON: usize = 200;
/// What every JSON Web Token begins with: `{"` in base64.
const TOKEN: &str = "eyJ";

/// Why LiveKit did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LiveKitError {
    /// LiveKit says that it does not have this room or participant.
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
    /// An answer that is not LiveKit's, a proxy's for example: nothing is known about the effect.
    #[error("the answer of LiveKit cannot be read: {0}")]
    Unreadable(String),
    /// No answer: nothing is known about the effect.
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

    /// For spans: Twirp's code, or why there is none.
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

/// A text of LiveKit, or of what answers in its place, for logs and records: short, and with each token replaced.
#[must_use]
pub fn reason(text: &str) -> String {
    without_tokens(text).trim().chars().take(LONGEST_REASON).collect() // shortened last: parts are not recognized
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

/// Base64 for URLs, the dots between the parts, and what either may be escaped as.
fn is_of_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.%+/=".contains(character)
}

/// The innermost cause, which says most.
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
        let late = format!("{}{token}", "x".repeat(LONGEST_REASON - 20));
        assert!(!reason(&late).contains(TOKEN), "shortening leaves no part of it");
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
