//! Who may read a live room and its row of the listing.

use crate::AccessLevel;

/// A user who reads live rooms; by default an anonymous one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader<'a> {
    pub user_id: Option<&'a str>,
    /// An admin, or one of our own services.
    pub is_privileged: bool,
    pub groups: &'a [String],
}

impl Reader<'_> {
    /// Whether this user may read a room of `host` with these `groups`. The same rule as `may_read_live_room()` of the
    /// database: a test of sync compares the two.
    pub fn may_read<'g>(
        &self,
        level: AccessLevel,
        host: &str,
        groups: impl IntoIterator<Item = &'g str>,
    ) -> bool {
        level == AccessLevel::Public
            || self.is_privileged
            // An anonymous reader is None and never equals a host, also not an empty one.
            || self.user_id == Some(host)
            || groups.into_iter().any(|group| self.groups.iter().any(|own| own == group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_rooms_are_for_host_admins_and_members() {
        let groups = ["stars".to_owned()];
        let may_read = |reader: Reader<'_>| reader.may_read(AccessLevel::Group, "hanna", ["moons", "stars"]);
        let user = |user_id| Reader { user_id: Some(user_id), ..Reader::default() };
        assert!(!may_read(Reader::default()) && !may_read(user("eve")));
        assert!(may_read(user("hanna")) && may_read(Reader { is_privileged: true, ..user("eve") }));
        assert!(may_read(Reader { groups: &groups, ..user("eve") }));
        assert!(!may_read(Reader { groups: &["suns".to_owned()], ..user("eve") }));
        assert!(Reader::default().may_read(AccessLevel::Public, "hanna", []));
    }
}
