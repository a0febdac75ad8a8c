//! Finds what a reference names, and checks who may know of it: the parties of a booking, the readers of a live room,
//! and every caller for a nest. Admins and operators may know of all rooms.

use chassis::status::Reason;
use domain::{LiveRoomId, LiveStatus, NestId, Owner, Role, SessionId, TargetKind, diagnosis::Cause};
use proto::types::v1::Caller;
use uuid::Uuid;

use super::{
    Decision, Diagnoses, JoinStatus,
    reference::{self, Reference},
    store::{self, Named},
};
use crate::{
    error::Error,
    live::{
        predict_join,
        store::{RoomReader, seats},
    },
    rooms::store::owners,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: TargetKind,
    pub id: Uuid,
}

/// What a reference names, for a caller who may know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundTarget {
    Room(Target),
    /// The id of something else, and the room that it belongs to.
    Other {
        names: &'static str,
        belongs_to: Target,
    },
}

/// The caller's relation to a room that the caller may know of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub is_host: bool,
    /// The caller is an admin or one of our own services.
    pub is_admin: bool,
    /// `None`: the live room has no session that can be joined.
    pub owner: Option<Owner>,
}

impl Diagnoses {
    /// Finds what a reference names. `None`: it does not exist, or the caller may not know of it.
    pub async fn find_target(
        &self,
        caller: Option<&Caller>,
        reference: &str,
    ) -> Result<Option<FoundTarget>, Error> {
        let named = match reference::parse(reference) {
            None => return Ok(None),
            Some(Reference::Id(id)) => store::find_named(&self.rooms.pool, id).await?,
            Some(Reference::RoomName(name)) => store::find_named_room(&self.rooms.pool, &name).await?,
            Some(Reference::Meeting(id)) => {
                store::find_named(&self.rooms.pool, id.0).await?.filter(|named| named.is("session"))
            }
            Some(Reference::Nest(id)) => {
                store::find_named(&self.rooms.pool, id.0).await?.filter(|named| named.is("nest"))
            }
        };
        let Some((named, target)) = named.and_then(|named| Some((named.clone(), named.target()?))) else {
            return Ok(None);
        };
        let may_know = named.user_id.as_deref().is_none_or(|user| {
            super::is_admin(caller) || caller.is_some_and(|caller| caller.user_id == user)
        });
        if !may_know || self.access(caller, target).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(match named.names_instead() {
            None => FoundTarget::Room(target),
            Some(other) => FoundTarget::Other { names: other, belongs_to: target },
        }))
    }

    /// The caller's access to a room. `None`: the caller may not know of it, or it was deleted.
    pub(super) async fn access(
        &self,
        caller: Option<&Caller>,
        target: Target,
    ) -> Result<Option<Access>, Error> {
        let is_admin = super::is_admin(caller);
        Ok(match target.kind {
            TargetKind::Session => {
                let Some(session) = owners::find_session(&self.rooms.pool, SessionId(target.id)).await?
                else {
                    return Ok(None);
                };
                let role = caller.and_then(|caller| session.parties().role_of(&caller.user_id));
                let (is_host, owner) = (role == Some(Role::Host), Owner::Session(SessionId(target.id)));
                (is_admin || role.is_some()).then_some(Access { is_host, is_admin, owner: Some(owner) })
            }
            TargetKind::LiveRoom => {
                let Some(caller) = caller else { return Ok(None) };
                let view =
                    seats::find_seat_view(&self.rooms.pool, LiveRoomId(target.id), RoomReader::from(caller))
                        .await?;
                view.filter(|view| view.may_read).map(|view| {
                    let session = view.session.filter(|_| view.status.is_some_and(LiveStatus::has_room));
                    Access { is_host: view.is_host, is_admin, owner: session.map(Owner::LiveSession) }
                })
            }
            TargetKind::Nest => {
                store::find_nest_host(&self.rooms.pool, NestId(target.id)).await?.map(|host| Access {
                    is_host: caller.is_some_and(|caller| caller.user_id == host),
                    is_admin,
                    owner: Some(Owner::Nest(NestId(target.id))),
                })
            }
        })
    }

    /// Whether the caller may join: the token service's decision, and for live rooms the outcome of a join.
    pub(super) async fn join_status(
        &self,
        access: &Access,
        caller: Option<&Caller>,
        target: Target,
        decision: Decision,
    ) -> Result<JoinStatus, Error> {
        let system = caller.is_some_and(|caller| caller.system);
        Ok(match (decision, target.kind) {
            _ if system => JoinStatus::Observer,
            // A nest adds new participants at their first join.
            (None, _) | (Some(Reason::NotParticipant), TargetKind::Nest) => JoinStatus::Admitted,
            (Some(Reason::NotParticipant), TargetKind::LiveRoom) => {
                self.would_be_seated(caller, LiveRoomId(target.id)).await?
            }
            (Some(Reason::NotParticipant), TargetKind::Session) if access.is_admin => JoinStatus::Observer,
            (Some(Reason::RoomNotFound), TargetKind::Nest) => {
                let nest = owners::find_status(&self.rooms.pool, Owner::Nest(NestId(target.id))).await?;
                let open = nest.is_some_and(|nest| nest.open);
                // The nest is open, but not for guests.
                JoinStatus::Refused(if open { Cause::Unauthenticated } else { Cause::RoomNotActive })
            }
            (Some(reason), _) => JoinStatus::Refused(Cause::from(reason)),
        })
    }

    /// The outcome of a join, without taking the seat.
    async fn would_be_seated(&self, caller: Option<&Caller>, room: LiveRoomId) -> Result<JoinStatus, Error> {
        let Some(caller) = caller else { return Ok(JoinStatus::Refused(Cause::Unauthenticated)) };
        match predict_join(&self.rooms.pool, caller, room).await {
            Ok(true) => Ok(JoinStatus::Admitted),
            Ok(false) => Ok(JoinStatus::Refused(Cause::WaitingInLobby)),
            Err(Error::Refused { refusal, .. }) => Ok(JoinStatus::Refused(Cause::from(refusal.reason))),
            Err(error) => Err(error),
        }
    }
}

impl Named {
    fn is(&self, kind: &str) -> bool {
        self.names == kind
    }

    fn target(&self) -> Option<Target> {
        Some(Target { kind: self.kind.parse().ok()?, id: self.target? })
    }

    /// The kind of an id that is not a room's own. `None`: the reference names the room itself.
    fn names_instead(&self) -> Option<&'static str> {
        ["live_session", "livekit_room", "notification"].into_iter().find(|kind| self.is(kind))
    }
}
