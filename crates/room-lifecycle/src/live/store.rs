//! The SQL of live rooms. The open session is the truth. A room's status, session and `host_present` are computed from
//! it, and never read from the projection, which may be outdated.

pub mod lobby;
pub mod moderation;
pub mod rooms;
pub mod seats;
pub mod sessions;

use chassis::db::Statement;
use domain::{AccessLevel, EndReason, LiveRoomId, LiveSessionId, LiveStatus, RoomStatus};
use proto::types::v1::Caller;
use sqlx::{PgExecutor, Result};
use time::{Duration, OffsetDateTime};

/// A live room with one of its sessions, and the database's now.
#[derive(Clone, Debug)]
pub struct Live {
    pub room: LiveRoom,
    /// The statement says which one it is.
    pub session: Option<LiveSession>,
    pub now: OffsetDateTime,
}

#[derive(Clone, Debug)]
pub struct LiveRoom {
    pub id: LiveRoomId,
    pub title: String,
    pub description: String,
    pub room_name: String,
    pub room_slug: String,
    pub host_user_id: String,
    pub access_level: AccessLevel,
    pub topic_keys: Vec<String>,
    pub cover_image_url: Option<String>,
    /// `None`: idle.
    pub open_status: Option<LiveStatus>,
    pub open_session: Option<LiveSessionId>,
    pub host_present: bool,
    /// The name of the open session's room on LiveKit, if that room is recorded.
    pub livekit_room_name: Option<String>,
}

#[derive(Clone, Debug)]
pub struct LiveSession {
    pub id: LiveSessionId,
    pub room_id: LiveRoomId,
    pub session_title: Option<String>,
    pub topic_keys: Vec<String>,
    pub status: LiveStatus,
    pub access_level: AccessLevel,
    pub starts_at: OffsetDateTime,
    pub ends_at: Option<OffsetDateTime>,
    pub started_at: Option<OffsetDateTime>,
    pub ended_at: Option<OffsetDateTime>,
    /// `None`: it is open, or it ended before reasons were recorded.
    pub end_reason: Option<EndReason>,
    pub lobby_open_at: Option<OffsetDateTime>,
    pub lobby_buffer_minutes: i32,
    pub auto_admit: bool,
    pub max_participants: i32,
    /// The status of its room on LiveKit, once the intent to have one is written.
    pub livekit: Option<RoomStatus>,
}

impl Live {
    /// The session, if it is open.
    pub fn open_session(&self) -> Option<&LiveSession> {
        self.session.as_ref().filter(|session| session.status.is_open())
    }
}

impl LiveSession {
    /// When its lobby opens, or was opened.
    pub fn lobby_opens_at(&self) -> OffsetDateTime {
        let buffer = Duration::minutes(self.lobby_buffer_minutes.into());
        self.lobby_open_at.unwrap_or_else(|| self.starts_at.saturating_sub(buffer))
    }
}

/// The reader of a room, as `may_read_live_room()` takes it.
#[derive(Clone, Copy, Debug)]
pub struct RoomReader<'a> {
    pub user_id: &'a str,
    pub is_admin: bool,
    pub groups: &'a [String],
}

impl<'a> From<&'a Caller> for RoomReader<'a> {
    fn from(caller: &'a Caller) -> Self {
        Self { user_id: &caller.user_id, is_admin: caller.is_privileged(), groups: &caller.groups }
    }
}

/// Saves the name and the other user data of a caller's token.
pub async fn upsert_user(db: impl PgExecutor<'_>, caller: &Caller) -> Result<()> {
    sqlx::query!(
        "select upsert_user($1, $2, $3, $4, $5, $6, $7)",
        caller.user_id,
        caller.name,
        caller.email,
        caller.avatar_url,
        caller.email_verified,
        caller.locale,
        caller.zoneinfo
    )
    .execute(db)
    .statement("SELECT upsert_user")
    .await
    .map(drop)
}

/// Selects live rooms `r` with their open session `o`, and the session `s` that `$sessions` join. This is the one list
/// of their columns; `$more` adds columns.
macro_rules! select_live {
    ($more:literal, $($sessions:literal)+, $rest:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query!(
            r#"select r.id as "room_id!: domain::LiveRoomId", r.title as "title!", r.description as "description!",
                      r.room_name as "room_name!", r.room_slug as "room_slug!", r.host_user_id as "host_user_id!",
                      r.access_level as "room_access!: domain::AccessLevel", r.topic_keys as "room_topics!",
                      r.cover_image_url, o.status as "open_status?: domain::LiveStatus", o.id as "open_session?: domain::LiveSessionId",
                      coalesce(o.host_present, false) as "host_present!", ok.room_name as "livekit_room_name?",
                      s.id as "session_id?: domain::LiveSessionId", s.session_title as "session_title?",
                      s.topic_keys as "session_topics?", s.status as "session_status?: domain::LiveStatus",
                      s.access_level as "session_access?: domain::AccessLevel", s.starts_at as "starts_at?",
                      s.ends_at as "ends_at?", s.started_at as "started_at?", s.ended_at as "ended_at?",
                      s.end_reason as "end_reason?: domain::EndReason",
                      s.lobby_open_at as "lobby_open_at?", s.lobby_buffer_minutes as "lobby_buffer_minutes?",
                      s.auto_admit as "auto_admit?", s.max_participants as "max_participants?",
                      sk.status as "livekit?: domain::RoomStatus", app_now() as "now!""#
            + $more
            + "
            from live_rooms r
            left join live_room_sessions o on o.open_room = r.id
            left join livekit_rooms ok on ok.live_session_id = o.id "
            $(+ $sessions)+
            + "
            left join livekit_rooms sk on sk.live_session_id = s.id "
            + $rest,
            $($argument),+
        )
    };
}
use select_live;

/// The same with the room's current session: the open one, else the last. `$only` restricts it further.
macro_rules! select_current {
    ($only:literal, $rest:literal, $($argument:expr),+ $(,)?) => {
        select_live!(
            "",
            "left join live_room_sessions s on s.id = coalesce(o.id, (
                 select l.id from live_room_sessions l where l.room_id = r.id
                 order by coalesce(l.started_at, l.starts_at) desc, l.created_at desc, l.id desc limit 1)) "
            $only,
            $rest,
            $($argument),+
        )
    };
}
use select_current;

/// Converts one row of [`select_live`].
macro_rules! live {
    ($row:ident) => {
        $crate::live::store::Live {
            session: $row.session_id.and_then(|id| {
                Some($crate::live::store::LiveSession {
                    id,
                    room_id: $row.room_id,
                    session_title: $row.session_title,
                    topic_keys: $row.session_topics?,
                    status: $row.session_status?,
                    access_level: $row.session_access?,
                    starts_at: $row.starts_at?,
                    ends_at: $row.ends_at,
                    started_at: $row.started_at,
                    ended_at: $row.ended_at,
                    end_reason: $row.end_reason,
                    lobby_open_at: $row.lobby_open_at,
                    lobby_buffer_minutes: $row.lobby_buffer_minutes?,
                    auto_admit: $row.auto_admit?,
                    max_participants: $row.max_participants?,
                    livekit: $row.livekit,
                })
            }),
            room: $crate::live::store::LiveRoom {
                id: $row.room_id,
                title: $row.title,
                description: $row.description,
                room_name: $row.room_name,
                room_slug: $row.room_slug,
                host_user_id: $row.host_user_id,
                access_level: $row.room_access,
                topic_keys: $row.room_topics,
                cover_image_url: $row.cover_image_url,
                open_status: $row.open_status,
                open_session: $row.open_session,
                host_present: $row.host_present,
                livekit_room_name: $row.livekit_room_name,
            },
            now: $row.now,
        }
    };
}
use live;
