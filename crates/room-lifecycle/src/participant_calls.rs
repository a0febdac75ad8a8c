//! Calls to LiveKit about one participant. Each has its own time and its own back-off: one that LiveKit does not
//! answer delays neither the look at its room nor the calls about other participants.

use chassis::db::DatabaseError;
use domain::RoomId;
use time::OffsetDateTime;

use crate::{Rooms, error::Error, lanes::Run};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Remove,
    SetPermission,
}

/// What a call is about. A participant who joins again has another SID, and no back-off.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct About {
    pub call: Call,
    pub room: RoomId,
    pub identity: String,
    /// None: LiveKit does not list them.
    pub sid: Option<String>,
}

impl Rooms {
    /// Makes a call, unless one of its kind is under way or backs off. Returns when it has ended or is slow; a slow call
    /// continues in the background. What has not succeeded by then is [`Error::Unfinished`].
    pub(crate) async fn call_about<T: Send + 'static>(
        &self,
        about: About,
        now: OffsetDateTime,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        if self.lanes.participants.is_backing_off(&about, now) {
            return Err(Error::Unfinished);
        }
        match self.lanes.participants.run(&about, call).await {
            Run::Done(outcome) => self.note_call(&about, now, Some(outcome)),
            Run::Dropped => self.note_call(&about, now, None),
            Run::Busy => Err(Error::Unfinished),
            Run::Slow(rest) => {
                let rooms = self.clone();
                self.lifecycle.spawn("participant call", async move {
                    let outcome = rest.await;
                    rooms.note_call(&about, now, outcome).map(drop)
                });
                Err(Error::Unfinished)
            }
        }
    }

    /// Records how a call ended; None: it was dropped.
    fn note_call<T>(
        &self,
        about: &About,
        now: OffsetDateTime,
        outcome: Option<Result<T, Error>>,
    ) -> Result<T, Error> {
        let error = match outcome {
            Some(Ok(answer)) => {
                self.lanes.participants.note(about, false, now);
                return Ok(answer);
            }
            Some(Err(error)) => error,
            None => Error::Unsettled,
        };
        self.lanes.participants.note(about, true, now);
        error.database().inspect(|error| chassis::db::note(error));
        tracing::warn!(%error, room.id = %about.room, call = ?about.call, "a call about a participant failed; it is tried again");
        Err(Error::Unfinished)
    }
}
