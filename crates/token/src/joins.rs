//! Counts the tokens that were followed by a join. 30 s after a token was issued, its holder is looked up among the
//! room's participants, many in one statement, and counted as `greenroom_joins_total{result="seen"|"not_seen"}`.
//!
//! The count is for operators only. It is bounded, it is lost with the process, and no token is kept.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::RoomId;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::store;

/// The longest time from a token to its join.
pub const GRACE: Duration = Duration::from_secs(30);
/// Tokens watched at the same time. Further tokens are not counted.
const MAX_WATCHED: usize = 10_000;

#[derive(Debug, Default)]
pub struct Joins(Mutex<VecDeque<Watched>>);

#[derive(Debug)]
struct Watched {
    room_id: RoomId,
    user_id: String,
    at: OffsetDateTime,
    due: Instant,
}

/// How many tokens were followed by a join, and how many were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinCounts {
    pub observed: u64,
    pub not_observed: u64,
}

impl Joins {
    /// Watches for the join that should follow a token issued at `at`, by the database's clock.
    pub fn expect(&self, room_id: RoomId, user_id: &str, at: OffsetDateTime) {
        let mut queue = self.queue();
        // A bound, because the queue is only for a metric.
        if queue.len() < MAX_WATCHED {
            queue.push_back(Watched {
                room_id,
                user_id: user_id.to_owned(),
                at,
                due: Instant::now() + GRACE,
            });
        }
    }

    /// Counts the joins of all tokens that are due at `at`. After a failure these tokens are not counted again.
    pub async fn count_arrivals(&self, pool: &PgPool, at: Instant) -> Result<JoinCounts, sqlx::Error> {
        // Taken before the read: a failure loses some counts, and counts none twice.
        let due = self.take_due(at);
        if due.is_empty() {
            return Ok(JoinCounts::default());
        }
        let (mut rooms, mut users, mut issued) = (Vec::new(), Vec::new(), Vec::new());
        let all = due.len() as u64;
        for token in due {
            rooms.push(token.room_id);
            users.push(token.user_id);
            issued.push(token.at);
        }
        let observed = store::count_joins_seen(pool, &rooms, &users, &issued, GRACE.as_secs_f64()).await?;
        let observed = u64::try_from(observed).unwrap_or_default();
        let result = JoinCounts { observed, not_observed: all - observed };
        metrics::counter!("greenroom_joins_total", "result" => "seen").increment(result.observed);
        metrics::counter!("greenroom_joins_total", "result" => "not_seen").increment(result.not_observed);
        Ok(result)
    }

    fn take_due(&self, at: Instant) -> Vec<Watched> {
        let mut queue = self.queue();
        // Sorted by time, because each token waits for the same time.
        let due = queue.partition_point(|token| token.due <= at);
        queue.drain(..due).collect()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watched_tokens_are_bounded_and_due_after_the_grace_period() {
        let joins = Joins::default();
        for _ in 0..MAX_WATCHED + 5 {
            joins.expect(RoomId::default(), "ana", OffsetDateTime::UNIX_EPOCH);
        }
        assert_eq!(joins.take_due(Instant::now()).len(), 0);
        assert_eq!(joins.take_due(Instant::now() + GRACE).len(), MAX_WATCHED);
        assert_eq!(joins.queue().len(), 0);
    }
}
