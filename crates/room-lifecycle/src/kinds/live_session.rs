//! Live sessions: their seats follow the participants, their roles can change, and they end when they stay empty.
//!
//! After every check of a live room its seats, `host_present` and the peak are made equal to what LiveKit shows.

pub mod store;

use chassis::{
    db::retry_on_contention,
    status::{Reason, Refusal},
};
use domain::{EndReason, LiveSessionId, LiveStatus, RoomId, SeatRole};
use sqlx::{PgConnection, PgPool};
use time::Duration;

use self::store::Locked;
use super::Roles;
use crate::error::Error;

/// How long a seat is held after a disconnect (correctness.md §5).
pub(crate) const DISCONNECT_HOLD: Duration = Duration::minutes(2);
/// A user who gave up the seat and is still on LiveKit after this time has not left. LiveKit drops a crashed tab after
/// about 20 s (livekit.md §6.1).
pub(crate) const LEAVE_GRACE: Duration = Duration::seconds(30);

pub(super) fn closed() -> Refusal {
    Refusal::new(Reason::RoomNotActive, "The live session is over, or has not begun.")
}

pub(super) async fn roles(pool: &PgPool, session: LiveSessionId, keys: &[String]) -> Result<Roles, Error> {
    let known = store::list_roles(pool, session, keys).await?;
    let known = known.into_iter().map(|one| (one.user_id, one.role.grants())).collect();
    Ok(Roles { known, others: SeatRole::Guest.grants() })
}

/// Makes the seats of a live room's session equal to what LiveKit shows. Writes nothing when they are equal
/// already, or when the room belongs to no live session.
pub async fn project_presence(pool: &PgPool, room: RoomId) -> Result<(), Error> {
    // Without a lock: most checks end here. Under the lock the changes are read again.
    if !store::is_stale(pool, room).await? {
        return Ok(());
    }
    retry_on_contention(|| lock_and_project(pool, room)).await
}

async fn lock_and_project(pool: &PgPool, room: RoomId) -> Result<(), Error> {
    let mut transaction = chassis::db::begin(pool).await?;
    let Some(live) = lock(&mut transaction, room).await? else { return Ok(()) };
    project(&mut transaction, live, room).await?;
    Ok(transaction.commit().await?)
}

/// Makes the seats equal to what LiveKit shows. The caller has locked the live room and its session.
pub(super) async fn project(transaction: &mut PgConnection, live: Locked, room: RoomId) -> Result<(), Error> {
    store::insert_missing_participants(&mut *transaction, room).await?;
    store::set_seats(&mut *transaction, room).await?;
    // Last: the numbers are counted from the seats that were just written.
    if store::set_numbers(&mut *transaction, room).await? {
        store::refresh_projection(&mut *transaction, live.room).await?;
    }
    Ok(())
}

/// Locks the live room and then its session, in the order of all transactions. `None`: the session is not open.
pub(super) async fn lock(transaction: &mut PgConnection, room: RoomId) -> Result<Option<Locked>, Error> {
    let Some(live) = store::lock_room(&mut *transaction, room).await? else { return Ok(None) };
    Ok(store::lock_session(&mut *transaction, live.session).await?.then_some(live))
}

/// Ends a session whose room stayed empty. `None`: it was over before.
pub(super) async fn end(transaction: &mut PgConnection, live: Locked) -> Result<Option<EndReason>, Error> {
    let reason =
        store::set_session_over(&mut *transaction, live.session, LiveStatus::Ended, EndReason::Empty).await?;
    store::refresh_projection(&mut *transaction, live.room).await?;
    Ok(reason)
}

pub(super) fn count_ended_empty(reason: Option<EndReason>) {
    reason.into_iter().for_each(count_ended);
    metrics::counter!("greenroom_live_sessions_auto_ended_total").increment(1);
}

/// Counts a session that is over. Called after the commit.
pub(crate) fn count_ended(reason: EndReason) {
    metrics::counter!("greenroom_live_sessions_ended_total", "reason" => reason.as_str()).increment(1);
}
