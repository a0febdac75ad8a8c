//! What still has to be told, over which channel, and what became of it.
//!
//! Whatever is pending stands in two partial indexes; what was told long ago costs nothing. Only the head of a stream
//! is ever taken, under a lease that is committed before anything is sent; whoever lost his lease marks nothing.

use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;
use uuid::Uuid;

use chassis::page::Cursor;

/// How long a claimed delivery belongs to its worker; a batch takes less.
pub const LEASE_SECONDS: f64 = 60.0;
/// How long a delivery is tried.
const PATIENCE_HOURS: i32 = 72;
/// Mails within an hour to an address that nobody signed in with, and to all such addresses because of one person: a
/// booking names whom it likes, and must not make us a relay of his.
const MAILS_TO_STRANGER: i64 = 5;
const MAILS_OF_INVITER: i64 = 20;

/// Makes a delivery for each of `channels` of at most `limit` notifications, oldest first: how many it were. None:
/// another replica is at it, and only one may be, or a later notification of a booking could get the lower number.
pub async fn expand_notifications(
    transaction: &mut PgConnection,
    channels: &[String],
    limit: i64,
) -> Result<Option<i64>, sqlx::Error> {
    let is_alone = sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtextextended('expand notifications', 7)) as "alone!""#
    );
    if !is_alone.fetch_one(&mut *transaction).await? {
        return Ok(None);
    }
    let expanded = sqlx::query_scalar!(
        r#"with fresh as (
               select id from notifications where expanded_at is null order by created_at, id limit $2),
           expanded as (
               update notifications set expanded_at = app_now()
               where id = any(array(select id from fresh)) and expanded_at is null
               returning id, kind, session_id, user_id, created_at, payload),
           addressed as (
               select e.*, channel, stranger, inviter
               from expanded e cross join unnest($1::text[]) channel
               left join lateral (
                   select lower(s.guest_email) as stranger,
                          case when s.created_by in (s.host_id, s.guest_id) then s.created_by end as inviter
                   from sessions s left join app_users u on u.id = s.guest_id
                   where channel = 'email' and s.id = e.session_id and s.guest_id = e.user_id
                     and s.guest_email is not null and u.email is null) unproved on true),
           counted as (
               select a.*,
                      case when stranger is not null then
                          row_number() over (partition by stranger order by created_at, id)
                          + (select count(*) from notification_deliveries d
                             where d.stranger = a.stranger and d.dropped_at is null
                               and d.created_at > app_now() - interval '1 hour') > $3 end as address_full,
                      case when stranger is not null and inviter is not null then
                          row_number() over (partition by stranger is null, inviter order by created_at, id)
                          + (select count(*) from notification_deliveries d
                             where d.inviter = a.inviter and d.dropped_at is null
                               and d.created_at > app_now() - interval '1 hour') > $4 end as inviter_full
               from addressed a),
           made as (
               insert into notification_deliveries
                   (notification_id, channel, stream_key, stranger, inviter, dropped_at, last_error)
               select id, channel,
                      case when kind = 'reminder' then concat('reminder:', payload ->> 'minutesBefore', ':') else '' end
                      || case when channel = 'email' then concat_ws(':', session_id, coalesce(user_id, 'admins'))
                              else coalesce(session_id::text, user_id, 'admins') end,
                      stranger, inviter,
                      case when address_full or inviter_full then app_now() end,
                      case when address_full then 'too many mails to an address that nobody signed in with'
                           when inviter_full then 'too many mails to strangers for one person' end
               from counted
               order by created_at, id)
           select count(*) as "expanded!" from expanded"#,
        channels,
        limit,
        MAILS_TO_STRANGER,
        MAILS_OF_INVITER,
    );
    expanded.fetch_one(transaction).await.map(Some)
}

/// A delivery that is now its worker's, with what it is about as things stand now.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: Uuid,
    pub lease_id: Uuid,
    pub attempts: i32,
    /// It has been tried for as long as anything is.
    pub is_old: bool,
    pub now: OffsetDateTime,
    pub notification_id: Uuid,
    pub kind: String,
    /// A JSON object.
    pub payload: String,
    pub happened_at: OffsetDateTime,
    /// None: the admins.
    pub user_id: Option<String>,
    pub email: Option<String>,
    pub booking: Option<About>,
}

/// The booking that a delivery is about.
#[derive(Clone, Debug)]
pub struct About {
    pub id: Uuid,
    pub title: String,
    pub is_open: bool,
    pub scheduled_at: OffsetDateTime,
    pub duration_minutes: i32,
    pub meeting_url: String,
    pub link_version: i32,
}

/// Takes at most `limit` deliveries of a channel: due, held by nobody, and each the first of its stream.
pub async fn claim_deliveries(
    executor: impl PgExecutor<'_>,
    channel: &str,
    limit: i64,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with head as (
               select d.id from notification_deliveries d
               where d.channel = $1
                 and d.delivered_at is null and d.dead_at is null and d.dropped_at is null
                 and d.due_at <= app_now() and (d.leased_until is null or d.leased_until <= app_now())
                 and not exists (
                     select from notification_deliveries before
                     where before.stream_key = d.stream_key and before.channel = d.channel and before.seq < d.seq
                       and before.delivered_at is null and before.dead_at is null and before.dropped_at is null)
               order by d.due_at limit $2
               for update of d skip locked),
           claimed as (
               update notification_deliveries
               set lease_id = gen_random_uuid(), leased_until = app_now() + make_interval(secs => $3),
                   attempts = attempts + 1
               where id = any(array(select id from head))
               returning *)
           select c.id as "id!", c.lease_id as "lease_id!", c.attempts as "attempts!",
                  c.created_at < app_now() - make_interval(hours => $4) as "is_old!", app_now() as "now!",
                  n.id as notification_id, n.kind, n.payload::text as "payload!", n.created_at as happened_at,
                  n.user_id,
                  coalesce(u.email, case when n.user_id = s.guest_id then s.guest_email end) as email,
                  s.id as "booking_id?", s.title as "title?", s.status in ('scheduled', 'in_progress') as is_open,
                  s.scheduled_at as "scheduled_at?", s.duration_minutes as "duration_minutes?",
                  s.meeting_url as "meeting_url?", s.link_version as "link_version?"
           from claimed c
           join notifications n on n.id = c.notification_id
           left join sessions s on s.id = n.session_id
           left join app_users u on u.id = n.user_id
           order by c.seq"#,
        channel,
        limit,
        LEASE_SECONDS,
        PATIENCE_HOURS,
    );
    let claimed = rows.fetch_all(executor).await?.into_iter().map(|row| Claimed {
        id: row.id,
        lease_id: row.lease_id,
        attempts: row.attempts,
        is_old: row.is_old,
        now: row.now,
        notification_id: row.notification_id,
        kind: row.kind,
        payload: row.payload,
        happened_at: row.happened_at,
        user_id: row.user_id,
        email: row.email,
        booking: row.booking_id.and_then(|id| {
            Some(About {
                id,
                title: row.title?,
                is_open: row.is_open?,
                scheduled_at: row.scheduled_at?,
                duration_minutes: row.duration_minutes?,
                meeting_url: row.meeting_url?,
                link_version: row.link_version?,
            })
        }),
    });
    Ok(claimed.collect())
}

/// What became of a claimed delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Delivered,
    /// Not true any more, or nobody to tell.
    Dropped(String),
    /// Set aside, where admins see it.
    Dead(String),
    /// Another attempt after so many seconds.
    Later(f64, String),
    /// It was not tried.
    Untried,
}

impl Outcome {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Dropped(_) => "dropped",
            Self::Dead(_) => "dead",
            Self::Later(..) => "later",
            Self::Untried => "untried",
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Self::Dropped(why) | Self::Dead(why) | Self::Later(_, why) => Some(why),
            Self::Delivered | Self::Untried => None,
        }
    }
}

/// False: the lease went to another worker meanwhile, who tells what became of it.
pub async fn conclude_delivery(
    executor: impl PgExecutor<'_>,
    delivery: &Claimed,
    outcome: &Outcome,
) -> Result<bool, sqlx::Error> {
    let wait = if let Outcome::Later(seconds, _) = outcome { Some(*seconds) } else { None };
    let concluded = sqlx::query!(
        "update notification_deliveries
         set delivered_at = case when $3 = 'delivered' then app_now() end,
             dropped_at = case when $3 = 'dropped' then app_now() end,
             dead_at = case when $3 = 'dead' then app_now() end,
             due_at = coalesce(app_now() + make_interval(secs => $4), due_at),
             attempts = attempts - case when $3 = 'untried' then 1 else 0 end,
             last_error = coalesce(left($5, 500), last_error),
             leased_until = null, lease_id = null
         where id = $1 and lease_id = $2",
        delivery.id,
        delivery.lease_id,
        outcome.name(),
        wait,
        outcome.why(),
    );
    Ok(concluded.execute(executor).await?.rows_affected() == 1)
}

/// Deletes at most `limit` deliveries that were made or dropped more than `keep` seconds ago: how many. What was given
/// up stays until somebody decides about it.
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
    Ok(deleted.execute(executor).await?.rows_affected())
}

/// What waits on a channel, and what was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Backlog {
    pub channel: String,
    pub pending: i64,
    pub oldest_seconds: f64,
    pub dead: i64,
}

pub async fn find_backlog(
    executor: impl PgExecutor<'_>,
    channels: &[String],
) -> Result<Vec<Backlog>, sqlx::Error> {
    sqlx::query_as!(
        Backlog,
        r#"select channel as "channel!", pending as "pending!", dead as "dead!",
                  coalesce(extract(epoch from app_now() - oldest), 0)::float8 as "oldest_seconds!"
           from unnest($1::text[]) channel
           cross join lateral (
               select count(*) as pending, min(d.created_at) as oldest from notification_deliveries d
               where d.channel = channel.channel
                 and d.delivered_at is null and d.dead_at is null and d.dropped_at is null) waiting
           cross join lateral (
               select count(*) as dead from notification_deliveries d
               where d.channel = channel.channel and d.dead_at is not null) given_up"#,
        channels,
    )
    .fetch_all(executor)
    .await
}

/// A delivery as admins see it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: Uuid,
    pub notification_id: Uuid,
    pub kind: String,
    pub channel: String,
    pub user_id: Option<String>,
    pub session_id: Option<Uuid>,
    pub attempts: i32,
    pub last_error: Option<String>,
    pub created_at: OffsetDateTime,
    pub due_at: OffsetDateTime,
    pub dead_at: Option<OffsetDateTime>,
}

/// Those that are `dead`, or those that wait, newest first.
pub async fn list_deliveries(
    executor: impl PgExecutor<'_>,
    dead: bool,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Delivery>, sqlx::Error> {
    sqlx::query_as!(
        Delivery,
        r#"select d.id as "id!", d.notification_id as "notification_id!", n.kind, d.channel as "channel!", n.user_id,
                  n.session_id, d.attempts as "attempts!", d.last_error, d.created_at as "created_at!",
                  d.due_at as "due_at!", d.dead_at
           from (select * from notification_deliveries where $1 and dead_at is not null
                 union all
                 select * from notification_deliveries
                 where not $1 and delivered_at is null and dead_at is null and dropped_at is null) d
           join notifications n on n.id = d.notification_id
           where (d.created_at, d.id) < (coalesce($2, 'infinity'::timestamptz), coalesce($3::uuid, $5))
           order by d.created_at desc, d.id desc limit $4"#,
        dead,
        after.map(|cursor| cursor.at),
        after.map(|cursor| cursor.id),
        limit,
        Uuid::max(),
    )
    .fetch_all(executor)
    .await
}
