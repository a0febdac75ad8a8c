//! The SQL of marks. A mark says "check this room". Every part of the service may write one, and every replica drains
//! them. A claim is a committed lease of 15 s: if the replica dies, the lease expires. No transaction is open during
//! LiveKit calls.

use chassis::db::Statement;
use domain::RoomId;
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;

/// Marks that were claimed for one drain: their ids, and their rooms.
#[derive(Debug, Default)]
pub struct Claimed {
    pub ids: Vec<i64>,
    pub rooms: Vec<RoomId>,
}

/// Claims due marks. A mark for more than 10 minutes ahead was written before the clock was set back, and is due too.
pub async fn claim_marks(db: impl PgExecutor<'_>, limit: i64) -> Result<Claimed> {
    let rows = sqlx::query!(
        "with due as (
             select id from room_marks
             where not_before <= app_now() or not_before > app_now() + interval '10 minutes'
             -- `skip locked`: another replica is claiming these marks
             order by not_before limit $1 for update skip locked)
         update room_marks m set not_before = app_now() + interval '15 seconds'
         from due where m.id = due.id
         returning m.id, m.room_id as \"room_id: RoomId\"",
        limit
    )
    .fetch_all(db)
    .statement("UPDATE claim_marks")
    .await?;
    Ok(Claimed {
        ids: rows.iter().map(|row| row.id).collect(),
        rooms: rows.iter().map(|row| row.room_id).collect(),
    })
}

/// Deletes the marks in `done`. Makes the marks in `again` due after `seconds`, or when CreateRoom may be retried, but
/// after a minute at most, because the clock may have been set back. A mark that was written meanwhile has another id
/// and stays.
pub async fn conclude_marks(
    db: impl PgExecutor<'_>,
    done: &[i64],
    again: &[i64],
    seconds: &[f64],
) -> Result<()> {
    sqlx::query!(
        "with done as (delete from room_marks where id = any($1))
         update room_marks m
         set not_before = least(greatest(app_now() + make_interval(secs => again.seconds), r.next_attempt_at),
                                app_now() + interval '1 minute')
         from unnest($2::bigint[], $3::float8[]) as again(id, seconds), livekit_rooms r
         where m.id = again.id and r.id = m.room_id",
        done,
        again,
        seconds
    )
    .execute(db)
    .statement("UPDATE conclude_marks")
    .await
    .map(drop)
}

/// Marks a room and wakes every replica.
pub async fn insert_mark(db: impl PgExecutor<'_>, room: RoomId) -> Result<()> {
    sqlx::query!("select mark_room($1)", room.0).execute(db).statement("INSERT insert_mark").await.map(drop)
}

/// A LiveKit listing, as arrays for one statement.
#[derive(Debug, Default)]
pub struct Listing {
    pub names: Vec<String>,
    pub sids: Vec<String>,
    pub people: Vec<i32>,
    /// The database's now before the listing was requested.
    pub at: Option<OffsetDateTime>,
}

/// Lists active rooms of open owners that were created before the listing and are not in it, soonest first. (A creation
/// in the future was written before the clock was set back.) LiveKit ends an empty room of a nest: such a room is not
/// missing.
pub async fn list_missing(db: impl PgExecutor<'_>, listing: &Listing) -> Result<Vec<Missing>> {
    sqlx::query_as!(
        Missing,
        // This plan must not depend on table statistics: names are compared as sets, and each absent one is looked up.
        r#"with absent as materialized (
               select r.room_name from livekit_rooms r
               where r.open_owner is not null and r.status = 'active'
                 and (coalesce(r.made_at, r.created_at) < $2 or r.made_at > app_now())
               except select unnest($1::text[]))
           select missing.id as "id!", missing.opens_at <= app_now() + interval '30 minutes' as "soon!"
           from absent a
           cross join lateral (
               select r.id, o.opens_at
               from livekit_rooms r
               cross join lateral room_owner(r.session_id, r.live_session_id, r.nest_id) o
               where r.room_name = a.room_name and o.open
                 and (r.nest_id is null
                      or exists (select from livekit_participants p where p.joined_room = r.id))
               offset 0) missing
           order by missing.opens_at"#,
        &listing.names,
        listing.at
    )
    .fetch_all(db)
    .statement("SELECT list_missing")
    .await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    pub id: RoomId,
    /// Its window is open or opens within 30 minutes.
    pub soon: bool,
}

/// Counts rooms that were observed on LiveKit in the last passes. (A pass writes the time again when it is 60 s old.)
pub async fn count_recent(db: impl PgExecutor<'_>, at: OffsetDateTime) -> Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from livekit_rooms
           where open_owner is not null and status = 'active' and confirmed_at > $1::timestamptz - interval '90 seconds'"#,
        at
    )
    .fetch_one(db)
    .statement("SELECT count_recent")
    .await
}

/// Marks these rooms in the given order, at most `per_second` for each second. Those beyond 9 min are left for the next
/// pass: a mark 10 min ahead would look as if it was written before the clock was set back.
pub async fn insert_marks(db: impl PgExecutor<'_>, rooms: &[RoomId], per_second: i32) -> Result<()> {
    sqlx::query!(
        "insert into room_marks (room_id, not_before)
         select t.id, app_now() + make_interval(secs => ((t.n - 1) / $2)::int)
         from unnest($1::uuid[]) with ordinality as t(id, n)
         where (t.n - 1) / $2 < 9 * 60
           and not exists (select from room_marks m where m.room_id = t.id)",
        rooms as &[RoomId],
        i64::from(per_second)
    )
    .execute(db)
    .statement("INSERT insert_marks")
    .await
    .map(drop)
}

/// Marks every open room that is due. The reasons: its owner is closed, it waits to be created, LiveKit shows another
/// SID, it has participants (by LiveKit's count or ours), it is watched, its timers are too short, or it is its turn
/// (each pass takes 1 room in 30). Active rooms that the listing lacks are left out: [`crate::rooms::sweep`] decides on
/// them.
pub async fn insert_due_marks(
    db: impl PgExecutor<'_>,
    listing: &Listing,
    at_booking: bool,
    turn: i32,
) -> Result<u64> {
    let done = sqlx::query!(
        "with observed as (
             select * from unnest($1::text[], $2::text[], $3::int[]) as s(name, sid, people))
         insert into room_marks (room_id)
         select r.id
         from livekit_rooms r
         join room_owners o on o.owner = r.owner
         left join observed on observed.name = r.room_name
         left join lateral (
             select true as present from livekit_participants p
             where p.joined_room = r.id limit 1) joined on true
         where r.open_owner is not null
           and (not o.open
                or (r.status <> 'active'
                    and (coalesce(r.next_attempt_at, app_now()) <= app_now()
                         or r.next_attempt_at > app_now() + interval '2 minutes')
                    and ($4 or o.opens_at <= app_now()))
                or (r.status = 'active' and observed.name is not null
                    and (observed.sid <> r.room_sid or observed.people > 0 or joined.present
                         or r.watched_until > app_now()
                         or (r.expires_at < o.closes_at and app_now() < o.opens_at)
                         or (hashtext(r.id::text) & 2147483647) % 30 = $5)))
           and not exists (select from room_marks m where m.room_id = r.id)",
        &listing.names,
        &listing.sids,
        &listing.people,
        at_booking,
        turn
    )
    .execute(db)
    .statement("INSERT insert_due_marks")
    .await?;
    Ok(done.rows_affected())
}

/// Records that open rooms were observed on LiveKit. Only rows whose time is older than 60 s are written: a pass must
/// not write every row.
pub async fn set_observed(db: impl PgExecutor<'_>, listing: &Listing) -> Result<u64> {
    let done = sqlx::query!(
        "update livekit_rooms r
         set confirmed_at = $3
         from unnest($1::text[], $2::text[]) as observed(name, sid)
         where r.open_owner is not null and r.status = 'active'
           and r.room_name = observed.name and r.room_sid = observed.sid
           and r.confirmed_at < $3::timestamptz - interval '60 seconds'",
        &listing.names,
        &listing.sids,
        listing.at
    )
    .execute(db)
    .statement("UPDATE set_observed")
    .await?;
    Ok(done.rows_affected())
}

/// Lists open rooms that LiveKit has not created yet, soonest first.
pub async fn list_pending(db: impl PgExecutor<'_>) -> Result<Vec<RoomId>> {
    sqlx::query_scalar!(
        "select r.id as \"id: RoomId\"
         from livekit_rooms r
         cross join lateral room_owner(r.session_id, r.live_session_id, r.nest_id) o
         where r.status in ('pending', 'failed') and o.open order by o.opens_at"
    )
    .fetch_all(db)
    .statement("SELECT list_pending")
    .await
}

/// Takes the advisory lock of the pass, without waiting: one replica at a time lists LiveKit and cleans up. The lock is
/// held until the transaction ends.
pub async fn try_pass_lock(db: impl PgExecutor<'_>) -> Result<bool> {
    const KEY: i64 = 0x6772_6e72_6d01;
    sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "mine!""#, KEY)
        .fetch_one(db)
        .statement("SELECT try_pass_lock")
        .await
}

/// Whether one of these rooms has an open recording.
pub async fn is_any_recorded(db: impl PgExecutor<'_>, rooms: &[RoomId]) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from recordings
                          where open_room = any($1) and finished_at is null) as "is!""#,
        rooms as &[RoomId]
    )
    .fetch_one(db)
    .statement("SELECT is_any_recorded")
    .await
}
