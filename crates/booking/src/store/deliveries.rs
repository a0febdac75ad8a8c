//! Deliveries: one for each notification and channel. They are inserted, listed, counted and deleted by age here.
//!
//! Partial indexes contain only pending deliveries, so delivered ones cost nothing.

use chassis::db::Statement;
use domain::{DeliveryChannel, DeliveryState, SessionId, page::Cursor};
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;
use uuid::Uuid;

/// Inserts the deliveries of at most `limit` notifications, oldest first, one for each of `channels`. Returns how many
/// notifications were expanded. None: another replica is expanding. Mails that `mail_refusal()` refuses are inserted as
/// dropped.
pub async fn expand_notifications(
    transaction: &mut PgConnection,
    channels: &[String],
    limit: i64,
) -> Result<Option<i64>, sqlx::Error> {
    // An advisory lock, without waiting: with two writers, a later notification could get a lower number.
    let is_locked = sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtextextended('expand notifications', 7)) as "alone!""#
    );
    if !is_locked.fetch_one(&mut *transaction).statement("UPDATE expand_notifications").await? {
        return Ok(None);
    }
    let expanded = sqlx::query_file_scalar!("src/store/expand_notifications.sql", channels, limit);
    expanded.fetch_one(transaction).statement("UPDATE expand_notifications").await.map(Some)
}

/// Deletes at most `limit` deliveries that were delivered or dropped more than `keep` seconds ago. Returns how many.
/// Deliveries that were given up stay, because an admin decides about them.
pub async fn delete_deliveries(
    executor: impl PgExecutor<'_>,
    keep: f64,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "delete from notification_deliveries
         where id = any(array(
             select id from notification_deliveries
             where coalesce(delivered_at, dropped_at) < app_now() - make_interval(secs => $1) limit $2))",
        keep,
        limit,
    );
    Ok(deleted.execute(executor).statement("DELETE delete_deliveries").await?.rows_affected())
}

/// The deliveries of a channel that are pending, wait for an address, or were given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Backlog {
    pub channel: String,
    pub pending: i64,
    pub oldest_seconds: f64,
    pub waiting: i64,
    pub dead: i64,
}

pub async fn find_backlog(
    executor: impl PgExecutor<'_>,
    channels: &[String],
) -> Result<Vec<Backlog>, sqlx::Error> {
    sqlx::query_as!(
        Backlog,
        r#"select channel as "channel!", pending as "pending!", waiting as "waiting!", dead as "dead!",
                  coalesce(extract(epoch from app_now() - oldest), 0)::float8 as "oldest_seconds!"
           from unnest($1::text[]) channel
           cross join lateral (
               select count(*) as pending, min(d.created_at) as oldest from notification_deliveries d
               where d.channel = channel.channel
                 and d.delivered_at is null and d.dead_at is null and d.dropped_at is null
                 and d.waits_for is null) unsent
           cross join lateral (
               select count(*) as waiting from notification_deliveries d
               where d.channel = channel.channel and d.waits_for is not null) addressless
           cross join lateral (
               select count(*) as dead from notification_deliveries d
               where d.channel = channel.channel and d.dead_at is not null) given_up"#,
        channels,
    )
    .fetch_all(executor)
    .statement("SELECT find_backlog")
    .await
}

/// A delivery as listed for admins.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: Uuid,
    pub notification_id: Uuid,
    pub kind: String,
    pub channel: DeliveryChannel,
    pub user_id: Option<String>,
    pub session_id: Option<SessionId>,
    pub attempts: i32,
    pub last_error: Option<String>,
    pub created_at: OffsetDateTime,
    pub due_at: OffsetDateTime,
    pub dead_at: Option<OffsetDateTime>,
}

/// Lists the deliveries in a state, newest first.
pub async fn list_deliveries(
    executor: impl PgExecutor<'_>,
    state: DeliveryState,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Delivery>, sqlx::Error> {
    sqlx::query_as!(
        Delivery,
        r#"select d.id as "id!", d.notification_id as "notification_id!", n.kind,
                  d.channel as "channel!: DeliveryChannel", n.user_id, n.session_id as "session_id: SessionId",
                  d.attempts as "attempts!", d.last_error, d.created_at as "created_at!",
                  d.due_at as "due_at!", d.dead_at
           from (select * from notification_deliveries where $1 = 'dead' and dead_at is not null
                 union all
                 select * from notification_deliveries
                 where $1 = 'pending' and waits_for is null
                   and delivered_at is null and dead_at is null and dropped_at is null
                 union all
                 select * from notification_deliveries where $1 = 'waiting' and waits_for is not null) d
           join notifications n on n.id = d.notification_id
           where (d.created_at, d.id) < (coalesce($2, 'infinity'::timestamptz), coalesce($3::uuid, $5))
           order by d.created_at desc, d.id desc limit $4"#,
        state.as_str(),
        after.map(|cursor| cursor.at),
        after.map(|cursor| cursor.id),
        limit,
        Uuid::max(),
    )
    .fetch_all(executor)
    .statement("SELECT list_deliveries")
    .await
}
