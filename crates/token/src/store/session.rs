//! Reads what a user's join of a booked session depends on.

use chassis::db::Statement;
use domain::{Role, RoomId, RoomStatus, SessionId, SessionStatus};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Record, StoredProfile};

/// A booked session, the caller's role in it and its room, as one snapshot.
#[derive(Clone, Debug)]
pub struct Join {
    /// The database's clock. Decisions use it.
    pub now: OffsetDateTime,
    /// The database's clock without the offset of drills and tests. Tokens are dated by it, because LiveKit reads them.
    pub signed_at: OffsetDateTime,
    pub session_id: SessionId,
    pub title: String,
    pub scheduled_at: OffsetDateTime,
    pub status: SessionStatus,
    pub opens_at: OffsetDateTime,
    pub closes_at: OffsetDateTime,
    /// None: the caller is neither host nor guest.
    pub role: Option<Role>,
    pub kicked: bool,
    /// The guest's name in the booking.
    pub guest_name: Option<String>,
    pub own_name: Option<String>,
    pub own_email: Option<String>,
    pub own_email_verified: Option<bool>,
    pub own_avatar: Option<String>,
    pub own_locale: Option<String>,
    pub own_zoneinfo: Option<String>,
    pub other_id: String,
    pub other_name: Option<String>,
    pub other_avatar: Option<String>,
    pub room_id: Option<RoomId>,
    pub room_status: Option<RoomStatus>,
    pub room_name: Option<String>,
    pub generation: Option<i32>,
    pub confirmed_at: Option<OffsetDateTime>,
    pub closing_at: Option<OffsetDateTime>,
}

impl Join {
    pub fn record(&self) -> Record<'_> {
        Record {
            id: self.room_id,
            status: self.room_status,
            name: self.room_name.as_deref(),
            generation: self.generation,
            confirmed_at: self.confirmed_at,
            closing_at: self.closing_at,
        }
    }

    /// What is stored about the caller. None for strangers.
    pub fn profile(&self) -> Option<StoredProfile<'_>> {
        let role = self.role?;
        Some(StoredProfile {
            name: self.own_name.as_deref(),
            email: self.own_email.as_deref(),
            email_verified: self.own_email_verified,
            avatar: self.own_avatar.as_deref(),
            locale: self.own_locale.as_deref(),
            zoneinfo: self.own_zoneinfo.as_deref(),
            booked: self.guest_name.as_deref().filter(|_| !role.is_host()),
        })
    }
}

/// One round trip. Each table is read by a unique key (docs/benchmarks.md has the plan).
pub async fn find_join(
    executor: impl PgExecutor<'_>,
    session_id: SessionId,
    user_id: &str,
) -> Result<Option<Join>, sqlx::Error> {
    sqlx::query_as!(
        Join,
        r#"
        select app_now() as "now!", clock_timestamp() as "signed_at!",
               s.id as session_id, s.title, s.scheduled_at, s.status as "status: SessionStatus",
               w.opens_at as "opens_at!", w.closes_at as "closes_at!",
               case $2 when s.host_id then 'host' when s.guest_id then 'guest' end as "role: Role",
               p.user_id is not null as "kicked!", s.guest_name,
               own.display_name as "own_name?", own.email as "own_email?",
               own.email_verified as own_email_verified, own.avatar_url as "own_avatar?",
               own.locale as "own_locale?", own.zoneinfo as "own_zoneinfo?",
               party.id as "other_id!", other.display_name as "other_name?", other.avatar_url as "other_avatar?",
               r.id as "room_id?: RoomId", r.status as "room_status?: RoomStatus", r.room_name as "room_name?",
               r.generation as "generation?", r.confirmed_at as "confirmed_at?", r.closing_at as "closing_at?"
        from sessions s
        cross join lateral booking_window(s.scheduled_at, s.duration_minutes) w
        cross join lateral (select case $2 when s.host_id then s.guest_id else s.host_id end) party (id)
        left join app_users own on own.id = $2
        left join app_users other on other.id = party.id
        left join livekit_rooms r on r.session_id = s.id
        left join kicked_participants p on p.room_id = r.id and p.user_id = $2
        where s.id = $1
        "#,
        session_id.0,
        user_id
    )
    .fetch_optional(executor)
    .statement("SELECT find_join")
    .await
}
