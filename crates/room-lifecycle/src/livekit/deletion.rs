//! Rooms go, whatever LiveKit's store says of them (livekit.md §2.3; decisions/0020).
//!
//! Two of its answers are not the truth. A room of a node that died answers 503 `unavailable` after 3 s, every time,
//! and stays: CreateRoom takes it over in milliseconds. A room that lives while Redis has lost its data answers 404,
//! also after CreateRoom has returned it: it is written to Redis when someone joins it. Then DeleteRoom works.

use std::time::Duration;

use livekit_api::services::{ServiceResult, room::CreateRoomOptions};

use super::{LiveKit, LiveKitError, timed};

/// A DeleteRoom or a CreateRoom that takes longer meets a node that is gone: LiveKit itself gives up after 3 s, in the first
/// 5 s after a crash later. Whoever came in with an old token must not be in the room for as long (I9).
pub(super) const ATTEMPT: Duration = Duration::from_secs(1);

impl LiveKit {
    /// Deletes a room that LiveKit lists and that no open owner needs. `Ok` when it is gone, whoever deleted it.
    pub async fn delete_room(&self, name: &str) -> Result<(), LiveKitError> {
        self.check_ours()?;
        let deleted = match self.try_delete(name).await {
            Err(error) if error.may_be_a_dead_node() => self.take_over(name).await,
            outcome => outcome,
        };
        match deleted {
            Err(LiveKitError::NotFound) => Ok(()),
            outcome => outcome,
        }
    }

    /// The same for a room that LiveKit's store may have forgotten: `not_found` is no proof that it is gone. Only for a
    /// name that a committed row has retired, because it may create the room to delete it. `again`: an attempt failed.
    pub async fn close_room(&self, name: &str, again: bool) -> Result<(), LiveKitError> {
        self.check_ours()?;
        let deleted = if again { Err(LiveKitError::NotFound) } else { self.try_delete(name).await };
        match deleted {
            Err(error) if error.is_no_proof() => {}
            outcome => return outcome,
        }
        match self.take_over(name).await {
            Err(LiveKitError::NotFound) => {}
            outcome => return outcome,
        }
        timed("Connect", Box::pin(self.signal.knock(name))).await?;
        self.call("DeleteRoom", Box::pin(self.write.delete_room(name))).await
    }

    fn check_ours(&self) -> Result<(), LiveKitError> {
        if self.may_delete() { Ok(()) } else { Err(LiveKitError::NotOurs) }
    }

    async fn try_delete(&self, name: &str) -> Result<(), LiveKitError> {
        self.call("DeleteRoom", Box::pin(briefly(self.write.delete_room(name)))).await
    }

    /// Has a node that lives take the room, or create it, and deletes it there.
    async fn take_over(&self, name: &str) -> Result<(), LiveKitError> {
        let creation = self.write.create_room(name, CreateRoomOptions::default());
        self.call("CreateRoom", Box::pin(briefly(creation))).await?;
        self.call("DeleteRoom", Box::pin(self.write.delete_room(name))).await
    }
}

async fn briefly<T>(call: impl Future<Output = ServiceResult<T>>) -> Result<T, LiveKitError> {
    match tokio::time::timeout(ATTEMPT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(LiveKitError::Unknown(format!("no answer within {ATTEMPT:?}"))),
    }
}

impl LiveKitError {
    /// Whether DeleteRoom may have failed on a room that is there.
    fn is_no_proof(&self) -> bool {
        matches!(self, Self::NotFound) || self.may_be_a_dead_node()
    }

    /// Whether a call may have found a room under a node that is gone. Nothing is known of its effect.
    fn may_be_a_dead_node(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                matches!(code.as_str(), "unavailable" | "unknown" | "deadline_exceeded")
            }
            Self::Unknown(_) | Self::Unreadable(_) => true,
            Self::NotFound | Self::NotOurs | Self::KeyRefused(_) | Self::Unreachable(_) => false,
        }
    }
}
