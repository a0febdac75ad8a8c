//! Twirp's JSON: the names of the `.proto` file and every field, where the protocol crate's own serde writes
//! camelCase and leaves defaults out. One table for each message that we answer with says what is missing.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// A message's fields in `.proto` spelling.
type Fields = &'static [(&'static str, Field)];

#[derive(Clone, Copy)]
enum Field {
    Text,
    Number,
    /// 64 bits: a string in JSON.
    Long,
    Flag,
    /// Written by name; the default is the name of 0.
    Enum(&'static str),
    Map,
    List,
    Message(Fields),
    Messages(Fields),
}

/// A message that a method answers with.
pub(crate) trait Answer: Serialize {
    const FIELDS: &'static [(&'static str, Shape)];
}

/// One field of an [`Answer`]; opaque outside, so that the tables stay here.
#[derive(Clone, Copy)]
pub(crate) struct Shape(Field);

macro_rules! answers {
    ($($message:ident { $($name:literal: $field:expr),* $(,)? })*) => {$(
        impl Answer for livekit_protocol::$message {
            const FIELDS: &'static [(&'static str, Shape)] = &[$(($name, Shape($field))),*];
        }
    )*};
}
