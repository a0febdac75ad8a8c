//! Notifications of users. Those about a change of a booking are inserted by the statement of the change.

use chassis::{db::Statement, status::Reason};
use domain::{SessionId, page::Cursor};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

#[derive(Clone, Debug)]
pub struct Notification {
    pub id: Uuid,
    pub kind: String,
    pub payload: String,
    pub created_at: OffsetDateTime,
    pub read_at: Option<OffsetDateTime>,
}

/// Notifies the admins, once for each booking, that its room could not be created immediately.
pub async fn insert_room_failed(
    executor: impl PgExecutor<'_>,
    session_id: SessionId,
    why: Reason,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into notifications (kind, session_id, payload, dedupe_key)
         values ('room_failed', $1::uuid, jsonb_build_object('bookingId', $1::uuid, 'code', $2::text),
                 'room_failed:' || $1::uuid)
         on conflict on constraint notifications_dedupe_key do nothing",
        session_id.0,
        why.code(),
    )
    .execute(executor)
    .statement("INSERT insert_room_failed")
    .await?;
    Ok(())
}

/// Lists a user's notifications, newest first.
pub async fn list_notifications(
    executor: impl PgExecutor<'_>,
    user_id: &str,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Notification>, sqlx::Error> {
    sqlx::query_as!(
        Notification,
        r#"select id, kind, payload::text as "payload!", created_at, read_at
           from notifications
           where user_id = $1
             and (created_at, id) < (coalesce($2, 'infinity'::timestamptz), coalesce($3::uuid, $5))
           order by created_at desc, id desc limit $4"#,
        user_id,
        after.map(|cursor| cursor.at),
        after.map(|cursor| cursor.id),
        limit,
        Uuid::max(),
    )
    .fetch_all(executor)
    .statement("SELECT list_notifications")
    .await
}

/// Marks a notification as read; the first time of reading is kept. None: the user has no such notification.
pub async fn mark_notification_read(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    user_id: &str,
) -> Result<Option<Notification>, sqlx::Error> {
    sqlx::query_as!(
        Notification,
        r#"update notifications set read_at = coalesce(read_at, app_now())
           where id = $1 and user_id = $2
           returning id, kind, payload::text as "payload!", created_at, read_at"#,
        id,
        user_id,
    )
    .fetch_optional(executor)
    .statement("UPDATE mark_notification_read")
    .await
}
