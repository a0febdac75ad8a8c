//! Inserts reminders when they are due. The index `sessions_open_by_start` limits the read to bookings whose reminder
//! is due now, for any number of future bookings.

use chassis::db::Statement;
use sqlx::PgExecutor;

/// Inserts reminders for host and guest of each open booking whose start is `before` seconds away, once for each start.
///
/// A booking that was created or moved after that time gets none, because its parties were notified then. If no process
/// ran at that time, the reminder is inserted later: at most an hour, and at most half of `before`. Returns how many
/// reminders were inserted.
pub async fn insert_reminders(executor: impl PgExecutor<'_>, before: &[f64]) -> Result<u64, sqlx::Error> {
    let inserted = sqlx::query!(
        r#"insert into notifications (user_id, kind, session_id, payload, dedupe_key)
           select person, 'reminder', s.id,
                  booking_payload(s) || jsonb_build_object('minutesBefore', round(before.secs / 60)),
                  concat_ws(':', 'reminder', s.id, extract(epoch from s.scheduled_at), before.secs, person)
           from unnest($1::float8[]) before (secs)
           join sessions s
             on s.open_start <= app_now() + make_interval(secs => before.secs)
            and s.open_start > app_now() + make_interval(secs => before.secs - least(before.secs / 2, 3600))
           cross join lateral unnest(array[s.host_id, s.guest_id]) person
           -- `offset 0` runs the subqueries for each booking. As joins, they may read all notifications.
           where not exists (
                     select from notifications recent
                     where recent.session_id = s.id and recent.kind in ('booking_created', 'booking_rescheduled')
                       and recent.created_at > s.scheduled_at - make_interval(secs => before.secs) offset 0)
             and not exists (
                     select from notifications existing
                     where existing.dedupe_key = concat_ws(':', 'reminder', s.id, extract(epoch from s.scheduled_at),
                                                       before.secs, person) offset 0)
           -- Another replica may insert the same reminder at the same time.
           on conflict on constraint notifications_dedupe_key do nothing"#,
        before,
    );
    Ok(inserted.execute(executor).statement("INSERT insert_reminders").await?.rows_affected())
}
