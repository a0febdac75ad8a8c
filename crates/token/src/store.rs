//! The SQL of token: reads what a join depends on, stores the caller's profile, counts joins.

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

/// Stores name, e-mail and picture from the identity provider.
pub async fn upsert_user(executor: impl PgExecutor<'_>, user: &Caller) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"select 1 as "done!" from upsert_user($1, $2, $3, $4, $5)"#,
        user.user_id,
        user.name,
        user.email,
        user.avatar_url,
        user.email_verified
    )
    .fetch_optional(executor)
    .statement("SELECT upsert_user")
    .await
    .map(drop)
}

/// Counts the tokens (room, user, time of issue) that were followed by a join within `grace` seconds, or whose holder
/// was in the room already. A token whose room no longer exists counts as not followed.
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
        from unnest($1::uuid[], $2::text[], $3::timestamptz[]) token (room_id, user_id, issued_at)
        join livekit_participants p on p.room_id = token.room_id and p.user_id = token.user_id
        where p.joined_at <= token.issued_at + make_interval(secs => $4)
          -- Also those who have left meanwhile, but not before the token was issued.
          and (p.status = 'joined' or coalesce(p.left_at, p.kicked_at) >= token.issued_at)
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
