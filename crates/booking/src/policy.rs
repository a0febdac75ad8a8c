//! The limits of bookings, and who may do what with a booking. Pure: times come from the database's clock.
//!
//! The limits of e-mails to unverified addresses are in the function `mail_refusal()` of the database, because triggers
//! count these mails too.

use std::str::FromStr;

use domain::{Parties, Role};
use proto::types::v1::Caller;
use time::{Duration, OffsetDateTime};

/// The most open bookings of one creator.
pub const MAX_OPEN: i64 = 50;
/// The most bookings of one pair within an hour.
pub const MAX_PER_PAIR: i64 = 10;
/// How far in the past a start may be, because a request for "now" takes a while to arrive.
pub const MAX_START_AGE: Duration = Duration::minutes(5);
/// How far in the future a start may be.
pub const MAX_START_AHEAD: Duration = Duration::days(365);

/// Which party may book. Admins and our own services always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Either,
    Guest,
    Service,
}

impl FromStr for Policy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "either" => Ok(Self::Either),
            "guest" => Ok(Self::Guest),
            "service" => Ok(Self::Service),
            _ => Err("must be either, guest or service"),
        }
    }
}

impl Policy {
    /// Whether a user with this role in the new booking may create it.
    pub fn admits(self, role: Option<Role>) -> bool {
        match self {
            Self::Either => role.is_some(),
            Self::Guest => role == Some(Role::Guest),
            Self::Service => false,
        }
    }
}

/// Whether a booking may start at `start`; `now` is the database's clock.
pub fn may_start(start: OffsetDateTime, now: OffsetDateTime) -> bool {
    (now - MAX_START_AGE..=now + MAX_START_AHEAD).contains(&start)
}

/// Whether the caller may read a booking, and change it: its parties, admins and our own services. What a kicked guest may
/// not change is decided by [`as_guest`].
pub fn may_access(caller: &Caller, parties: Parties<'_>) -> bool {
    caller.is_privileged() || parties.role_of(&caller.user_id).is_some()
}

/// Whether the caller may end a meeting.
pub fn may_end(caller: &Caller, parties: Parties<'_>) -> bool {
    caller.is_privileged() || parties.role_of(&caller.user_id) == Some(Role::Host)
}

/// Returns the caller's id if they act as the guest of this booking. Only guests lose the right to change it by a kick.
pub fn as_guest<'a>(caller: &'a Caller, parties: Parties<'_>) -> Option<&'a str> {
    let is_guest = parties.role_of(&caller.user_id) == Some(Role::Guest);
    (is_guest && !caller.is_privileged()).then_some(caller.user_id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTIES: Parties<'_> = Parties { host: "hanna", guest: "gus" };

    fn user(user_id: &str) -> Caller {
        Caller { user_id: user_id.to_owned(), ..Caller::default() }
    }

    fn admin(user_id: &str) -> Caller {
        Caller { is_admin: true, ..user(user_id) }
    }

    #[test]
    fn policy_admits_the_parties_that_it_names() {
        let admitted =
            |policy: Policy| [Some(Role::Host), Some(Role::Guest), None].map(|role| policy.admits(role));
        assert_eq!(admitted(Policy::Either), [true, true, false]);
        assert_eq!(admitted(Policy::Guest), [false, true, false]);
        assert_eq!(admitted(Policy::Service), [false, false, false]);
    }

    #[test]
    fn start_is_within_a_year_and_not_long_ago() {
        let now = OffsetDateTime::UNIX_EPOCH;
        assert!(may_start(now - MAX_START_AGE, now) && may_start(now + MAX_START_AHEAD, now));
        assert!(!may_start(now - MAX_START_AGE - Duration::SECOND, now));
        assert!(!may_start(now + MAX_START_AHEAD + Duration::SECOND, now));
    }

    #[test]
    fn parties_and_admins_have_access_and_only_hosts_end() {
        let rights = |caller: Caller| {
            (may_access(&caller, PARTIES), may_end(&caller, PARTIES), as_guest(&caller, PARTIES).is_some())
        };
        assert_eq!(rights(user("hanna")), (true, true, false));
        assert_eq!(rights(user("gus")), (true, false, true));
        assert_eq!(rights(user("eve")), (false, false, false));
        assert_eq!(rights(admin("eve")), (true, true, false));
        assert_eq!(rights(admin("gus")), (true, true, false), "an admin who is the guest acts as an admin");
    }
}
