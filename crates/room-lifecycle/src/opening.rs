//! What LiveKit is told of an owner once its change is committed. A room is waited for at most 3 s, everything else as long
//! as an answer may wait: what does not come in time goes on without us, and what fails a pass does again.

use std::time::Duration;

use domain::{LiveStatus, Owner, RoomStatus};

use crate::{
    Rooms,
    error::Error,
    store::{Record, live::LiveSession},
};

/// How long an answer waits for a room.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) enum Work {
    Rest,
    /// The owner needs its room; the intent, if it was written just now.
    Open(Option<Box<Record>>),
    /// The room is brought in line with its owner: closed, if that is over.
    Settle,
}

impl Work {
    /// For a session that has become so.
    pub fn of(status: LiveStatus, intent: Option<Box<Record>>) -> Self {
        match status {
            LiveStatus::Scheduled => Self::Rest,
            LiveStatus::Lobby | LiveStatus::Live => Self::Open(intent),
            LiveStatus::Ended | LiveStatus::Cancelled => Self::Settle,
        }
    }

    /// For a session that stays as it is.
    pub fn lacking(open: &LiveSession) -> Self {
        let lacks = open.status.has_room() && open.livekit != Some(RoomStatus::Active);
        if lacks { Self::Open(None) } else { Self::Rest }
    }
}

impl Rooms {
    /// Has the owner's room made, or brought in line.
    pub(crate) async fn apply_to_livekit(&self, owner: Owner, work: Work) {
        let rooms = self.clone();
        let told = match work {
            Work::Rest => return,
            Work::Open(intent) => {
                let flow =
                    self.run("open room", Box::pin(async move { rooms.open_room(owner, intent).await }));
                tokio::time::timeout(PATIENCE, flow).await
            }
            Work::Settle => {
                let flow =
                    self.run("settle room", Box::pin(async move { rooms.reconcile_owner(owner).await }));
                tokio::time::timeout(self.patience.answer, flow).await
            }
        };
        match told {
            Ok(Ok(()) | Err(Error::Closed(..))) => {} // closed: over already
            Ok(Err(error)) => {
                tracing::warn!(%error, room.owner = %owner.id(), "LiveKit does not have what a room's owner needs yet");
            }
            Err(_) => {
                tracing::warn!(room.owner = %owner.id(), "LiveKit takes its time; the answer does not wait");
            }
        }
    }

    async fn open_room(&self, owner: Owner, intent: Option<Box<Record>>) -> Result<(), Error> {
        if let Some(intent) = intent {
            let mut gate = self.gates.enter(owner.id()).await;
            if gate.noting(self.make(&intent).await)?.is_some() {
                return Ok(());
            }
        }
        self.ensure(owner, false).await.map(drop)
    }
}
