//! Reminders come into being when they are due: however many bookings lie ahead, only those whose moment has just
//! come are looked at, by `sessions_open_by_start`.

use chassis::db::Statement;
use sqlx::PgExecutor;

/// Reminds host and guest of each open booking whose start is `before` (seconds) away, once per start. Not of one that
/// was made or moved after that moment: its people were told just then. A moment that was missed, while nothing ran,
/// still counts for an hour, or half of the time that is left. Returns how many reminders were made.
pub async fn insert_reminders(executor: impl PgExecutor<'_>, before: &[f64]) -> Result<u64, sqlx::Error> {
    let made = sqlx::query!(
        r#"insert into notifications (user_id, kind, session_id, payload, dedupe_key)
           select person, 'reminder', s.id,
                  jsonb_build_object(
                      'bookingId', s.id, 'title', s.title, 'durationMinutes', s.duration_minutes,
                      'scheduledAt', to_char(s.scheduled_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                      'meetingUrl', s.meeting_url, 'minutesBefore', round(before.secs / 60)),
                  concat_ws(':', 'reminder', s.id, extract(epoch from s.scheduled_at), before.secs, person)
           from unnest($1::float8[]) before (secs)
           join sessions s
             on s.open_start <= app_now() + make_interval(secs => before.secs)
            and s.open_start > app_now() + make_interval(secs => before.secs - least(before.secs / 2, 3600))
           cross join lateral unnest(array[s.host_id, s.guest_id]) person
           -- `offset 0`: asked per booking. As joins, the planner may read every notification that was ever made.
           where not exists (
                     select from notifications told
                     where told.session_id = s.id and told.kind in ('booking_created', 'booking_rescheduled')
                       and told.created_at > s.scheduled_at - make_interval(secs => before.secs) offset 0)
             and not exists (
                     select from notifications made
                     where made.dedupe_key = concat_ws(':', 'reminder', s.id, extract(epoch from s.scheduled_at),
                                                       before.secs, person) offset 0)
           on conflict on constraint notifications_dedupe_key do nothing"#,
        before,
    );
    Ok(made.execute(executor).statement("INSERT insert_reminders").await?.rows_affected())
}
