//! Seats follow what LiveKit shows: after every look of a live room its seats, `host_present` and the peak are made
//! equal to it, and the pass releases the seats that nobody came back to.

use chassis::db::retried;
use domain::{LiveSessionId, RoomId};
use sqlx::PgConnection;

use crate::{
    Rooms,
    error::Error,
    store::live::{
        attendance::{self, Locked},
        lobby, seats, sessions,
    },
};

/// Seats released by one pass.
const RELEASED: i64 = 5_000;
/// Sessions in which one pass lets people in.
const ADMITTING: i64 = 500;

impl Rooms {
    /// Makes the seats of a live room's session equal to what LiveKit shows; writes nothing when they are. Of other
    /// rooms there is nothing to do.
    pub async fn project_presence(&self, livekit_room: RoomId) -> Result<(), Error> {
        if !attendance::is_stale(&self.pool, livekit_room).await? {
            return Ok(());
        }
        retried(|| self.lock_and_project(livekit_room)).await
    }

    async fn lock_and_project(&self, livekit_room: RoomId) -> Result<(), Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        let Some(live) = attendance::lock_room(&mut *transaction, livekit_room).await? else { return Ok(()) };
        if !seats::lock_session(&mut *transaction, live.session).await? {
            return Ok(());
        }
        project(&mut transaction, live, livekit_room).await?;
        Ok(transaction.commit().await?)
    }

    /// Releases seats that are held no longer, and gives what is free to those who wait for it.
    pub async fn release_held(&self) -> Result<(), Error> {
        attendance::set_released(&self.pool, RELEASED).await?;
        for session in lobby::list_sessions_to_admit(&self.pool, ADMITTING).await? {
            retried(|| self.let_in(session)).await?;
        }
        Ok(())
    }

    async fn let_in(&self, session: LiveSessionId) -> Result<(), Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        if seats::lock_session(&mut *transaction, session).await? {
            lobby::admit_waiting(&mut transaction, session).await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// Makes the seats equal to what LiveKit shows; the live room and its session are locked.
pub(crate) async fn project(
    transaction: &mut PgConnection,
    live: Locked,
    livekit_room: RoomId,
) -> Result<(), Error> {
    attendance::insert_unknown_people(&mut *transaction, livekit_room).await?;
    attendance::set_seats(&mut *transaction, livekit_room).await?;
    if attendance::set_numbers(&mut *transaction, livekit_room).await? {
        sessions::refresh_projection(&mut *transaction, live.room).await?;
    }
    Ok(())
}
