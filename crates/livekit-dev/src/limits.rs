//! The sizes that LiveKit allows with its default configuration.

use std::collections::HashMap;

use crate::twirp::error::{Code, TwirpError};

/// Names of rooms and participants, and identities, in bytes.
pub(crate) const NAME: usize = 256;
/// Metadata of rooms and participants, in bytes.
pub(crate) const METADATA: usize = 512 * 1024;
/// All keys and values of a participant together, in bytes.
const ATTRIBUTES: usize = 64_000;
/// The body of a request, in bytes.
pub(crate) const BODY: usize = 10 * 1024 * 1024;

pub(crate) fn check_name(name: &str, what: &str) -> Result<(), TwirpError> {
    check(name.len() <= NAME, || format!("{what} exceeds limits: max length {NAME}"))
}

pub(crate) fn check_metadata(metadata: &str) -> Result<(), TwirpError> {
    check(metadata.len() <= METADATA, || format!("metadata size exceeds limits: {METADATA}"))
}

pub(crate) fn check_attributes(attributes: &HashMap<String, String>) -> Result<(), TwirpError> {
    let size: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    check(size <= ATTRIBUTES, || format!("attributes size exceeds limits: {ATTRIBUTES}"))
}

fn check(fits: bool, msg: impl FnOnce() -> String) -> Result<(), TwirpError> {
    if fits { Ok(()) } else { Err(TwirpError::new(Code::InvalidArgument, msg())) }
}
