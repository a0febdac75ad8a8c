//! The parts that answers of `/api` share: the envelope, persons, pages, and times in RFC 3339 and UTC.

use chassis::grpc;
use prost_types::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{error::Rejection, extract};

/// Every answer of `/api` that is not a refusal.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope<T> {
    /// Always true.
    success: bool,
    data: T,
    /// The cursor of the next page. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl<T> Envelope<T> {
    pub(crate) fn new(data: T) -> axum::Json<Self> {
        axum::Json(Self { success: true, data, next_cursor: None })
    }

    pub(crate) fn page(data: T, next_cursor: Option<String>) -> axum::Json<Self> {
        axum::Json(Self { success: true, data, next_cursor })
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Person {
    id: String,
    name: String,
    avatar_url: Option<String>,
}

impl From<proto::booking::v1::Person> for Person {
    fn from(person: proto::booking::v1::Person) -> Self {
        Self { id: person.id, name: person.name, avatar_url: person.avatar_url }
    }
}

impl From<proto::token::v1::Person> for Person {
    fn from(person: proto::token::v1::Person) -> Self {
        Self { id: person.id, name: person.name, avatar_url: person.avatar_url }
    }
}

/// Converts a required time.
pub(crate) fn time(field: &'static str, value: Option<Timestamp>) -> Result<OffsetDateTime, Rejection> {
    time_or_null(value).ok_or(Rejection::Incomplete(field))
}

pub(crate) fn time_or_null(value: Option<Timestamp>) -> Option<OffsetDateTime> {
    value.as_ref().and_then(grpc::datetime)
}

/// Reads a text that may be null, for `#[serde(default, deserialize_with = …)]`: None is absent, and null is the empty
/// text.
pub(crate) fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(Some(text.unwrap_or_default()))
}

/// `?limit=`, 1 to 100.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit(i32);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i32::deserialize(deserializer)? {
            limit @ 1..=100 => Ok(Self(limit)),
            _ => Err(D::Error::custom(extract::ours("must be 1 to 100"))),
        }
    }
}

pub(crate) fn limit(limit: Option<Limit>) -> Option<i32> {
    limit.map(|Limit(limit)| limit)
}
