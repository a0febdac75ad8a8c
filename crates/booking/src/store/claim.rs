//! Claims deliveries: under a lease that is committed before anything is sent, and only the head of each stream.

use chassis::db::Statement;
use domain::SessionId;
use sqlx::PgExecutor;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// The terms of a claim.
#[derive(Clone, Copy, Debug)]
pub struct ClaimTerms {
    /// How long a claimed delivery belongs to its worker.
    pub lease_seconds: f64,
    /// How long a delivery is retried.
    pub retry_hours: i32,
}

/// A delivery under a worker's lease, with the current state of its booking.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: Uuid,
    pub lease_id: Uuid,
    pub attempts: i32,
    /// Whether the time for retries is over.
    pub is_old: bool,
    /// Whether it waited for an address: its text then has the current state of the booking.
    pub waited: bool,
    pub now: OffsetDateTime,
    pub notification_id: Uuid,
    pub kind: String,
    /// A JSON object.
    pub payload: String,
    pub happened_at: OffsetDateTime,
    /// None: it is for the admins.
    pub user_id: Option<String>,
    pub email: Option<String>,
    /// The locales of the user, the best one first; of a guest who never signed in, those of the host.
    pub locales: Vec<String>,
    /// The time zones of the user and of the booking, the best one first.
    pub time_zones: Vec<String>,
    pub booking: Option<DeliveryBooking>,
}

/// The booking of a delivery.
#[derive(Clone, Debug)]
pub struct DeliveryBooking {
    pub id: SessionId,
    pub title: String,
    pub description: String,
    pub is_open: bool,
    pub scheduled_at: OffsetDateTime,
    pub duration_minutes: i32,
    pub time_zone: Option<String>,
    pub meeting_url: String,
    pub sequence: i32,
    pub link_version: i32,
    pub created_at: OffsetDateTime,
    pub host_id: String,
    pub host_name: String,
    pub guest_name: String,
}

impl DeliveryBooking {
    pub fn ends_at(&self) -> OffsetDateTime {
        self.scheduled_at + Duration::minutes(self.duration_minutes.into())
    }

    /// Whether it is open and has not ended at `then`.
    pub fn is_ahead(&self, then: OffsetDateTime) -> bool {
        self.is_open && then < self.ends_at()
    }
}

struct ClaimRow {
    id: Uuid,
    lease_id: Uuid,
    attempts: i32,
    is_old: bool,
    waited: bool,
    now: OffsetDateTime,
    notification_id: Uuid,
    kind: String,
    payload: String,
    happened_at: OffsetDateTime,
    user_id: Option<String>,
    email: Option<String>,
    locales: Vec<String>,
    time_zones: Vec<String>,
    booking_id: Option<Uuid>,
    title: Option<String>,
    description: Option<String>,
    is_open: Option<bool>,
    scheduled_at: Option<OffsetDateTime>,
    duration_minutes: Option<i32>,
    time_zone: Option<String>,
    meeting_url: Option<String>,
    sequence: Option<i32>,
    link_version: Option<i32>,
    created_at: Option<OffsetDateTime>,
    host_id: Option<String>,
    host_name: Option<String>,
    guest_name: Option<String>,
}

impl From<ClaimRow> for Claimed {
    fn from(row: ClaimRow) -> Self {
        Self {
            id: row.id,
            lease_id: row.lease_id,
            attempts: row.attempts,
            is_old: row.is_old,
            waited: row.waited,
            now: row.now,
            notification_id: row.notification_id,
            kind: row.kind,
            payload: row.payload,
            happened_at: row.happened_at,
            user_id: row.user_id,
            email: row.email,
            locales: row.locales,
            time_zones: row.time_zones,
            booking: row.booking_id.and_then(|id| {
                Some(DeliveryBooking {
                    id: SessionId(id),
                    title: row.title?,
                    description: row.description?,
                    is_open: row.is_open?,
                    scheduled_at: row.scheduled_at?,
                    duration_minutes: row.duration_minutes?,
                    time_zone: row.time_zone,
                    meeting_url: row.meeting_url?,
                    sequence: row.sequence?,
                    link_version: row.link_version?,
                    created_at: row.created_at?,
                    host_id: row.host_id?,
                    host_name: row.host_name?,
                    guest_name: row.guest_name?,
                })
            }),
        }
    }
}

/// Claims the due deliveries of channel `$1` that no worker has leased, that are the first of their stream, and that
/// match `$chosen`.
macro_rules! claim {
    ($joined:tt, $chosen:tt, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            ClaimRow,
            r#"with head as (
                   -- `skip locked`: another worker is claiming these rows.
                   select d.id from notification_deliveries d "# + $joined + r#"
                   where d.channel = $1
                     and d.delivered_at is null and d.dead_at is null and d.dropped_at is null
                     and d.due_at <= app_now() and (d.leased_until is null or d.leased_until <= app_now())
                     and not exists (
                         select from notification_deliveries before
                         where before.stream_key = d.stream_key and before.channel = d.channel
                           and before.seq < d.seq and before.waits_for is null
                           and before.delivered_at is null and before.dead_at is null
                           and before.dropped_at is null)
                     "# + $chosen + r#"
                   for update of d skip locked),
               claimed as (
                   update notification_deliveries
                   set lease_id = gen_random_uuid(), leased_until = app_now() + make_interval(secs => $2),
                       attempts = attempts + 1
                   where id = any(array(select id from head))
                   returning *)
               select c.id as "id!", c.lease_id as "lease_id!", c.attempts as "attempts!", c.waited as "waited!",
                      c.created_at < app_now() - make_interval(hours => $3) as "is_old!", app_now() as "now!",
                      n.id as notification_id, n.kind, n.payload::text as "payload!", n.created_at as happened_at,
                      n.user_id,
                      mail_address(u.email, u.email_verified,
                                  case when n.user_id = s.guest_id then s.guest_email end) as email,
                      -- The language of a guest who never signed in is the one of the host who invited them.
                      array_remove(array[u.chosen_locale, u.locale,
                                         case when u.id is null and n.user_id = s.guest_id then h.chosen_locale end,
                                         case when u.id is null and n.user_id = s.guest_id then h.locale end],
                                   null) as "locales!",
                      array_remove(array[u.chosen_time_zone, u.zoneinfo, s.time_zone], null) as "time_zones!",
                      s.id as "booking_id?", s.title as "title?", s.description as "description?",
                      s.status in ('scheduled', 'in_progress') as is_open,
                      s.scheduled_at as "scheduled_at?", s.duration_minutes as "duration_minutes?", s.time_zone,
                      s.meeting_url as "meeting_url?", s.sequence as "sequence?", s.link_version as "link_version?",
                      s.created_at as "created_at?", s.host_id as "host_id?",
                      coalesce(h.display_name, s.host_id) as host_name,
                      coalesce(g.display_name, s.guest_name, s.guest_id) as guest_name
               from claimed c
               join notifications n on n.id = c.notification_id
               left join sessions s on s.id = n.session_id
               left join app_users u on u.id = n.user_id
               left join app_users h on h.id = s.host_id
               left join app_users g on g.id = s.guest_id
               order by c.seq"#,
            $($argument),+
        )
    };
}

/// Claims at most `limit` deliveries, those that are due for the longest time first.
pub async fn claim_deliveries(
    executor: impl PgExecutor<'_>,
    channel: &str,
    limit: i64,
    terms: ClaimTerms,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let rows =
        claim!("", "order by d.due_at limit $4", channel, terms.lease_seconds, terms.retry_hours, limit);
    Ok(rows
        .fetch_all(executor)
        .statement("SELECT claim_deliveries")
        .await?
        .into_iter()
        .map(Claimed::from)
        .collect())
}

/// Claims the mail that shows whether the server works again: the oldest one whose recipient was not refused within an
/// hour.
pub async fn claim_probe(
    executor: impl PgExecutor<'_>,
    channel: &str,
    terms: ClaimTerms,
) -> Result<Option<Claimed>, sqlx::Error> {
    let row = claim!(
        "join notifications n on n.id = d.notification_id
         left join sessions s on s.id = n.session_id
         left join app_users u on u.id = n.user_id
         cross join lateral (
             select case when n.user_id is null then 'admins'
                         else lower(mail_address(u.email, u.email_verified,
                                                 case when n.user_id = s.guest_id then s.guest_email end))
                    end as recipient) r",
        "and r.recipient is not null
         and not exists (
             select from notification_deliveries refused
             where refused.refused_recipient = r.recipient
               and refused.refused_at > app_now() - interval '1 hour')
         order by d.seq limit 1",
        channel,
        terms.lease_seconds,
        terms.retry_hours,
    );
    Ok(row.fetch_optional(executor).statement("SELECT claim_probe").await?.map(Claimed::from))
}
