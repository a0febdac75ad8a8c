//! Who looks at the listing, and what he may see.
//!
//! The rule is `may_read_live_room()` of the database, which pages are read with. A change is read once for all who
//! follow the feed, so the same rule stands here a second time; a test holds the two together.

use chassis::{grpc, status::Refusal};
use domain::AccessLevel;
use proto::types::v1::Caller;
use serde_json::Value;

use crate::store::StreamRow;

/// Nobody in particular by default: who sees what is public.
#[derive(Clone, Debug, Default)]
pub struct Viewer {
    pub user: Option<String>,
    pub is_admin: bool,
    /// One of our own services, which tells others: it gets the groups of each row.
    pub is_system: bool,
    pub groups: Vec<String>,
}

impl Viewer {
    pub fn of(caller: Option<Caller>) -> Result<Self, Refusal> {
        let Some(caller) = caller else { return Ok(Self::default()) };
        let mut caller = grpc::caller(Some(caller))?;
        caller.groups.retain(|group| !group.contains('\0')); // no group that Postgres could know
        Ok(Self {
            user: Some(caller.user_id),
            is_admin: caller.is_admin || caller.system,
            is_system: caller.system,
            groups: caller.groups,
        })
    }

    pub fn may_read(&self, row: &StreamRow) -> bool {
        row.access_level() == AccessLevel::Public
            || self.is_admin
            || self.user.as_deref() == Some(row.created_by.as_str())
            || row.groups.as_ref().is_some_and(|groups| self.is_in(groups))
    }

    fn is_in(&self, groups: &Value) -> bool {
        names(groups).into_iter().any(|name| self.groups.iter().any(|group| group == name))
    }
}

/// What the operator `?|` of Postgres looks for in a value: the texts of an array, the keys of an object, or the
/// text itself.
pub fn names(groups: &Value) -> Vec<&str> {
    match groups {
        Value::Array(named) => named.iter().filter_map(Value::as_str).collect(),
        Value::Object(named) => named.keys().map(String::as_str).collect(),
        Value::String(named) => vec![named],
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}
