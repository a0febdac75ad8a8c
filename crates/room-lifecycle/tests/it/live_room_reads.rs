//! Reading live rooms: the room, its state and its sessions, only with access.

use chassis::status::Reason;
use domain::{LiveStatus, LobbyStatus, SeatRole};
use proto::{
    room::v1::{
        GetRoomStateResponse, ListSessionsRequest, LiveRoomRequest, live_room_service_server::LiveRoomService,
    },
    types::v1::{Caller, LiveRoomStatus},
};
use testkit::seed::live::{live_session, seat};
use tonic::Request;
use uuid::Uuid;

use crate::harness::{
    Service, World,
    hosts::{admin, person},
    nests::outcome,
};

pub fn about(caller: &Caller, room: Uuid) -> Request<LiveRoomRequest> {
    Request::new(LiveRoomRequest { caller: Some(caller.clone()), room_id: room.to_string() })
}

/// The refusals of all read calls for this caller.
async fn read_all(rooms: &Service, caller: &Caller, room: Uuid) -> [Option<Reason>; 3] {
    let list = ListSessionsRequest {
        caller: Some(caller.clone()),
        room_id: room.to_string(),
        ..ListSessionsRequest::default()
    };
    [
        outcome(LiveRoomService::get_room(&rooms.live, about(caller, room)).await).err(),
        outcome(LiveRoomService::get_room_state(&rooms.live, about(caller, room)).await).err(),
        outcome(LiveRoomService::list_sessions(&rooms.live, Request::new(list)).await).err(),
    ]
    .map(|refusal| refusal.map(|refusal| refusal.reason))
}

#[testkit::test]
async fn room_is_read_only_with_access(world: World) {
    let rooms = world.rooms().await;
    let host = world.host().await;
    let room = host.room.id;
    let member = Caller { groups: vec!["astronomers".into()], ..person("member") };
    let absent = [Some(Reason::RoomNotFound); 3];
    assert_eq!(read_all(&rooms, &person("stranger"), room).await, [None; 3]);
    assert_eq!(read_all(&rooms, &host.caller, Uuid::new_v4()).await, absent);
    world
        .execute("update live_rooms set access_level = 'group', metadata = '{\"groups\": [\"astronomers\"]}'")
        .await;
    for caller in [&host.caller, &admin(), &member] {
        assert_eq!(read_all(&rooms, caller, room).await, [None; 3], "{caller:?}");
    }
    assert_eq!(read_all(&rooms, &person("stranger"), room).await, absent);
    // The open session's access level decides, not the room's.
    let session = live_session(&world.pool, &host.room, LiveStatus::Live).await;
    assert_eq!(read_all(&rooms, &person("stranger"), room).await, [None; 3]);
    world
        .execute(&format!("update live_room_sessions set access_level = 'group' where id = '{session}'"))
        .await;
    world.execute("update live_rooms set access_level = 'public'").await;
    assert_eq!(read_all(&rooms, &person("stranger"), room).await, absent);
    assert_eq!(read_all(&rooms, &member, room).await, [None; 3]);
}

#[testkit::test]
async fn ended_session_is_listed_only_with_access(world: World) {
    let rooms = world.rooms().await;
    let host = world.host().await;
    let (room, member) = (host.room.id, Caller { groups: vec!["astronomers".into()], ..person("member") });
    live_session(&world.pool, &host.room, LiveStatus::Ended).await;
    world.execute("update live_room_sessions set started_at = app_now() - interval '1 day'").await;
    let secret = live_session(&world.pool, &host.room, LiveStatus::Ended).await;
    world.execute("update live_rooms set metadata = '{\"groups\": [\"astronomers\"]}'").await;
    world
        .execute(&format!("update live_room_sessions set access_level = 'group' where id = '{secret}'"))
        .await;
    for (caller, listed) in [(&person("stranger"), 1), (&member, 2), (&host.caller, 2), (&admin(), 2)] {
        let list = ListSessionsRequest {
            caller: Some(caller.clone()),
            room_id: room.to_string(),
            ..ListSessionsRequest::default()
        };
        let page = outcome(LiveRoomService::list_sessions(&rooms.live, Request::new(list)).await).unwrap();
        assert_eq!(page.sessions.len(), listed, "{caller:?}");
        let last =
            outcome(LiveRoomService::get_room(&rooms.live, about(caller, room)).await).unwrap().session;
        assert_eq!(last.is_some(), listed == 2, "{caller:?}");
        assert!(last.is_none_or(|last| last.id == secret.to_string()), "{caller:?}");
    }
}

async fn state(rooms: &Service, caller: &Caller, room: Uuid) -> GetRoomStateResponse {
    outcome(LiveRoomService::get_room_state(&rooms.live, about(caller, room)).await).unwrap()
}

#[testkit::test]
async fn room_state_has_counts_and_the_viewers_seat(world: World) {
    let rooms = world.rooms().await;
    let host = world.host().await;
    let idle = state(&rooms, &host.caller, host.room.id).await;
    assert_eq!((idle.room.unwrap().status(), idle.session), (LiveRoomStatus::Idle, None));
    assert!(idle.viewer.unwrap().is_host);
    let session = live_session(&world.pool, &host.room, LiveStatus::Lobby).await;
    for (user, role, lobby) in [
        (host.caller.user_id.as_str(), SeatRole::Host, LobbyStatus::Admitted),
        ("speaker", SeatRole::Speaker, LobbyStatus::Admitted),
        ("coming", SeatRole::Guest, LobbyStatus::Admitted),
        ("waiting", SeatRole::Guest, LobbyStatus::Waiting),
        ("rejected", SeatRole::Guest, LobbyStatus::Rejected),
    ] {
        seat(&world.pool, session, user, role, lobby).await;
    }
    world
        .execute(
            "update live_room_attendance set joined_at = app_now() where role in ('host', 'speaker');
             update live_room_attendance set left_at = app_now() where lobby_status = 'rejected';
             update live_room_sessions set host_present = true;
             insert into live_room_bans (live_room_id, user_id, banned_by, until)
             select id, b.user_id, host_user_id, b.until from live_rooms,
                    (values ('banned', null), ('once', app_now() - interval '1 hour')) b (user_id, until)",
        )
        .await;
    let shown = state(&rooms, &host.caller, host.room.id).await;
    let counts = shown.counts.unwrap();
    assert_eq!((counts.lobby_waiting, counts.in_room, counts.max_participants), (1, 2, 100));
    assert!(counts.host_present);
    assert_eq!(shown.session.unwrap().id, session.to_string());
    for (user, role, lobby, banned) in [
        ("speaker", SeatRole::Speaker, Some(LobbyStatus::Admitted), false),
        ("waiting", SeatRole::Guest, Some(LobbyStatus::Waiting), false),
        ("rejected", SeatRole::Guest, Some(LobbyStatus::Rejected), false),
        ("stranger", SeatRole::Guest, None, false),
        ("banned", SeatRole::Guest, None, true),
        ("once", SeatRole::Guest, None, false),
    ] {
        let viewer = state(&rooms, &person(user), host.room.id).await.viewer.unwrap();
        let found = (viewer.role, viewer.lobby_status, viewer.is_banned, viewer.is_host);
        assert_eq!(found, (role.into(), lobby.map(Into::into), banned, false), "{user}");
    }
}

#[testkit::test]
async fn sessions_are_listed_in_pages_latest_first(world: World) {
    let rooms = world.rooms().await;
    let host = world.host().await;
    let mut wanted = Vec::new();
    for day in 1..=7 {
        let session = live_session(&world.pool, &host.room, LiveStatus::Ended).await;
        let moved = "update live_room_sessions set started_at = app_now() - interval '1 day' *";
        world.execute(&format!("{moved} {day} where id = '{session}'")).await;
        wanted.push(session.to_string());
    }
    let (mut shown, mut cursor) = (Vec::new(), None);
    loop {
        let request = ListSessionsRequest {
            caller: Some(person("reader")),
            room_id: host.room.id.to_string(),
            limit: Some(3),
            cursor,
        };
        let page = outcome(LiveRoomService::list_sessions(&rooms.live, Request::new(request)).await).unwrap();
        shown.extend(page.sessions.into_iter().map(|session| session.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(shown, wanted);
    let wrong = |limit, cursor: &str| ListSessionsRequest {
        caller: Some(person("reader")),
        room_id: host.room.id.to_string(),
        limit: Some(limit),
        cursor: Some(cursor.to_owned()),
    };
    for request in [wrong(101, ""), wrong(-1, ""), wrong(0, "x")] {
        let refusal =
            outcome(LiveRoomService::list_sessions(&rooms.live, Request::new(request)).await).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidRequest, "{refusal:?}");
    }
}
