//! Recording (I11): a room has at most one open recording. Every open recording is closed at some time, whatever
//! happens to it on LiveKit.
//!
//! As everywhere, the intent is committed first ([`start`]). The path of the file contains the recording's id, so that
//! a recording on LiveKit is found even if LiveKit's answer was lost. The watch compares the open recordings with what
//! LiveKit lists ([`watch`]), and [`decide`] decides the next step. An end is written once. A complete recording is
//! announced when its file was found ([`files`]).

pub mod decide;
mod error;
pub mod files;
mod grpc;
pub mod output;
mod read;
mod remove;
pub mod settings;
mod start;
mod stop;
pub mod store;
mod streams;
pub(crate) mod watch;

use std::slice;

use chassis::status::Refusal;
use domain::{Owner, RecordingId};
use proto::{
    room::v1::{Proof, RecordingPlace, recording_place::Place as Wire},
    types::v1::Caller,
};
use sqlx::{Postgres, Transaction};

pub use self::store::{Recording, RecordingScope};
pub use self::{error::RecordingError, start::StartRequest};
use crate::{
    error::Error,
    live::{
        LiveError,
        store::{RoomReader, rooms},
    },
    nests::store::participants,
    rooms::{Rooms, store::owners},
    signed,
};

/// The scope of a request.
fn scope(place: Option<RecordingPlace>) -> Result<RecordingScope, Refusal> {
    use chassis::grpc::uuid;
    match place.and_then(|place| place.place) {
        Some(Wire::SessionId(id)) => Ok(RecordingScope::Session(uuid("session_id", &id)?)),
        Some(Wire::LiveRoomId(id)) => Ok(RecordingScope::LiveRoom(uuid("room_id", &id)?)),
        Some(Wire::NestId(id)) => Ok(RecordingScope::Nest(uuid("nest_id", &id)?)),
        None => Err(Refusal::invalid("place", "must be one")),
    }
}

impl Rooms {
    /// Refuses callers who may not start, stop and delete recordings of a scope. Returns the owner of the room that can
    /// be recorded now.
    async fn may_record(&self, caller: &Caller, scope: RecordingScope) -> Result<Owner, Error> {
        match scope {
            RecordingScope::Session(id) => {
                let session = owners::find_session(&self.pool, id).await?.ok_or(Error::NoSession)?;
                if caller.user_id == session.host_id {
                    Ok(Owner::Session(id))
                } else if caller.user_id == session.guest_id {
                    Err(Error::NotHost)
                } else {
                    Err(Error::NotParticipant)
                }
            }
            RecordingScope::LiveRoom(id) => {
                let live = rooms::find_readable(&self.pool, id, RoomReader::from(caller)).await?;
                let live = live.ok_or(LiveError::NoRoom)?;
                if live.room.host_user_id != caller.user_id {
                    return Err(Error::NotHost);
                }
                Ok(Owner::LiveSession(live.room.open_session.unwrap_or_default()))
            }
            // Also for a nest that is over: its admins keep its recordings.
            RecordingScope::Nest(id) => {
                let found =
                    participants::list_participants(&self.pool, id, slice::from_ref(&caller.user_id)).await?;
                match found.first() {
                    Some(one) if one.is_admin => Ok(Owner::Nest(id)),
                    _ => Err(RecordingError::NotAdmin.into()),
                }
            }
        }
    }

    /// Refuses callers who may not see the recordings of a scope. The parties of a booking and admins may, the host of
    /// a live room, and the admins of a nest.
    async fn may_read(&self, caller: &Caller, scope: RecordingScope) -> Result<(), Error> {
        let RecordingScope::Session(id) = scope else {
            return self.may_record(caller, scope).await.map(drop);
        };
        let session = owners::find_session(&self.pool, id).await?.ok_or(Error::NoSession)?;
        let is_party = [&session.host_id, &session.guest_id].contains(&&caller.user_id);
        if is_party || caller.is_admin { Ok(()) } else { Err(Error::NotParticipant) }
    }

    /// Begins the transaction of a change. The proof of a signed request is the first write in it.
    async fn begin_change(&self, proof: Option<&Proof>) -> Result<Transaction<'static, Postgres>, Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        if let Some(proof) = proof {
            signed::accept(&mut transaction, proof).await?;
        }
        Ok(transaction)
    }

    /// One of the scope's recordings that are not deleted.
    async fn recording_of(&self, scope: RecordingScope, id: RecordingId) -> Result<Recording, Error> {
        let found = store::list_recordings(&self.pool, scope, Some(id), None, 1).await?.pop();
        Ok(found.ok_or(RecordingError::NoRecording)?)
    }
}
