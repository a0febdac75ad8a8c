//! Applies the committed change of an owner to LiveKit. The caller waits at most 3 s for a new room, and for everything
//! else at most the answer timeout. Work that takes longer continues in the background. A pass retries what fails.

use domain::Owner;

use super::{Rooms, policy::ROOM_TIMEOUT, store::Record};
use crate::error::Error;

/// What LiveKit needs after a change of an owner.
pub(crate) enum Work {
    /// Nothing.
    Rest,
    /// The owner needs its room. The intent is given if it was written just now.
    Open(Option<Box<Record>>),
    /// The room is reconciled with its owner, and closed if the owner has ended.
    Reconcile,
}

impl Rooms {
    /// Creates or reconciles the owner's room. Logs a failure; a pass retries it.
    pub(crate) async fn apply_to_livekit(&self, owner: Owner, work: Work) {
        let rooms = self.clone();
        let outcome = match work {
            Work::Rest => return,
            Work::Open(intent) => {
                let flow =
                    self.run("open room", Box::pin(async move { rooms.open_room(owner, intent).await }));
                tokio::time::timeout(ROOM_TIMEOUT, flow).await
            }
            Work::Reconcile => {
                let flow =
                    self.run("settle room", Box::pin(async move { rooms.reconcile_owner(owner).await }));
                tokio::time::timeout(self.answer_timeout, flow).await
            }
        };
        match outcome {
            Ok(Ok(()) | Err(Error::Closed { .. })) => {} // closed: it has ended meanwhile
            Ok(Err(error)) => {
                tracing::warn!(%error, room.owner = %owner.id(), "applying a change to LiveKit failed; it will be retried");
            }
            Err(_) => {
                tracing::warn!(room.owner = %owner.id(), "timed out waiting for LiveKit; continuing in the background");
            }
        }
    }

    async fn open_room(&self, owner: Owner, intent: Option<Box<Record>>) -> Result<(), Error> {
        if let Some(intent) = intent {
            let mut state = self.flow_locks.lock(owner.id()).await;
            if state.remember_failure(self.create_on_livekit(&intent).await)?.is_some() {
                return Ok(());
            }
        }
        self.ensure(owner, false).await.map(drop)
    }
}
