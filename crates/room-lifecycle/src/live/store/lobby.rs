//! The SQL of the lobby: waiting users, and their admission. A user waits until the hold of the place in the queue
//! expires. Callers that admit users hold the session's lock.

use chassis::db::Statement;
use domain::{LiveSessionId, LobbyStatus, SeatRole, page::Cursor};
use sqlx::{PgConnection, PgExecutor, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use super::seats::Seat;
use crate::live::policy::CONNECT_HOLD;

/// A waiting user.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub user_id: String,
    pub name: Option<String>,
    pub avatar_url: Option<String>,
    pub since: OffsetDateTime,
    /// Identifies the user in cursors.
    pub key: Uuid,
}

/// Lists the waiting users, longest wait first.
pub async fn list_waiting(
    db: impl PgExecutor<'_>,
    session: LiveSessionId,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        r#"select w.user_id as "user_id!", u.display_name as "name?", u.avatar_url as "avatar_url?",
                  w.seated_at as "since!", md5(w.user_id)::uuid as "key!"
           from waiting_seats w left join app_users u on u.id = w.user_id
           where w.session_id = $1
             and ($2::timestamptz is null or (w.seated_at, md5(w.user_id)::uuid) > ($2, $3::uuid))
           order by w.seated_at, md5(w.user_id)::uuid limit $4"#,
        session.0,
        after.map(|cursor| cursor.at),
        after.map(|cursor| cursor.id),
        limit
    )
    .fetch_all(db)
    .statement("SELECT list_waiting")
    .await
}

pub async fn count_waiting(db: impl PgExecutor<'_>, session: LiveSessionId) -> Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from waiting_seats where session_id = $1"#, session.0)
        .fetch_one(db)
        .statement("SELECT count_waiting")
        .await
}

/// A user's seat, taken or given up.
pub async fn find_seat(db: impl PgExecutor<'_>, session: LiveSessionId, user: &str) -> Result<Option<Seat>> {
    sqlx::query_as!(
        Seat,
        r#"select role as "role: SeatRole", lobby_status as "lobby_status: LobbyStatus"
           from live_room_attendance where session_id = $1 and user_id = $2"#,
        session.0,
        user
    )
    .fetch_optional(db)
    .statement("SELECT find_seat")
    .await
}

/// The seat that a user has now. A user whose wait has expired has none.
pub async fn find_open_seat(
    db: impl PgExecutor<'_>,
    session: LiveSessionId,
    user: &str,
) -> Result<Option<Seat>> {
    sqlx::query_as!(
        Seat,
        r#"select role as "role: SeatRole", lobby_status as "lobby_status: LobbyStatus"
           from live_room_attendance
           where session_id = $1 and user_id = $2 and left_at is null
             and (lobby_status <> 'waiting' or held_until is null or held_until > app_now())"#,
        session.0,
        user
    )
    .fetch_optional(db)
    .statement("SELECT find_open_seat")
    .await
}

/// Admits waiting users, longest wait first, as long as there are free seats. Returns how many were admitted.
pub async fn admit_waiting(connection: &mut PgConnection, session: LiveSessionId) -> Result<u64> {
    set_admitted(connection, session, None).await
}

/// Admits one waiting user. `false`: the user does not wait, or all seats are taken.
pub async fn admit_one(connection: &mut PgConnection, session: LiveSessionId, user: &str) -> Result<bool> {
    Ok(set_admitted(connection, session, Some(user)).await? > 0)
}

/// Admits all waiting users, or only one of them, within the free seats.
async fn set_admitted(db: &mut PgConnection, session: LiveSessionId, only: Option<&str>) -> Result<u64> {
    let done = sqlx::query!(
        "with next as (
             select w.user_id from waiting_seats w
             where w.session_id = $1 and ($2::text is null or w.user_id = $2)
             order by w.seated_at, md5(w.user_id)::uuid
             limit (select greatest(s.max_participants - count(t.user_id), 0)
                    from live_room_sessions s
                    left join taken_seats t on t.session_id = s.id
                    where s.id = $1 group by s.id))
         update live_room_attendance a
         set lobby_status = 'admitted', held_until = app_now() + make_interval(secs => $3)
         from next
         where a.session_id = $1 and a.user_id = next.user_id
           -- checked again: a concurrent rejection may have committed while this statement waited for the row
           and a.lobby_status = 'waiting' and a.left_at is null",
        session.0,
        only,
        CONNECT_HOLD.as_seconds_f64()
    )
    .execute(db)
    .statement("UPDATE set_admitted")
    .await?;
    Ok(done.rows_affected())
}

/// Rejects a waiting user.
pub async fn set_rejected(db: impl PgExecutor<'_>, session: LiveSessionId, user: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update live_room_attendance
         set lobby_status = 'rejected', left_at = app_now(), held_until = null, disconnected_at = null
         where session_id = $1 and user_id = $2 and lobby_status = 'waiting' and left_at is null",
        session.0,
        user
    )
    .execute(db)
    .statement("UPDATE set_rejected")
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Lists live sessions that admit users by themselves, and have both a waiting user and a free seat.
pub async fn list_sessions_to_admit(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<LiveSessionId>> {
    sqlx::query_scalar!(
        "select s.id as \"id: LiveSessionId\" from live_room_sessions s
         where s.id = any(array(select distinct w.waiting_session from waiting_seats w
                                where w.waiting_session is not null))
           and s.status = 'live' and s.auto_admit
           and (select count(*) from taken_seats t where t.session_id = s.id) < s.max_participants
         limit $1",
        limit
    )
    .fetch_all(db)
    .statement("SELECT list_sessions_to_admit")
    .await
}
