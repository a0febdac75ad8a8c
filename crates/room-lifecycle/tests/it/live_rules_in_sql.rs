//! Rules of live sessions that are written twice, in Rust and in SQL: both say the same at each edge.

use std::iter::once;

use domain::{AccessLevel, LiveRoomId, LiveSessionId, LiveStatus, LobbyStatus, SeatRole};
use proto::room::v1::live_room_service_server::LiveRoomService;
use room_lifecycle::live::{session_decision::due, store::LiveSession};
use testkit::seed::live::seat;
use time::{Duration, OffsetDateTime};

use crate::{
    harness::{World, hosts::person, nests::outcome},
    live_room_reads::about,
};

/// When a session that did not go live is missed: a rule that only Rust has, and that must not make a session due that
/// SQL does not find.
const MISSED_AFTER: Duration = Duration::hours(2);

/// Just before this time, at it, and just after it, in the resolution of the database.
fn around(edge: OffsetDateTime) -> [OffsetDateTime; 3] {
    [edge - Duration::MICROSECOND, edge, edge + Duration::MICROSECOND]
}

/// Sessions in each status, whose start, end and lobby are around the times at which a rule changes.
fn sessions(now: OffsetDateTime) -> Vec<LiveSession> {
    let mut sessions = Vec::new();
    for (status, buffer) in
        LiveStatus::ALL.into_iter().flat_map(|status| [0_i32, 15, 1440].map(|buffer| (status, buffer)))
    {
        let edges = [now, now + Duration::minutes(buffer.into()), now - MISSED_AFTER];
        for starts_at in edges.into_iter().flat_map(around) {
            let ends = around(now).into_iter().filter(|end| *end > starts_at).map(Some);
            for ends_at in once(None).chain(ends) {
                for lobby_open_at in once(None).chain(around(now).map(Some)) {
                    sessions.push(LiveSession {
                        id: LiveSessionId::default(),
                        room_id: LiveRoomId::default(),
                        session_title: None,
                        topic_keys: Vec::new(),
                        status,
                        access_level: AccessLevel::Public,
                        starts_at,
                        ends_at,
                        started_at: None,
                        ended_at: None,
                        end_reason: None,
                        lobby_open_at,
                        lobby_buffer_minutes: buffer,
                        auto_admit: true,
                        max_participants: 100,
                        livekit: None,
                    });
                }
            }
        }
    }
    sessions
}

#[testkit::test]
async fn session_is_due_at_the_same_time_in_rust_and_sql(world: World) {
    let now = testkit::stop_database_clock(&world.pool).await;
    let mut connection = world.pool.acquire().await.unwrap();
    for session in sessions(now) {
        let sql = sqlx::query!(
            r#"select lobby_opens_at(session) as "lobby_opens_at!", is_live_session_due(session) as "is_due!"
               from jsonb_populate_record(null::live_room_sessions, jsonb_build_object(
                   'status', $1::text, 'starts_at', $2::timestamptz, 'ends_at', $3::timestamptz,
                   'lobby_open_at', $4::timestamptz, 'lobby_buffer_minutes', $5::integer)) session"#,
            session.status.as_str(),
            session.starts_at,
            session.ends_at,
            session.lobby_open_at,
            session.lobby_buffer_minutes
        )
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        assert_eq!(session.lobby_opens_at(), sql.lobby_opens_at, "lobby_opens_at() at {now}: {session:?}");
        assert_eq!(due(&session, now).is_some(), sql.is_due, "is_live_session_due() at {now}: {session:?}");
    }
}

#[testkit::test]
async fn open_sessions_and_rooms_are_the_same_in_rust_and_sql(world: World) {
    for status in LiveStatus::ALL {
        let (host, session) = world.host_with(status).await;
        let sql = sqlx::query!(
            r#"select s.open_room is not null as "is_open!", o.open as "has_room!", r.status as "of_room!"
               from live_room_sessions s
               join live_rooms r on r.id = s.room_id
               cross join lateral room_owner(null, s.id, null) o
               where s.id = $1 and r.id = $2"#,
            session,
            host.room.id
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        assert_eq!(status.is_open(), sql.is_open, "open_room of {status}");
        assert_eq!(status.has_room(), sql.has_room, "room_owners.open of {status}");
        assert_eq!(status.of_room().as_str(), sql.of_room, "refresh_live_room() with {status}");
    }
}

/// The answer to a viewer has the role that tokens have.
#[testkit::test]
async fn role_of_a_viewer_is_the_same_in_rust_and_sql(world: World) {
    let rooms = world.rooms().await;
    // Another writer may store `host` for a user who is not the host: then it gives no rights.
    for stored in once(None).chain(SeatRole::ALL.map(Some)) {
        let (host, session) = world.host_with(LiveStatus::Live).await;
        for user in [host.room.host.as_str(), "vera"] {
            if let Some(role) = stored {
                seat(&world.pool, session, user, role, LobbyStatus::Admitted).await;
            }
            let sql = sqlx::query_scalar!(
                r#"select seat_role($1, $2, $3) as "role!""#,
                user,
                host.room.host,
                stored.map(SeatRole::as_str)
            );
            let sql = sql.fetch_one(&world.pool).await.unwrap();
            let answer = LiveRoomService::get_room_state(&rooms.live, about(&person(user), host.room.id));
            let viewer = outcome(answer.await).unwrap().viewer.unwrap();
            let role = SeatRole::try_from(viewer.role).unwrap();
            assert_eq!(role.as_str(), sql, "{user} with the seat of a {stored:?}");
            assert_eq!(viewer.is_host, user == host.room.host, "{user} with the seat of a {stored:?}");
        }
    }
}
