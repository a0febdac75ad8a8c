//! What a reference names, and who may know of it: of a booking its parties, of a live room its readers, of a nest
//! anybody; admins and operators of all.

use chassis::{
    diagnosis::Cause,
    status::{Reason, Refusal},
};
use domain::{LiveRoomId, LiveStatus, NestId, Owner, SessionId, TargetKind};
use proto::types::v1::Caller;
use uuid::Uuid;

use super::{
    Decision, Standing,
    reference::{self, Reference},
};
use crate::{
    Rooms,
    error::Error,
    live::{LiveError, predict_join},
    store::{
        self,
        diagnosis::{self as sql, Named},
        live::{RoomReader, seats},
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: TargetKind,
    pub id: Uuid,
}

/// What a reference leads to, for somebody who may know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundTarget {
    Room(Target),
    /// An id of another kind of thing, and the room that it belongs to.
    Other {
        names: &'static str,
        belongs_to: Target,
    },
}

/// What somebody is to a room that he may know of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub is_host: bool,
    /// Admins, and our own services.
    pub is_admin: bool,
    /// None: nothing is on in the live room.
    pub owner: Option<Owner>,
}

impl Rooms {
    /// None: there is no such thing, or none for this caller.
    pub async fn find_target(
        &self,
        caller: Option<&Caller>,
        reference: &str,
    ) -> Result<Option<FoundTarget>, Error> {
        let named = match reference::parse(reference) {
            None => return Ok(None),
            Some(Reference::Id(id)) => sql::find_named(&self.pool, id).await?,
            Some(Reference::RoomName(name)) => sql::find_named_room(&self.pool, &name).await?,
            Some(Reference::Meeting(id)) => {
                sql::find_named(&self.pool, id.0).await?.filter(|named| named.is("session"))
            }
            Some(Reference::Nest(id)) => {
                sql::find_named(&self.pool, id.0).await?.filter(|named| named.is("nest"))
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

    /// None: the caller may not know of it, or it is gone.
    pub(super) async fn access(
        &self,
        caller: Option<&Caller>,
        target: Target,
    ) -> Result<Option<Access>, Error> {
        let is_admin = super::is_admin(caller);
        Ok(match target.kind {
            TargetKind::Session => {
                let Some(session) = store::owners::find_session(&self.pool, SessionId(target.id)).await?
                else {
                    return Ok(None);
                };
                let is = |party: &str| caller.is_some_and(|caller| caller.user_id == party);
                let (is_host, is_guest) = (is(&session.host_id), is(&session.guest_id));
                let owner = Some(Owner::Session(SessionId(target.id)));
                (is_admin || is_host || is_guest).then_some(Access { is_host, is_admin, owner })
            }
            TargetKind::LiveRoom => {
                let Some(caller) = caller else { return Ok(None) };
                let place =
                    seats::find_place(&self.pool, LiveRoomId(target.id), RoomReader::from(caller)).await?;
                place.filter(|place| place.may_read).map(|place| {
                    let session = place.session.filter(|_| place.status.is_some_and(LiveStatus::has_room));
                    Access { is_host: place.is_host, is_admin, owner: session.map(Owner::LiveSession) }
                })
            }
            TargetKind::Nest => {
                sql::find_nest_host(&self.pool, NestId(target.id)).await?.map(|host| Access {
                    is_host: caller.is_some_and(|caller| caller.user_id == host),
                    is_admin,
                    owner: Some(Owner::Nest(NestId(target.id))),
                })
            }
        })
    }

    /// Whether the caller may come in: the token's decision, and what joining would make of it.
    pub(super) async fn standing(
        &self,
        access: &Access,
        caller: Option<&Caller>,
        target: Target,
        decision: Decision,
    ) -> Result<Standing, Error> {
        let system = caller.is_some_and(|caller| caller.system);
        Ok(match (decision, target.kind) {
            _ if system => Standing::Observer,
            // To a nest the first join adds whoever comes.
            (None, _) | (Some(Reason::NotParticipant), TargetKind::Nest) => Standing::Admitted,
            (Some(Reason::NotParticipant), TargetKind::LiveRoom) => {
                self.would_be_seated(caller, LiveRoomId(target.id)).await?
            }
            (Some(Reason::NotParticipant), TargetKind::Session) if access.is_admin => Standing::Observer,
            (Some(Reason::RoomNotFound), TargetKind::Nest) => {
                let nest = store::owners::find_standing(&self.pool, Owner::Nest(NestId(target.id))).await?;
                let open = nest.is_some_and(|nest| nest.open);
                // It is open, but not to guests.
                Standing::Refused(if open { Cause::Unauthenticated } else { Cause::RoomNotActive })
            }
            (Some(reason), _) => Standing::Refused(Cause::of(reason)),
        })
    }

    /// What a join would lead to, without taking the seat.
    async fn would_be_seated(&self, caller: Option<&Caller>, room: LiveRoomId) -> Result<Standing, Error> {
        let Some(caller) = caller else { return Ok(Standing::Refused(Cause::Unauthenticated)) };
        match predict_join(&self.pool, caller, room).await {
            Ok(true) => Ok(Standing::Admitted),
            Ok(false) => Ok(Standing::Refused(Cause::WaitingInLobby)),
            Err(Error::Live(why)) => Ok(Standing::Refused(Cause::of(refused_by(why)))),
            Err(error) => Err(error),
        }
    }
}

fn refused_by(why: LiveError) -> Reason {
    Refusal::from(why).reason
}

impl Named {
    fn is(&self, kind: &str) -> bool {
        self.names == kind
    }

    fn target(&self) -> Option<Target> {
        Some(Target { kind: self.kind.parse().ok()?, id: self.target? })
    }

    /// None: the reference is one that a room is known by.
    fn names_instead(&self) -> Option<&'static str> {
        ["live_session", "livekit_room", "notification"].into_iter().find(|kind| self.is(kind))
    }
}
