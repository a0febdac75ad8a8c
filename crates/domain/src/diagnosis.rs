//! The kinds of results of a diagnosis.

use crate::text_enum::text_enum;

text_enum! {
    /// The kind of a result, for people who sort reports (docs/diagnosis.md).
    pub enum Scenario as proto::types::v1::Scenario {
        Ok = "ok",
        /// The room is known, but tokens fail or LiveKit refuses.
        A = "A",
        /// The room is not known, or not to this caller.
        B = "B",
        /// A service of ours or the database fails.
        C = "C",
        /// Nothing fails, but this caller may not join, or not at this time.
        Refused = "refused",
    }
}
