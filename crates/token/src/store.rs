//! The SQL of token: what a join depends on, who the caller is, and which joins have arrived.

mod live;
mod nest;
mod session;

use chassis::db::Statement;
use domain::RoomId;
use proto::types::v1::Caller;
use sqlx::PgExecutor;
use time::OffsetDateTime;

pub use live::{LiveJoin, find_live_join};
pub use nest::{NestJoin, find_nest_join};
pub use session::{Join, find_join};

/// Keeps name, e-mail and picture as the identity provider tells them.
pub async fn upsert_user(executor: impl PgExecutor<'_>, person: &Caller) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"select 1 as "done!" from upsert_user($1, $2, $3, $4, $5)"#,
        person.user_id,
        person.name,
        person.email,
        person.avatar_url,
        person.email_verified
    )
    .fetch_optional(executor)
    .statement("SELECT upsert_user")
    .await
    .map(drop)
}

/// How many of these tokens (room, person, time of issue) were followed by a join within `grace` seconds, or were
/// given to somebody who was in the room already. A token whose room is gone counts as not followed.
pub async fn count_joins_seen(
    executor: impl PgExecutor<'_>,
    rooms: &[RoomId],
    users: &[String],
    issued: &[OffsetDateTime],
    grace: f64,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        select count(*) as "seen!"
        from unnest($1::uuid[], $2::text[], $3::timestamptz[]) t (room_id, user_id, issued_at)
        join livekit_participants p on p.room_id = t.room_id and p.user_id = t.user_id
        where p.joined_at <= t.issued_at + make_interval(secs => $4)
          and (p.status = 'joined' or coalesce(p.left_at, p.kicked_at) >= t.issued_at)
        "#,
        rooms as &[RoomId],
        users,
        issued,
        grace
    )
    .fetch_one(executor)
    .statement("SELECT count_joins_seen")
    .await
}
