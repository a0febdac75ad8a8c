//! Seats follow what LiveKit shows. After every check of a live room its seats, `host_present` and the peak are made
//! equal to what LiveKit shows. The pass releases seats whose hold has expired.

use chassis::db::retry_on_contention;
use domain::{LiveSessionId, RoomId};
use sqlx::{PgConnection, PgPool};

use super::{
    LiveRooms,
    store::{
        attendance::{self, Locked},
        lobby, seats, sessions,
    },
};
use crate::error::Error;

/// How many seats one pass releases at most.
const RELEASE_LIMIT: i64 = 5_000;
/// In how many sessions one pass admits waiting users at most.
const ADMIT_LIMIT: i64 = 500;

impl LiveRooms {
    /// Releases seats whose hold has expired, and admits waiting users to the free seats.
    pub async fn release_held(&self) -> Result<(), Error> {
        attendance::set_released(&self.rooms.pool, RELEASE_LIMIT).await?;
        for session in lobby::list_sessions_to_admit(&self.rooms.pool, ADMIT_LIMIT).await? {
            retry_on_contention(|| self.admit_in(session)).await?;
        }
        Ok(())
    }

    async fn admit_in(&self, session: LiveSessionId) -> Result<(), Error> {
        let mut transaction = chassis::db::begin(&self.rooms.pool).await?;
        if seats::lock_session(&mut *transaction, session).await? {
            lobby::admit_waiting(&mut transaction, session).await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// Makes the seats of a live room's session equal to what LiveKit shows. Writes nothing when they are equal
/// already, or when the room belongs to no live session.
pub async fn project_presence(pool: &PgPool, livekit_room: RoomId) -> Result<(), Error> {
    if !attendance::is_stale(pool, livekit_room).await? {
        return Ok(());
    }
    retry_on_contention(|| lock_and_project(pool, livekit_room)).await
}

async fn lock_and_project(pool: &PgPool, livekit_room: RoomId) -> Result<(), Error> {
    let mut transaction = chassis::db::begin(pool).await?;
    // Locks: first the live room, then its session.
    let Some(live) = attendance::lock_room(&mut *transaction, livekit_room).await? else { return Ok(()) };
    if !seats::lock_session(&mut *transaction, live.session).await? {
        return Ok(());
    }
    project(&mut transaction, live, livekit_room).await?;
    Ok(transaction.commit().await?)
}

/// Makes the seats equal to what LiveKit shows. The caller has locked the live room and its session.
pub(crate) async fn project(
    transaction: &mut PgConnection,
    live: Locked,
    livekit_room: RoomId,
) -> Result<(), Error> {
    attendance::insert_missing_participants(&mut *transaction, livekit_room).await?;
    attendance::set_seats(&mut *transaction, livekit_room).await?;
    if attendance::set_numbers(&mut *transaction, livekit_room).await? {
        sessions::refresh_projection(&mut *transaction, live.room).await?;
    }
    Ok(())
}
