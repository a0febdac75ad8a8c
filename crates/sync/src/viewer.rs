//! The viewer of the listing, and which rows they may read.
//!
//! The rule is `may_read_live_room()` of the database; pages are read with it. A change is read once for all followers
//! of the feed, so it is filtered here by [`domain::Reader`], the same rule in Rust. A test compares the two.

use chassis::{grpc, status::Refusal};
use domain::Reader;
use proto::types::v1::Caller;
use serde_json::Value;

use crate::store::StreamRow;

/// A viewer; by default an anonymous one, who may read public rows.
#[derive(Clone, Debug, Default)]
pub struct Viewer {
    pub user: Option<String>,
    pub is_admin: bool,
    /// One of our own services, which filters rows for its clients. It gets the groups of each row.
    pub is_system: bool,
    pub groups: Vec<String>,
}

impl Viewer {
    /// Without a caller the viewer is anonymous. A caller that is not valid is refused.
    pub fn of(caller: Option<Caller>) -> Result<Self, Refusal> {
        let Some(caller) = caller else { return Ok(Self::default()) };
        let mut caller = grpc::caller(Some(caller))?;
        caller.groups.retain(|group| !group.contains('\0')); // Postgres cannot store such a group
        Ok(Self {
            is_admin: caller.is_privileged(),
            is_system: caller.system,
            user: Some(caller.user_id),
            groups: caller.groups,
        })
    }

    /// The viewer, as the rule and the SQL see them.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader { user_id: self.user.as_deref(), is_privileged: self.is_admin, groups: &self.groups }
    }

    pub fn may_read(&self, row: &StreamRow) -> bool {
        let groups = row.groups.iter().flat_map(names);
        self.reader().may_read(row.access_level(), &row.created_by, groups)
    }
}

/// Returns what the operator `?|` of Postgres compares in a value: the texts of an array, the keys of an object, or the
/// text itself.
pub fn names(groups: &Value) -> Vec<&str> {
    match groups {
        Value::Array(named) => named.iter().filter_map(Value::as_str).collect(),
        Value::Object(named) => named.keys().map(String::as_str).collect(),
        Value::String(named) => vec![named],
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}
