//! Checks the requests about nests.

use chassis::{grpc::caller, status::Refusal};
use domain::{NestId, Pubkey};
use proto::types::v1::Caller;
use url::Url;

use super::{
    NestError,
    policy::{LONGEST_RELAY, MOST_RELAYS},
};
use crate::error::Error;

/// The caller's public key.
pub(super) fn signer(sent: Option<Caller>) -> Result<String, Error> {
    let caller = caller(sent)?;
    match caller.user_id.parse::<Pubkey>() {
        Ok(key) if key.to_string() == caller.user_id => Ok(caller.user_id),
        _ => Err(NestError::NoKey.into()),
    }
}

/// Parses the id of a nest. A text that is not an id is answered like an unknown nest.
pub(crate) fn nest_id(text: &str) -> Result<NestId, NestError> {
    text.parse().map_err(|_| NestError::NoNest)
}

/// Parses a participant's public key, in upper or lower case.
pub(super) fn participant(text: &str) -> Result<String, Refusal> {
    text.parse::<Pubkey>()
        .map(|key| key.to_string())
        .map_err(|invalid| Refusal::invalid("participant", invalid.to_string()))
}

pub(super) fn relays(relays: Vec<String>) -> Result<Vec<String>, Refusal> {
    if relays.len() > MOST_RELAYS {
        return Err(Refusal::invalid("relays", format!("must be at most {MOST_RELAYS}")));
    }
    if !relays.iter().all(|relay| is_relay(relay)) {
        return Err(Refusal::invalid(
            "relays",
            format!("must be ws or wss URLs of at most {LONGEST_RELAY} bytes without a user name"),
        ));
    }
    Ok(relays)
}

/// Whether the text is a relay's URL. Private addresses are allowed, because this server never connects to a relay.
fn is_relay(text: &str) -> bool {
    let begins = text.starts_with("wss://") || text.starts_with("ws://");
    let is_plain = !text.chars().any(|character| character.is_whitespace() || character.is_control());
    let authority = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '\\', '?', '#']).next());
    begins
        && is_plain
        && text.len() <= LONGEST_RELAY
        && authority.is_some_and(|authority| !authority.is_empty() && !authority.contains('@'))
        && Url::parse(text).is_ok()
}
