//! Deletes rooms, also where LiveKit answers wrongly (livekit.md §2.3; decisions/0020).
//!
//! Two answers are wrong. DeleteRoom of a room on a dead node answers 503 `unavailable` after 3 s, every time, and the
//! room stays: CreateRoom moves it to another node in milliseconds. DeleteRoom of a room that exists while Redis has
//! lost its data answers 404, even after CreateRoom has returned it. LiveKit writes it to Redis when a participant
//! joins; then DeleteRoom works.

use std::time::Duration;

use livekit_api::services::{ServiceResult, room::CreateRoomOptions};

use super::{LiveKit, LiveKitError, timed};

/// A DeleteRoom or a CreateRoom that takes longer has met a dead node. LiveKit itself waits 3 s, and longer in the
/// first 5 s after a crash. A participant that joined with an old token must not stay for that time (I9).
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

impl LiveKit {
    /// Deletes a room that LiveKit lists and that no open owner needs. Idempotent: `Ok` if it is not found.
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

    /// Deletes a room that Redis may have lost, where `not_found` does not prove that it is gone. Only for a name that
    /// a committed row has retired, because it may create the room in order to delete it. `again`: an attempt has
    /// failed before.
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
        timed("Connect", Box::pin(self.signal.connect(name))).await?;
        self.call("DeleteRoom", Box::pin(self.write.delete_room(name))).await
    }

    fn check_ours(&self) -> Result<(), LiveKitError> {
        if self.may_delete() { Ok(()) } else { Err(LiveKitError::NotOurs) }
    }

    async fn try_delete(&self, name: &str) -> Result<(), LiveKitError> {
        self.call("DeleteRoom", Box::pin(with_timeout(self.write.delete_room(name)))).await
    }

    /// Moves the room to a running node by CreateRoom, which may create it, and deletes it there.
    async fn take_over(&self, name: &str) -> Result<(), LiveKitError> {
        let creation = self.write.create_room(name, CreateRoomOptions::default());
        self.call("CreateRoom", Box::pin(with_timeout(creation))).await?;
        self.call("DeleteRoom", Box::pin(self.write.delete_room(name))).await
    }
}

/// Bounds a call by [`ATTEMPT_TIMEOUT`].
async fn with_timeout<T>(call: impl Future<Output = ServiceResult<T>>) -> Result<T, LiveKitError> {
    match tokio::time::timeout(ATTEMPT_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(LiveKitError::Unknown(format!("no answer within {ATTEMPT_TIMEOUT:?}"))),
    }
}

impl LiveKitError {
    /// Whether this failure of DeleteRoom leaves open that the room exists.
    fn is_no_proof(&self) -> bool {
        matches!(self, Self::NotFound) || self.may_be_a_dead_node()
    }

    /// Whether a call may have met a dead node. Nothing is known about its effect.
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
