//! The sizes that LiveKit allows with its default configuration.

use std::collections::HashMap;

use crate::twirp::error::{Code, TwirpError};

/// Names of rooms and participants, and identities, in bytes.
pub(crate) const NAME: usize = 256;
/// Metadata of rooms and participants, in bytes.
pub(crate) const METADATA: usize = 512 * 1024;
/// All keys and values of a participant together, in bytes.
pub(crate) const ATTRIBUTES: usize = 64 * 1024;
/// The body of a request, in bytes.
pub(crate) const BODY: usize = 10 * 1024 * 1024;

pub(crate) fn check_room_name(name: &str) -> Result<(), TwirpError> {
    if name.len() <= NAME {
        return Ok(());
    }
    let msg = format!("room name length exceeds limits: max length {NAME}");
    Err(TwirpError::internal_rpc(Code::InvalidArgument, &msg))
}

pub(crate) fn check_name(name: &str) -> Result<(), TwirpError> {
    check(name.len() <= NAME, "name length", NAME)
}

pub(crate) fn check_metadata(metadata: &str) -> Result<(), TwirpError> {
    check(metadata.len() <= METADATA, "metadata size", METADATA)
}

pub(crate) fn check_attributes(attributes: &HashMap<String, String>) -> Result<(), TwirpError> {
    let size: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    check(size <= ATTRIBUTES, "attribute size", ATTRIBUTES)
}

fn check(fits: bool, what: &str, limit: usize) -> Result<(), TwirpError> {
    if fits {
        return Ok(());
    }
    Err(TwirpError::argument(&format!("{what} exceeds limits"), &limit.to_string()))
}
