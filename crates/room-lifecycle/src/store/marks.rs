//! Marks: "look at this room". Anyone may write one, every replica drains them, and a claim is a committed lease
//! of 15 s: a replica that dies gives its marks back by the clock, and no transaction is held over LiveKit calls.

use chassis::db::Statement;
use domain::RoomId;
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;

/// Marks claimed for one drain: their ids, and the rooms they name.
#[derive(Debug, Default)]
pub struct Claimed {
    pub ids: Vec<i64>,
    pub rooms: Vec<RoomId>,
}

/// Claims marks that are due. Nobody writes one for later than a few minutes: the clock was set back.
pub async fn claim_marks(db: impl PgExecutor<'_>, limit: i64) -> Result<Claimed> {
    let rows = sqlx::query!(
        "with due as (
             select id from room_marks
             where not_before <= app_now() or not_before > app_now() + interval '10 minutes'
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

/// Deletes the marks in `done`, and makes those in `again` due after so many seconds each, or when their rooms may be
/// made again: at most a minute, because the clock may have been set back. A mark that was made meanwhile has another id
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
    /// The database's now before the listing was asked for.
    pub at: Option<OffsetDateTime>,
}

/// Active rooms of open owners that were made before the listing and are not in it, soonest first. (One that was
/// made in the future was made before the clock was set back.) LiveKit ends a nest's room when it stands empty: that
/// one is not missing.
pub async fn list_missing(db: impl PgExecutor<'_>, listing: &Listing) -> Result<Vec<Missing>> {
    sqlx::query_as!(
        Missing,
        // Whatever is believed to be in the tables: names are compared as sets, and of the absent ones each is looked
        // up.
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

/// How many rooms were seen on LiveKit within the last passes (a pass notes it when the note is 60 s old).
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

/// Marks these rooms, at most `per_second` of them each second, in the order given. Those beyond 9 min are left for
/// the next pass: a mark 10 min ahead would be taken for one from before the clock was set back.
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

/// Marks every open room that is due: its owner closed, it waits to be made, LiveKit shows another SID, somebody
/// is inside (by LiveKit's count or ours), it is watched, its timers are too short, or it is its turn (1 of 30).
/// Active rooms that the listing lacks are not among them: whether that is believed is decided elsewhere.
pub async fn insert_due_marks(
    db: impl PgExecutor<'_>,
    listing: &Listing,
    at_booking: bool,
    turn: i32,
) -> Result<u64> {
    let done = sqlx::query!(
        "with seen as (
             select * from unnest($1::text[], $2::text[], $3::int[]) as s(name, sid, people))
         insert into room_marks (room_id)
         select r.id
         from livekit_rooms r
         join room_owners o on o.owner = r.owner
         left join seen on seen.name = r.room_name
         left join lateral (
             select true as inside from livekit_participants p
             where p.joined_room = r.id limit 1) joined on true
         where r.open_owner is not null
           and (not o.open
                or (r.status <> 'active'
                    and (coalesce(r.next_attempt_at, app_now()) <= app_now()
                         or r.next_attempt_at > app_now() + interval '2 minutes')
                    and ($4 or o.opens_at <= app_now()))
                or (r.status = 'active' and seen.name is not null
                    and (seen.sid <> r.room_sid or seen.people > 0 or joined.inside
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

/// Notes that open rooms were seen, for those whose note is older than 60 s: a pass must not write every row.
pub async fn set_seen(db: impl PgExecutor<'_>, listing: &Listing) -> Result<u64> {
    let done = sqlx::query!(
        "update livekit_rooms r
         set confirmed_at = $3
         from unnest($1::text[], $2::text[]) as seen(name, sid)
         where r.open_owner is not null and r.status = 'active' and r.room_name = seen.name and r.room_sid = seen.sid
           and r.confirmed_at < $3::timestamptz - interval '60 seconds'",
        &listing.names,
        &listing.sids,
        listing.at
    )
    .execute(db)
    .statement("UPDATE set_seen")
    .await?;
    Ok(done.rows_affected())
}

/// Open rooms that LiveKit has not answered for yet, soonest first.
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

/// One replica at a time lists LiveKit and cleans up; held until the transaction ends.
pub async fn try_pass_lock(db: impl PgExecutor<'_>) -> Result<bool> {
    const KEY: i64 = 0x6772_6e72_6d01;
    sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "mine!""#, KEY)
        .fetch_one(db)
        .statement("SELECT try_pass_lock")
        .await
}
