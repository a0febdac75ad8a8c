//! Calls to LiveKit about one participant. Each has its own timeout and its own back-off: a call that LiveKit does not
//! answer delays neither the check of its room nor the calls about other participants.

use chassis::db::DatabaseError;
use domain::RoomId;
use time::OffsetDateTime;

use super::Rooms;
use crate::{error::Error, lanes::Run};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Remove,
    SetPermission,
}

/// Identifies a call. A participant that joins again has another SID, and so no back-off.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallKey {
    pub call: Call,
    pub room: RoomId,
    pub identity: String,
    /// None: LiveKit does not list them.
    pub sid: Option<String>,
}

impl Rooms {
    /// Makes a call, unless the same one is in progress or backs off. Returns when it has ended or is slow. A slow call
    /// continues in the background. A call that has not succeeded by then returns [`Error::Unfinished`].
    pub(crate) async fn call_participant<T: Send + 'static>(
        &self,
        key: CallKey,
        now: OffsetDateTime,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        if self.lanes.participants.is_backing_off(&key, now) {
            return Err(Error::Unfinished);
        }
        match self.lanes.participants.run(&key, call).await {
            Run::Done(outcome) => self.note_call(&key, now, Some(outcome)),
            Run::Dropped => self.note_call(&key, now, None),
            Run::Busy => Err(Error::Unfinished),
            Run::Slow(rest) => {
                // A tracked task: the rest is polled although its caller does not wait any more.
                let rooms = self.clone();
                self.lifecycle.spawn("participant call", async move {
                    let outcome = rest.await;
                    rooms.note_call(&key, now, outcome).map(drop)
                });
                Err(Error::Unfinished)
            }
        }
    }

    /// Records how a call ended. None: it was dropped.
    fn note_call<T>(
        &self,
        key: &CallKey,
        now: OffsetDateTime,
        outcome: Option<Result<T, Error>>,
    ) -> Result<T, Error> {
        let error = match outcome {
            Some(Ok(answer)) => {
                self.lanes.participants.note(key, false, now);
                return Ok(answer);
            }
            Some(Err(error)) => error,
            None => Error::Unsettled,
        };
        self.lanes.participants.note(key, true, now);
        // No refusal follows that would note it.
        error.database().inspect(|error| chassis::db::note(error));
        tracing::warn!(%error, room.id = %key.room, call = ?key.call, "a call about a participant failed; it will be retried");
        Err(Error::Unfinished)
    }
}
