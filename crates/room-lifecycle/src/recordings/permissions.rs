//! Who may start, stop and delete the recordings of a scope, and who may see them.

use std::slice;

use domain::{EndedReason, Owner, OwnerKind, Role};
use proto::{room::v1::Proof, types::v1::Caller};

use super::{RecordingError, RecordingScope, Recordings};
use crate::{
    error::Error,
    kinds::{self, nest::store::list_participants},
    live::{
        LiveError,
        store::{RoomReader, rooms},
    },
    replay::Event,
    rooms::store::owners,
};

impl Recordings {
    /// Refuses callers who may not start, stop and delete recordings of a scope. Returns the owner of the room that can
    /// be recorded now.
    pub(super) async fn may_record(&self, caller: &Caller, scope: RecordingScope) -> Result<Owner, Error> {
        match scope {
            RecordingScope::Session(id) => {
                let session = owners::find_session(&self.rooms.pool, id).await?.ok_or(Error::NoSession)?;
                match session.parties().role_of(&caller.user_id) {
                    Some(Role::Host) => Ok(Owner::Session(id)),
                    Some(Role::Guest) => Err(Error::NotHost),
                    None => Err(Error::NotParticipant),
                }
            }
            RecordingScope::LiveRoom(id) => {
                let live = rooms::find_readable(&self.rooms.pool, id, RoomReader::from(caller)).await?;
                let live = live.ok_or(LiveError::NoRoom)?;
                if live.room.host_user_id != caller.user_id {
                    return Err(Error::NotHost);
                }
                Ok(Owner::LiveSession(live.room.open_session.unwrap_or_default()))
            }
            // Also for a nest that is over: its admins keep its recordings.
            RecordingScope::Nest(id) => {
                let found = list_participants(&self.rooms.pool, id, slice::from_ref(&caller.user_id)).await?;
                match found.first() {
                    Some(one) if one.is_admin => Ok(Owner::Nest(id)),
                    _ => Err(RecordingError::NotAdmin.into()),
                }
            }
        }
    }

    /// Refuses callers who may not see the recordings of a scope. The parties of a booking and admins may, the host of
    /// a live room, and the admins of a nest.
    pub(super) async fn may_read(&self, caller: &Caller, scope: RecordingScope) -> Result<(), Error> {
        let RecordingScope::Session(id) = scope else {
            return self.may_record(caller, scope).await.map(drop);
        };
        let session = owners::find_session(&self.rooms.pool, id).await?.ok_or(Error::NoSession)?;
        let is_party = session.parties().role_of(&caller.user_id).is_some();
        if is_party || caller.is_admin { Ok(()) } else { Err(Error::NotParticipant) }
    }
}

impl RecordingScope {
    /// The signed request for a recording of a nest. `None` for other scopes, and for what Greenroom starts by itself.
    pub(super) fn event<'a>(self, key: &str, proof: Option<&'a Proof>) -> Result<Option<Event<'a>>, Error> {
        match (self, proof) {
            (Self::Nest(nest), Some(proof)) => Ok(Some(Event::new(proof, key, Some(nest))?)),
            _ => Ok(None),
        }
    }
}

/// The error for a start in a room whose owner is not open.
pub(super) fn closed(scope: RecordingScope, reason: Option<EndedReason>) -> Error {
    match scope {
        RecordingScope::Session(_) => kinds::closed(OwnerKind::Session, reason),
        RecordingScope::LiveRoom(_) => RecordingError::NotActive.into(),
        RecordingScope::Nest(_) => RecordingError::NoNest.into(),
    }
}
