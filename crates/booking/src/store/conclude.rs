//! Stores the outcome of a claimed delivery. A worker that lost its lease writes nothing.

use chassis::db::Statement;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::Claimed;

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Delivered,
    /// It is out of date, or has no recipient.
    Dropped(String),
    /// Given up; listed for admins.
    Dead(String),
    /// Retried after so many seconds.
    Later(f64, String),
    /// Waits until the user's address is known, at most until then.
    Waiting(OffsetDateTime, String),
    /// Not tried.
    Untried,
}

impl Outcome {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Dropped(_) => "dropped",
            Self::Dead(_) => "dead",
            Self::Later(..) => "later",
            Self::Waiting(..) => "waiting",
            Self::Untried => "untried",
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Self::Dropped(why) | Self::Dead(why) | Self::Later(_, why) | Self::Waiting(_, why) => Some(why),
            Self::Delivered | Self::Untried => None,
        }
    }
}

/// Stores the outcome of a delivery. `was_refused`: the receiver refused this recipient, or stopped answering. Returns
/// false if another worker has the lease now; that worker stores the outcome.
pub async fn conclude_delivery(
    executor: impl PgExecutor<'_>,
    delivery: &Claimed,
    outcome: &Outcome,
    was_refused: bool,
) -> Result<bool, sqlx::Error> {
    // For `claim_probe`, which then chooses another recipient.
    let refused = was_refused.then(|| recipient(delivery));
    match outcome {
        Outcome::Dead(why) => give_up(executor, delivery, why, refused).await,
        Outcome::Waiting(until, why) => wait(executor, delivery, *until, why).await,
        Outcome::Delivered | Outcome::Dropped(_) | Outcome::Later(..) | Outcome::Untried => {
            mark(executor, delivery, outcome, refused).await
        }
    }
}

/// Returns the recipient as `claim_probe` compares it.
fn recipient(delivery: &Claimed) -> &str {
    match (&delivery.user_id, &delivery.email) {
        (Some(_), Some(email)) => email,
        _ => "admins",
    }
}

async fn mark(
    executor: impl PgExecutor<'_>,
    delivery: &Claimed,
    outcome: &Outcome,
    refused: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let wait = if let Outcome::Later(seconds, _) = outcome { Some(*seconds) } else { None };
    let concluded = sqlx::query!(
        "update notification_deliveries
         set delivered_at = case when $3 = 'delivered' then app_now() end,
             dropped_at = case when $3 = 'dropped' then app_now() end,
             waits_for = null,
             due_at = coalesce(app_now() + make_interval(secs => $4), due_at),
             attempts = attempts - case when $3 = 'untried' then 1 else 0 end,
             last_error = coalesce(left($5, 500), last_error),
             refused_recipient = coalesce(lower($6), refused_recipient),
             refused_at = case when $6 is not null then app_now() else refused_at end,
             leased_until = null, lease_id = null
         where id = $1 and lease_id = $2",
        delivery.id,
        delivery.lease_id,
        outcome.name(),
        wait,
        outcome.why(),
        refused,
    );
    Ok(concluded.execute(executor).statement("UPDATE mark").await?.rows_affected() == 1)
}

/// Gives a delivery up. For each mail to the guest that was given up, the host gets one notification, without the
/// address. If the mail of that notification is given up too, no further notification follows.
async fn give_up(
    executor: impl PgExecutor<'_>,
    delivery: &Claimed,
    why: &str,
    refused: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let given_up = sqlx::query_scalar!(
        r#"with given_up as (
               update notification_deliveries
               set dead_at = app_now(), waits_for = null, last_error = left($3, 500),
                   refused_recipient = coalesce(lower($4), refused_recipient),
                   refused_at = case when $4 is not null then app_now() else refused_at end,
                   leased_until = null, lease_id = null
               where id = $1 and lease_id = $2
               returning notification_id, channel),
           -- Notifies the host that a mail to the guest was given up.
           notified as (
               insert into notifications (user_id, kind, session_id, payload, dedupe_key)
               select s.host_id, 'mail_undeliverable', s.id,
                      jsonb_build_object('bookingId', s.id, 'title', s.title, 'userId', n.user_id, 'kind', n.kind),
                      'mail_undeliverable:' || n.id
               from given_up g
               join notifications n on n.id = g.notification_id
               join sessions s on s.id = n.session_id and s.guest_id = n.user_id
               where g.channel = 'email' and n.kind <> 'mail_undeliverable'
               on conflict on constraint notifications_dedupe_key do nothing)
           select exists (select from given_up) as "given_up!""#,
        delivery.id,
        delivery.lease_id,
        why,
        refused,
    );
    given_up.fetch_one(executor).statement("UPDATE give_up").await
}

async fn wait(
    executor: impl PgExecutor<'_>,
    delivery: &Claimed,
    until: OffsetDateTime,
    why: &str,
) -> Result<bool, sqlx::Error> {
    // The function takes an advisory lock: an address that is stored at the same time is not missed.
    sqlx::query_scalar!(
        r#"select await_address($1, $2, $3, $4, $5) as "awaited!""#,
        delivery.id,
        delivery.lease_id,
        delivery.user_id,
        until,
        why,
    )
    .fetch_one(executor)
    .statement("SELECT wait")
    .await
}
