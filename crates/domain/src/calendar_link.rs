//! The link that opens a booking's calendar file for one user without a token, until the booking's `link_version` is
//! raised. The service that shows it signs it; the gateway verifies it.

use url::form_urlencoded::byte_serialize;

/// A link to the calendar file of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarLink<'a> {
    pub booking: &'a str,
    pub user: &'a str,
    pub version: i32,
}

impl CalendarLink<'_> {
    /// The purpose of its signature: a signature for another purpose is not valid.
    pub const PURPOSE: &'static str = "greenroom: link to a booking's calendar file, 1";

    /// The text to sign. Only its last part has a variable length, so two links never have the same text.
    #[must_use]
    pub fn claim(&self) -> String {
        format!("{} {} {}", self.booking, self.version, self.user)
    }

    /// The path and query of the link, below the gateway's address.
    #[must_use]
    pub fn path(&self, signature: &str) -> String {
        let Self { booking, user, version } = self;
        // Encoded, because a user's id may contain any visible character.
        let user: String = byte_serialize(user.as_bytes()).collect();
        format!("/api/bookings/{booking}/calendar.ics?user={user}&version={version}&signature={signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_has_each_part_and_path_is_encoded() {
        let link = CalendarLink { booking: "b1", user: "ana & co", version: 3 };
        assert_eq!(link.path("s"), "/api/bookings/b1/calendar.ics?user=ana+%26+co&version=3&signature=s");
        for other in [
            CalendarLink { booking: "b2", ..link },
            CalendarLink { user: "ana", ..link },
            CalendarLink { version: 2, ..link },
        ] {
            assert_ne!(other.claim(), link.claim(), "{other:?}");
        }
    }
}
