//! Bookings, live rooms and their LiveKit rooms in named states. SQL writes the rows that the services would write.
//!
//! Each booking has its own host and guest with rows in `app_users`, so that seeds never overlap.

pub mod live;
pub mod nest;

use domain::{Owner, OwnerKind, RoomStatus, SessionId};
use sqlx::PgPool;
use time::Duration;
use uuid::Uuid;

/// The state of a booking at the database's current time. All bookings last 60 minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Began 5 minutes ago.
    OpenNow,
    /// Starts in 24 hours.
    OpensTomorrow,
    /// Began yesterday, and is not marked as completed yet.
    WindowOver,
    /// Began 5 minutes ago, ended by its host.
    Completed,
    /// Would be open now.
    Cancelled,
}

impl State {
    const fn start(self) -> Duration {
        match self {
            Self::OpenNow | Self::Completed | Self::Cancelled => Duration::minutes(-5),
            Self::OpensTomorrow => Duration::hours(24),
            Self::WindowOver => Duration::hours(-24),
        }
    }

    const fn status(self) -> &'static str {
        match self {
            Self::OpenNow | Self::OpensTomorrow | Self::WindowOver => "scheduled",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A booking of a test.
#[derive(Clone, Debug)]
pub struct Booking {
    pub id: Uuid,
    pub host: String,
    pub guest: String,
}

/// The record of a LiveKit room.
#[derive(Clone, Debug)]
pub struct Room {
    pub id: Uuid,
    pub name: String,
    /// Empty while it is pending.
    pub sid: String,
}

/// Writes a user with the name and picture that a sign-in would have stored.
pub async fn person(pool: &PgPool, id: &str, name: &str) {
    sqlx::query!(
        "select upsert_user($1, $2, $3, $4, null, '', '') as done",
        id,
        name,
        format!("{id}@example.org"),
        format!("https://example.org/{id}.png")
    )
    .execute(pool)
    .await
    .expect("a user");
}

/// Writes a booking of Hanna Host and Gustav Guest, without a room.
pub async fn booking(pool: &PgPool, state: State) -> Booking {
    let id = Uuid::new_v4();
    let (host, guest) = (format!("host-{}", id.simple()), format!("guest-{}", id.simple()));
    person(pool, &host, "Hanna Host").await;
    person(pool, &guest, "Gustav Guest").await;
    // One statement, as for a real booking: a concurrent pass must not see a session without its participants.
    sqlx::query!(
        "with session as (
             insert into sessions (id, host_id, guest_id, created_by, title, scheduled_at, duration_minutes, status,
                                   meeting_url, cancelled_at)
             values ($1, $2, $3, $2, 'A lesson', app_now() + make_interval(secs => $4), 60, $5, $6,
                     case $5 when 'cancelled' then app_now() end)
             returning *)
         insert into session_participants (session_id, user_id, role, slot, active)
         select s.id, party.id, party.role,
                tstzrange(s.scheduled_at, s.scheduled_at + make_interval(mins => s.duration_minutes), '[)'),
                s.status in ('scheduled', 'in_progress')
         from session s
         cross join lateral (values (s.host_id, 'host'), (s.guest_id, 'guest')) party (id, role)",
        id,
        host,
        guest,
        state.start().as_seconds_f64(),
        state.status(),
        format!("https://app.example.org/meeting/{id}"),
    )
    .execute(pool)
    .await
    .expect("a session and its participants");
    Booking { id, host, guest }
}

/// Writes the booking's room: generation 1, observed on LiveKit just now. Only the record is written, no room is
/// created.
pub async fn active_room(pool: &PgPool, booking: &Booking) -> Room {
    room(pool, booking, RoomStatus::Active).await
}

/// Writes the committed intent to create the booking's room.
pub async fn pending_room(pool: &PgPool, booking: &Booking) -> Room {
    room(pool, booking, RoomStatus::Pending).await
}

async fn room(pool: &PgPool, booking: &Booking, status: RoomStatus) -> Room {
    let room = record(pool, Owner::Session(SessionId(booking.id)), status).await;
    for (user, role) in [(&booking.host, "host"), (&booking.guest, "guest")] {
        sqlx::query!(
            "insert into livekit_participants (room_id, user_id, role) values ($1, $2, $3)",
            room.id,
            user,
            role
        )
        .execute(pool)
        .await
        .expect("its participants");
    }
    room
}

async fn record(pool: &PgPool, owner: Owner, status: RoomStatus) -> Room {
    let name = owner.room_name(1);
    // Only an active record has a SID and a time of observation.
    let sid = (status == RoomStatus::Active).then(|| format!("RM_{}", &crate::secret()[..12]));
    let id = sqlx::query_scalar!(
        "insert into livekit_rooms (session_id, live_session_id, nest_id, room_name, room_sid, status,
                                    max_participants, confirmed_at)
         values ($1, $2, $3, $4, $5, $6, 10, case when $5::text is not null then app_now() end)
         returning id",
        owner.id_as(OwnerKind::Session),
        owner.id_as(OwnerKind::LiveSession),
        owner.id_as(OwnerKind::Nest),
        name,
        sid,
        status.as_str(),
    )
    .fetch_one(pool)
    .await
    .expect("a room");
    Room { id, name, sid: sid.unwrap_or_default() }
}
