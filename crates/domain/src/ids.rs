//! Ids, one type for each kind of object, so that they cannot be confused.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::text;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize,
        )]
        #[serde(transparent)]
        #[cfg_attr(feature = "sql", derive(sqlx::Type), sqlx(transparent))]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name(pub Uuid);

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// The id of a booking and its meeting (`sessions`).
    SessionId,
    /// The id of a host's permanent room (`live_rooms`).
    LiveRoomId,
    /// The id of one broadcast in a live room (`live_room_sessions`).
    LiveSessionId,
    /// The id of the record of a room on LiveKit (`livekit_rooms`).
    RoomId,
    /// The id of a nest (`nests`).
    NestId,
    /// The id of a recording (`recordings`).
    RecordingId,
}

/// The id of a user, as the identity provider writes it ([`text::is_id`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserId(String);

impl UserId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    #[error("must be the id of a user")]
    User,
    #[error("must be a public key of 64 hex digits")]
    Pubkey,
}

impl TryFrom<String> for UserId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text::is_id(&text) { Ok(Self(text)) } else { Err(InvalidId::User) }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The public key of a Nostr user. Written as 64 lower-case hex digits, read in either case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pubkey([u8; 32]);

impl Pubkey {
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl From<[u8; 32]> for Pubkey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Pubkey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key).map_err(|_| InvalidId::Pubkey)?;
        Ok(Self(key))
    }
}

impl fmt::Display for Pubkey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Pubkey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pubkey({self})")
    }
}

impl serde::Serialize for Pubkey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Pubkey {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^[0-9a-f]{64}$"))
            .description(Some("The public key of a Nostr user"))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Pubkey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pubkey_is_64_hex_digits_written_in_lower_case() {
        let upper = "AB".repeat(32);
        assert_eq!(upper.parse::<Pubkey>().unwrap().to_string(), "ab".repeat(32));
        for wrong in ["", "ab", &"ab".repeat(31), &"ab".repeat(33), &"ag".repeat(32), &"ä".repeat(32)] {
            assert_eq!(wrong.parse::<Pubkey>(), Err(InvalidId::Pubkey), "{wrong}");
        }
    }

    #[test]
    fn user_id_is_checked() {
        assert_eq!(UserId::try_from("ana".to_owned()).unwrap().as_str(), "ana");
        for wrong in ["", " ana", "a\0b"] {
            assert_eq!(UserId::try_from(wrong.to_owned()), Err(InvalidId::User), "{wrong:?}");
        }
    }
}
