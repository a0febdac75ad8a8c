//! Nests: every participant may come in, and guests who listen. Participants are added by room-lifecycle
//! (`NestService.JoinNest`, which the gateway calls for whoever is none yet).

use chassis::grpc::timestamp;
use domain::{NestRole, Owner};
use proto::{token::v1::IssueForNestResponse, types::v1::Caller};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    decision::{Door, Known, Part, Permit, Record, Refused},
    issue::Issued,
    store::NestJoin,
};

/// Clients fetch a token for each join, and nobody can be put out of a nest but by a role that goes: tokens are short.
const TTL: Duration = Duration::minutes(10);

/// One caller at the door of a nest.
pub struct NestDoor {
    pub join: NestJoin,
    pub is_guest: bool,
    /// `NESTS_ROOM_ADMIN_GRANT`
    pub room_admin_grant: bool,
}

impl NestDoor {
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

impl Door for NestDoor {
    fn now(&self) -> OffsetDateTime {
        self.join.now
    }

    fn signed_at(&self) -> OffsetDateTime {
        self.join.signed_at
    }

    fn permit(&self) -> Result<Permit, Refused> {
        let role = self.role()?;
        let part = Part {
            name: role.as_str(),
            grants: role.grants(),
            can_record: role.is_admin(),
            room_admin: role.is_admin() && self.room_admin_grant,
        };
        Ok(Permit { owner: Owner::Nest(self.join.nest_id), part, left: TTL })
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

    /// Of a key nothing else is known; of a guest nothing at all.
    fn known(&self) -> Option<Known<'_>> {
        self.join.is_participant.then(Known::default)
    }
}

/// Somebody of whom nothing is known: another one each time.
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
