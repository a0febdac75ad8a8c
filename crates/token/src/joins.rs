//! Do tokens turn into joins? Each token issued is looked for among the room's participants 30 s later, many at
//! once, and counted as `greenroom_joins_total{result="seen"|"not_seen"}`.
//!
//! A count for operators and nothing more: it is bounded, forgotten with the process, and no token is kept.

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

/// How long after its token a join may appear.
pub const GRACE: Duration = Duration::from_secs(30);
/// Tokens watched at once; those beyond are not counted.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub struct Joins(Mutex<VecDeque<Issued>>);

#[derive(Debug)]
struct Issued {
    room_id: RoomId,
    user_id: String,
    at: OffsetDateTime,
    due: Instant,
}

/// How many tokens of a look were followed by a join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub seen: u64,
    pub not_seen: u64,
}

impl Joins {
    /// Watches for the join that should follow a token issued at `at` (the database's now).
    pub fn expect(&self, room_id: RoomId, user_id: &str, at: OffsetDateTime) {
        let mut queue = self.queue();
        if queue.len() < MOST {
            queue.push_back(Issued { room_id, user_id: user_id.to_owned(), at, due: Instant::now() + GRACE });
        }
    }

    /// Looks for the joins of all tokens that are due at `at`. What a failed look took is not looked at again.
    pub async fn count_arrivals(&self, pool: &PgPool, at: Instant) -> Result<Seen, sqlx::Error> {
        let due = self.take_due(at);
        if due.is_empty() {
            return Ok(Seen::default());
        }
        let (mut rooms, mut users, mut issued) = (Vec::new(), Vec::new(), Vec::new());
        let all = due.len() as u64;
        for token in due {
            rooms.push(token.room_id);
            users.push(token.user_id);
            issued.push(token.at);
        }
        let seen = store::count_joins_seen(pool, &rooms, &users, &issued, GRACE.as_secs_f64()).await?;
        let seen = u64::try_from(seen).unwrap_or_default();
        let result = Seen { seen, not_seen: all - seen };
        metrics::counter!("greenroom_joins_total", "result" => "seen").increment(result.seen);
        metrics::counter!("greenroom_joins_total", "result" => "not_seen").increment(result.not_seen);
        Ok(result)
    }

    fn take_due(&self, at: Instant) -> Vec<Issued> {
        let mut queue = self.queue();
        let due = queue.partition_point(|token| token.due <= at);
        queue.drain(..due).collect()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Issued>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_is_watched_and_nobody_before_the_grace_is_over() {
        let joins = Joins::default();
        for _ in 0..MOST + 5 {
            joins.expect(RoomId::default(), "ana", OffsetDateTime::UNIX_EPOCH);
        }
        assert_eq!(joins.take_due(Instant::now()).len(), 0);
        assert_eq!(joins.take_due(Instant::now() + GRACE).len(), MOST);
        assert_eq!(joins.queue().len(), 0);
    }
}
