//! The statements of the pass over all bookings.
//!
//! Both read the index `sessions_open_by_start`, which has only open bookings, up to those whose window is open now.
//! Then they read by primary keys, with `any(array(…))`: as a join, the planner may read a whole table. So past
//! bookings and bookings in the far future cost nothing.

use chassis::db::Statement;
use sqlx::PgExecutor;

/// Bookings that one statement changes.
pub const BATCH: i64 = 500;

/// Sets scheduled bookings to `in_progress` when a participant is in their open meeting. Returns how many.
pub async fn start_attended(executor: impl PgExecutor<'_>) -> Result<u64, sqlx::Error> {
    let started = sqlx::query!(
        "with attended as (
             select s.id from sessions s
             cross join lateral booking_window(s.scheduled_at, s.duration_minutes) w
             where s.status = 'scheduled' and w.opens_at <= app_now() and app_now() < w.closes_at
               -- The latest start whose window has opened: equal to opens_at <= now, but an index can use it.
               and s.open_start <= (select clock.now + (clock.now - o.opens_at)
                                      from (select app_now() as now) clock
                                      cross join lateral booking_window(clock.now, 5) o)
               -- A subquery for each booking: as a join, the planner may begin with all participants that ever joined.
               and (select count(*) from livekit_rooms r
                    join livekit_participants p on p.joined_room = r.id
                    where r.session_id = s.id) > 0
             order by s.open_start
             limit $1
             -- Rows that another replica or a request has locked are left to it, or to the next pass.
             for update of s skip locked)
         update sessions s set status = 'in_progress', updated_at = app_now()
         where s.id = any(array(select id from attended)) and s.status = 'scheduled'",
        BATCH,
    )
    .execute(executor)
    .statement("UPDATE start_attended")
    .await?;
    Ok(started.rows_affected())
}

/// How many bookings were closed, by their new status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClosedBookings {
    pub completed: i64,
    pub no_show: i64,
}

/// Closes open bookings whose window has closed: `completed` if host and guest both joined, otherwise `no_show`.
pub async fn close_overdue(executor: impl PgExecutor<'_>) -> Result<ClosedBookings, sqlx::Error> {
    sqlx::query_as!(
        ClosedBookings,
        r#"with overdue as (
               select s.id from sessions s
               cross join lateral booking_window(s.scheduled_at, s.duration_minutes) w
               where s.open_start <= app_now() and w.closes_at <= app_now()
               order by s.open_start
               limit $1
               -- Rows that another replica or a request has locked are left to it, or to the next pass.
               for update of s skip locked),
           closed as (
               update sessions s
               set updated_at = app_now(),
                   status = case when (select count(distinct p.user_id)
                                       from livekit_rooms r join livekit_participants p on p.room_id = r.id
                                       where r.session_id = s.id and p.joined_at is not null
                                         and p.user_id in (s.host_id, s.guest_id)) = 2
                                 then 'completed' else 'no_show' end
               where s.id = any(array(select id from overdue)) and s.status in ('scheduled', 'in_progress')
               returning s.id, s.status),
           freed as (
               update session_participants p set active = false
               where p.session_id = any(array(select id from closed)))
           select count(*) filter (where status = 'completed') as "completed!",
                  count(*) filter (where status = 'no_show') as "no_show!"
           from closed"#,
        BATCH,
    )
    .fetch_one(executor)
    .statement("UPDATE close_overdue")
    .await
}
