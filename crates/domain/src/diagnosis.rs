//! What a diagnosis comes to.

use crate::text_enum::text_enum;

text_enum! {
    /// What kind of answer it is, for people who sort reports (docs/diagnosis.md).
    pub enum Scenario as proto::types::v1::Scenario {
        Ok = "ok",
        /// The room is known, but tokens fail or LiveKit refuses.
        A = "A",
        /// The room is not known, or not to this caller.
        B = "B",
        /// A service of ours or the database fails.
        C = "C",
        /// All is well but for this caller, or at this time.
        Refused = "refused",
    }
}
