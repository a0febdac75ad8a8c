//! Live sessions: their seats follow the participants, their roles can change, and they end when they stay empty.

use chassis::status::{Reason, Refusal};
use domain::{EndReason, LiveSessionId, LiveStatus, RoomId, SeatRole};
use sqlx::{PgConnection, PgPool};

pub(super) use crate::live::policy::{EMPTY_TIMEOUT, FIRST_JOIN_TIMEOUT};
use crate::{
    error::Error,
    live::{
        attendance, count_ended as count_session_ended,
        store::{
            attendance::{Locked, lock_room},
            moderation, seats, sessions,
        },
    },
    rooms::{
        Rooms,
        roles::Roles,
        store::{Record, auto_end},
    },
};

pub(super) fn metadata(rooms: &Rooms, record: &Record) -> String {
    serde_json::json!({ "deployment": rooms.deployment, "live_session_id": record.owner_id }).to_string()
}

pub(super) fn closed() -> Refusal {
    Refusal::new(Reason::RoomNotActive, "The live session is over, or has not begun.")
}

pub(super) async fn roles(pool: &PgPool, record: &Record, keys: &[String]) -> Result<Roles, Error> {
    let known = moderation::list_roles(pool, LiveSessionId(record.owner_id), keys).await?;
    let known = known.into_iter().map(|one| (one.user_id, one.role.grants())).collect();
    Ok(Roles { known, others: SeatRole::Guest.grants() })
}

/// Seats follow what LiveKit shows.
pub(super) async fn after_presence(pool: &PgPool, room: RoomId) -> Result<(), Error> {
    attendance::project_presence(pool, room).await
}

pub(super) async fn end_empty(pool: &PgPool, record: &Record) -> Result<bool, Error> {
    let mut transaction = chassis::db::begin(pool).await?;
    let Some(live) = lock_room(&mut *transaction, record.id).await? else { return Ok(false) };
    // Locks in the order of all transactions: room, session. The announcement last: it may have been cancelled.
    let open = seats::lock_session(&mut *transaction, live.session).await?;
    if !open || !auto_end::lock_closing(&mut *transaction, record).await? {
        return Ok(false);
    }
    let reason =
        sessions::set_session_over(&mut *transaction, live.session, LiveStatus::Ended, EndReason::Empty)
            .await?;
    sessions::refresh_projection(&mut *transaction, live.room).await?;
    transaction.commit().await?;
    reason.into_iter().for_each(count_session_ended);
    Ok(true)
}

pub(super) fn count_ended() {
    metrics::counter!("greenroom_live_sessions_auto_ended_total").increment(1);
}

/// Locks the live room and its session. `None`: the session is not open.
pub(super) async fn lock(transaction: &mut PgConnection, record: &Record) -> Result<Option<Locked>, Error> {
    let Some(live) = lock_room(&mut *transaction, record.id).await? else { return Ok(None) };
    Ok(seats::lock_session(&mut *transaction, live.session).await?.then_some(live))
}
