//! The SQL of token: reads what a join depends on, stores the caller's profile, counts joins.
//!
//! One statement for each kind of room returns one flat row: [`Join`], [`LiveJoin`], [`NestJoin`].

mod live;
mod nest;
mod session;

use chassis::db::Statement;
use domain::{RoomId, RoomStatus};
use proto::types::v1::Caller;
use sqlx::PgExecutor;
use time::OffsetDateTime;

pub use live::{LiveJoin, find_live_join};
pub use nest::{NestJoin, find_nest_join};
pub use session::{Join, find_join};

/// The record of a room. All fields are empty if there is no record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub id: Option<RoomId>,
    pub status: Option<RoomStatus>,
    pub name: Option<&'a str>,
    pub generation: Option<i32>,
    pub confirmed_at: Option<OffsetDateTime>,
    pub closing_at: Option<OffsetDateTime>,
}

/// What is stored about a user. Empty: not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoredProfile<'a> {
    pub name: Option<&'a str>,
    pub email: Option<&'a str>,
    pub email_verified: Option<bool>,
    pub avatar: Option<&'a str>,
    pub locale: Option<&'a str>,
    pub zoneinfo: Option<&'a str>,
    /// The guest's name in the booking.
    pub booked: Option<&'a str>,
}

/// Stores name, e-mail and picture from the identity provider.
pub async fn upsert_user(executor: impl PgExecutor<'_>, user: &Caller) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"select 1 as "done!" from upsert_user($1, $2, $3, $4, $5, $6, $7)"#,
        user.user_id,
        user.name,
        user.email,
        user.avatar_url,
        user.email_verified,
        user.locale,
        user.zoneinfo
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
