//! The parties of a booking: who has which role in its meeting.

use crate::Role;

/// The two users of a booking, who are always different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties<'a> {
    pub host: &'a str,
    pub guest: &'a str,
}

impl Parties<'_> {
    /// The user's role. None: the user is not a party.
    #[must_use]
    pub fn role_of(self, user_id: &str) -> Option<Role> {
        match user_id {
            user if user == self.host => Some(Role::Host),
            user if user == self.guest => Some(Role::Guest),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_and_guest_have_roles() {
        let parties = Parties { host: "hanna", guest: "gus" };
        assert_eq!(parties.role_of("hanna"), Some(Role::Host));
        assert_eq!(parties.role_of("gus"), Some(Role::Guest));
        for stranger in ["", "Gus", "eve"] {
            assert_eq!(parties.role_of(stranger), None, "{stranger}");
        }
    }
}
