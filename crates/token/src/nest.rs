//! Nests: participants may join, and guests as listeners if the nest admits them. room-lifecycle adds participants
//! (`NestService.JoinNest`, which the gateway calls for callers who are not participants yet).

use chassis::grpc::timestamp;
use domain::{NestRole, Owner};
use proto::{token::v1::IssueForNestResponse, types::v1::Caller};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    decision::{JoinRow, Permit, Record, Refused, StoredProfile, TokenRole},
    issue::Issued,
    store::NestJoin,
};

/// Short, because a nest cannot ban: only the loss of a role takes permissions away. Clients fetch a token for each
/// join.
const TTL: Duration = Duration::minutes(10);

/// The row of a nest and a caller, with the setting that the decision depends on.
pub struct NestJoinRow {
    pub join: NestJoin,
    pub is_guest: bool,
    /// `NESTS_ROOM_ADMIN_GRANT`
    pub room_admin_grant: bool,
}

impl NestJoinRow {
    fn role(&self) -> Result<NestRole, Refused> {
        let NestJoin { open, guests_allowed, is_participant, is_admin, is_speaker, .. } = self.join;
        match () {
            () if !open || self.is_guest && !guests_allowed => Err(Refused::NoNest),
            () if self.is_guest => Ok(NestRole::Guest),
            () if is_participant => Ok(NestRole::of(is_admin, is_speaker)),
            () => Err(Refused::NotInNest),
        }
    }
}

impl JoinRow for NestJoinRow {
    fn now(&self) -> OffsetDateTime {
        self.join.now
    }

    fn signed_at(&self) -> OffsetDateTime {
        self.join.signed_at
    }

    fn permit(&self) -> Result<Permit, Refused> {
        let role = self.role()?;
        let token_role = TokenRole {
            name: role.as_str(),
            grants: role.grants(),
            can_record: role.is_admin(),
            room_admin: role.is_admin() && self.room_admin_grant,
        };
        Ok(Permit { owner: Owner::Nest(self.join.nest_id), token_role, left: TTL })
    }

    fn record(&self) -> Record<'_> {
        Record {
            id: self.join.room_id,
            status: self.join.room_status,
            name: self.join.room_name.as_deref(),
            generation: self.join.generation,
            confirmed_at: self.join.confirmed_at,
            closing_at: self.join.closing_at,
        }
    }

    /// Only the key of a participant is known, and nothing about a guest.
    fn stored_profile(&self) -> Option<StoredProfile<'_>> {
        self.join.is_participant.then(StoredProfile::default)
    }
}

/// Returns an anonymous guest with a new identity.
pub fn guest() -> Caller {
    Caller { user_id: format!("guest-{}", Uuid::new_v4()), ..Caller::default() }
}

pub fn response(issued: Issued) -> IssueForNestResponse {
    IssueForNestResponse {
        token: issued.token,
        ws_url: issued.ws_url,
        room_name: issued.room_name,
        identity: issued.identity,
        expires_at: Some(timestamp(issued.expires_at)),
    }
}

#[cfg(test)]
mod tests;
