//! What follows from who calls.

use crate::types::v1::Caller;

impl Caller {
    /// Whether the caller may act on objects of all users: an admin, or one of our own services.
    #[must_use]
    pub const fn is_privileged(&self) -> bool {
        self.is_admin || self.system
    }
}
