//! Permanent rooms: one per person, with an address of their own, read by those who may.

use chassis::{
    grpc::system_caller,
    status::{Reason, Refusal},
};
use domain::{LiveStatus, LobbyStatus, SeatRole};
use futures::future::join_all;
use proto::{
    room::v1::{
        GetMyRoomRequest, GetRoomStateResponse, ListSessionsRequest, LiveRoomFields, LiveRoomRequest,
        LiveRoomResponse, SaveMyRoomRequest, TopicKeys, UpdateRoomRequest,
        live_room_service_server::LiveRoomService,
    },
    types::v1::{AccessLevel, Caller, LiveRoomStatus},
};
use room_lifecycle::Rooms;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::seed::live::{live_session, seat};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::harness::{
    World,
    hosts::{admin, person},
};

fn told<T>(answer: Result<Response<T>, Status>) -> Result<T, Refusal> {
    answer.map(Response::into_inner).map_err(|status| Refusal::from_status(&status))
}

async fn mine(rooms: &Rooms, caller: &Caller) -> LiveRoomResponse {
    let request = GetMyRoomRequest { caller: Some(caller.clone()) };
    told(LiveRoomService::get_my_room(rooms, Request::new(request)).await).unwrap()
}

fn about(caller: &Caller, room: Uuid) -> Request<LiveRoomRequest> {
    Request::new(LiveRoomRequest { caller: Some(caller.clone()), room_id: room.to_string() })
}

async fn update(
    rooms: &Rooms,
    caller: &Caller,
    room: &str,
    fields: LiveRoomFields,
) -> Result<LiveRoomResponse, Refusal> {
    let request =
        UpdateRoomRequest { caller: Some(caller.clone()), room_id: room.to_owned(), fields: Some(fields) };
    told(LiveRoomService::update_room(rooms, Request::new(request)).await)
}

fn named(id: &str, name: &str) -> Caller {
    Caller { name: name.to_owned(), ..person(id) }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_hundred_first_calls_give_one_room(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let replicas = [world.rooms().await, world.rooms().await];
    let ana = named("ana", "Ana Arias");
    let answers = join_all((0..100).map(|n| mine(&replicas[n % 2], &ana))).await;
    let first = answers[0].room.clone().unwrap();
    assert!(
        answers.into_iter().all(|answer| answer.room.as_ref() == Some(&first) && answer.session.is_none())
    );
    assert_eq!((first.room_slug.as_str(), first.room_name.as_str()), ("ana-arias", "Ana Arias"));
    assert_eq!((first.status(), first.access_level()), (LiveRoomStatus::Idle, AccessLevel::Public));
    let known = sqlx::query!("select display_name, live_room_id from app_users where id = 'ana'");
    let known = known.fetch_one(&world.pool).await.unwrap();
    assert_eq!(known.live_room_id.map(|id| id.to_string()), Some(first.id));
    assert_eq!(known.display_name.as_deref(), Some("Ana Arias"));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_slug_is_never_somebody_elses_room(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let people: Vec<Caller> = (0..20).map(|n| named(&format!("user-{n}"), "Ana")).collect();
    let answers = join_all(people.iter().map(|caller| mine(&rooms, caller))).await;
    let mut slugs = Vec::new();
    for (caller, answer) in people.iter().zip(answers) {
        let room = answer.room.unwrap();
        assert_eq!(room.host_user_id, caller.user_id);
        assert!(room.room_slug == "ana" || room.room_slug.starts_with("ana-"), "{}", room.room_slug);
        slugs.push(room.room_slug);
    }
    slugs.sort();
    slugs.dedup();
    assert_eq!(slugs.len(), 20);
    // Both addresses that would be tried first are taken by others.
    let dora = named("dora", "Dora");
    let own = mine(&rooms, &dora).await.room.unwrap().room_slug;
    assert_eq!(own, "dora");
    world
        .execute(
            "update live_rooms set host_user_id = 'thief', room_slug = 'dora' where host_user_id = 'dora'",
        )
        .await;
    let second = mine(&rooms, &dora).await.room.unwrap();
    world
        .execute(&format!("update live_rooms set host_user_id = 'thief-2' where id = '{}'", second.id))
        .await;
    let third = mine(&rooms, &dora).await.room.unwrap();
    assert_eq!(third.host_user_id, "dora");
    assert!(third.room_slug.starts_with("dora-") && third.room_slug != second.room_slug);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn people_without_a_usable_name_have_rooms_too(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for (id, name, slug, room_name) in [
        ("auth0|42", "", "auth0-42", "Live room"),
        ("日本", "日本", "room", "日本"),
        ("中国", "", "room-", "Live room"),
        (&*"x".repeat(200), &*"Y".repeat(300), &*"y".repeat(60), &*"Y".repeat(200)),
    ] {
        let room = mine(&rooms, &named(id, name)).await.room.unwrap();
        assert!(room.room_slug.starts_with(slug), "{}", room.room_slug);
        assert_eq!(room.room_name, room_name);
    }
    let nobody = GetMyRoomRequest { caller: Some(system_caller()) };
    let refusal = told(LiveRoomService::get_my_room(&*rooms, Request::new(nobody)).await).unwrap_err();
    assert_eq!(refusal.reason, Reason::Unauthenticated);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_host_sets_what_his_room_says(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let ana = named("ana", "Ana");
    let fields = LiveRoomFields {
        title: Some("Stars".into()),
        description: Some("Every night.\nWith tea.".into()),
        topic_keys: Some(TopicKeys { keys: vec!["stars".into(), "tea".into()] }),
        cover_image_url: Some("https://example.org/a.png".into()),
        ..LiveRoomFields::default()
    };
    let request = SaveMyRoomRequest { caller: Some(ana.clone()), fields: Some(fields.clone()) };
    let saved =
        told(LiveRoomService::save_my_room(&*rooms, Request::new(request)).await).unwrap().room.unwrap();
    assert_eq!((saved.title.as_str(), saved.room_name.as_str()), ("Stars", "Ana"));
    assert_eq!(saved.topic_keys, ["stars", "tea"]);
    assert_eq!(saved.cover_image_url(), "https://example.org/a.png");
    // What is absent stays; empty is a value.
    let change = LiveRoomFields {
        room_name: Some("Ana's nights".into()),
        cover_image_url: Some(String::new()),
        access_level: Some(AccessLevel::Group.into()),
        groups: Some(TopicKeys { keys: vec!["astronomers".into()] }),
        ..LiveRoomFields::default()
    };
    let changed = update(&rooms, &ana, &saved.id, change).await.unwrap().room.unwrap();
    assert_eq!((changed.title.as_str(), changed.room_name.as_str()), ("Stars", "Ana's nights"));
    assert_eq!((changed.cover_image_url.as_deref(), changed.room_slug.as_str()), (None, "ana"));
    let member = Caller { groups: vec!["astronomers".into()], ..person("bob") };
    let seen =
        told(LiveRoomService::get_room(&*rooms, about(&member, saved.id.parse().unwrap())).await).unwrap();
    assert_eq!(seen.room.unwrap(), changed);
    assert_eq!(update(&rooms, &member, &saved.id, fields.clone()).await.unwrap_err().reason, Reason::NotHost);
    for (caller, id) in [(&person("carl"), saved.id.clone()), (&ana, Uuid::new_v4().to_string())] {
        let refusal = update(&rooms, caller, &id, fields.clone()).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::RoomNotFound);
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn wrong_fields_are_refused_by_name(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let ana = named("ana", "Ana");
    let room = mine(&rooms, &ana).await.room.unwrap();
    let text = |length: usize| Some("x".repeat(length));
    let keys = |n: usize, length: usize| Some(TopicKeys { keys: vec!["x".repeat(length); n] });
    let none = LiveRoomFields::default;
    let long_url = format!("https://example.org/{}", "x".repeat(2_048));
    for (field, fields) in [
        ("title", LiveRoomFields { title: text(201), ..none() }),
        ("title", LiveRoomFields { title: Some("\0\u{200b}".into()), ..none() }),
        ("description", LiveRoomFields { description: Some("\u{2060}\n\u{3164}".into()), ..none() }),
        ("room_name", LiveRoomFields { room_name: Some("\u{feff}\u{200d}".into()), ..none() }),
        ("description", LiveRoomFields { description: text(5_001), ..none() }),
        ("room_name", LiveRoomFields { room_name: Some("  ".into()), ..none() }),
        ("room_name", LiveRoomFields { room_name: text(201), ..none() }),
        ("cover_image_url", LiveRoomFields { cover_image_url: Some("javascript:alert(1)".into()), ..none() }),
        ("cover_image_url", LiveRoomFields { cover_image_url: Some("https://a b".into()), ..none() }),
        (
            "cover_image_url",
            LiveRoomFields { cover_image_url: Some("http://example.org/a".into()), ..none() },
        ),
        (
            "cover_image_url",
            LiveRoomFields { cover_image_url: Some("https://u:p@example.org/".into()), ..none() },
        ),
        ("cover_image_url", LiveRoomFields { cover_image_url: Some("https://127.0.0.1/a".into()), ..none() }),
        ("cover_image_url", LiveRoomFields { cover_image_url: Some(long_url), ..none() }),
        ("access_level", LiveRoomFields { access_level: Some(0), ..none() }),
        ("topic_keys", LiveRoomFields { topic_keys: keys(21, 1), ..none() }),
        ("topic_keys", LiveRoomFields { topic_keys: keys(1, 101), ..none() }),
        ("groups", LiveRoomFields { groups: keys(101, 1), ..none() }),
        ("groups", LiveRoomFields { groups: keys(1, 0), ..none() }),
        ("groups", LiveRoomFields { groups: Some(TopicKeys { keys: vec!["stars ".into()] }), ..none() }),
        (
            "topic_keys",
            LiveRoomFields { topic_keys: Some(TopicKeys { keys: vec!["\u{200b}".into()] }), ..none() },
        ),
    ] {
        let refusal = update(&rooms, &ana, &room.id, fields).await.unwrap_err();
        assert_eq!((refusal.reason, refusal.facts["field"].as_str()), (Reason::InvalidRequest, field));
    }
    let all = LiveRoomFields {
        title: text(201),
        room_name: Some("\u{200b}".into()),
        cover_image_url: Some("javascript:alert(1)".into()),
        access_level: Some(99),
        topic_keys: keys(21, 1),
        ..none()
    };
    let refusal = update(&rooms, &ana, "x", all).await.unwrap_err();
    let named: Vec<_> = refusal.errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(named, ["room_id", "title", "room_name", "cover_image_url", "access_level", "topic_keys"]);
    assert_eq!(mine(&rooms, &ana).await.room.unwrap(), room);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn room_texts_are_stored_cleaned(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let ana = named("ana", "A\u{202e}na\u{200b}");
    let room = mine(&rooms, &ana).await.room.unwrap();
    assert_eq!(room.room_name, "Ana");
    let fields = LiveRoomFields {
        title: Some(" St\u{ad}ars\n".into()),
        description: Some("Every\u{2066} night.\nWith\u{7} tea.".into()),
        topic_keys: Some(TopicKeys { keys: vec!["te\u{200b}a".into()] }),
        cover_image_url: Some("https://Example.org/a b.png".replace(' ', "%20")),
        ..LiveRoomFields::default()
    };
    let room = update(&rooms, &ana, &room.id, fields).await.unwrap().room.unwrap();
    assert_eq!((room.title.as_str(), room.description.as_str()), ("Stars", "Every night.\nWith tea."));
    assert_eq!(
        (room.topic_keys[0].as_str(), room.cover_image_url()),
        ("tea", "https://example.org/a%20b.png")
    );
}

/// What each of the readers' calls says to this caller.
async fn read_all(rooms: &Rooms, caller: &Caller, room: Uuid) -> [Option<Reason>; 3] {
    let list = ListSessionsRequest {
        caller: Some(caller.clone()),
        room_id: room.to_string(),
        ..ListSessionsRequest::default()
    };
    [
        told(LiveRoomService::get_room(rooms, about(caller, room)).await).err(),
        told(LiveRoomService::get_room_state(rooms, about(caller, room)).await).err(),
        told(LiveRoomService::list_sessions(rooms, Request::new(list)).await).err(),
    ]
    .map(|refusal| refusal.map(|refusal| refusal.reason))
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_is_read_by_those_who_may(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
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
    // What is on decides, not what the room says for other days.
    let session = live_session(&world.pool, &host.room, LiveStatus::Live).await;
    assert_eq!(read_all(&rooms, &person("stranger"), room).await, [None; 3]);
    world
        .execute(&format!("update live_room_sessions set access_level = 'group' where id = '{session}'"))
        .await;
    world.execute("update live_rooms set access_level = 'public'").await;
    assert_eq!(read_all(&rooms, &person("stranger"), room).await, absent);
    assert_eq!(read_all(&rooms, &member, room).await, [None; 3]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_session_that_is_over_is_told_to_those_whom_it_was_for(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
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
    for (caller, told_of) in [(&person("stranger"), 1), (&member, 2), (&host.caller, 2), (&admin(), 2)] {
        let list = ListSessionsRequest {
            caller: Some(caller.clone()),
            room_id: room.to_string(),
            ..ListSessionsRequest::default()
        };
        let page = told(LiveRoomService::list_sessions(&*rooms, Request::new(list)).await).unwrap();
        assert_eq!(page.sessions.len(), told_of, "{caller:?}");
        let last = told(LiveRoomService::get_room(&*rooms, about(caller, room)).await).unwrap().session;
        assert_eq!(last.is_some(), told_of == 2, "{caller:?}");
        assert!(last.is_none_or(|last| last.id == secret.to_string()));
    }
}

async fn state(rooms: &Rooms, caller: &Caller, room: Uuid) -> GetRoomStateResponse {
    told(LiveRoomService::get_room_state(rooms, about(caller, room)).await).unwrap()
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_state_tells_who_is_there_and_who_one_is(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
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
    let seen = state(&rooms, &host.caller, host.room.id).await;
    let counts = seen.counts.unwrap();
    assert_eq!((counts.lobby_waiting, counts.in_room, counts.max_participants), (1, 2, 100));
    assert!(counts.host_present);
    assert_eq!(seen.session.unwrap().id, session.to_string());
    for (user, role, lobby, banned) in [
        ("speaker", SeatRole::Speaker, Some(LobbyStatus::Admitted), false),
        ("waiting", SeatRole::Guest, Some(LobbyStatus::Waiting), false),
        ("rejected", SeatRole::Guest, Some(LobbyStatus::Rejected), false),
        ("nobody", SeatRole::Guest, None, false),
        ("banned", SeatRole::Guest, None, true),
        ("once", SeatRole::Guest, None, false),
    ] {
        let viewer = state(&rooms, &person(user), host.room.id).await.viewer.unwrap();
        let found = (viewer.role, viewer.lobby_status, viewer.is_banned, viewer.is_host);
        assert_eq!(found, (role.into(), lobby.map(Into::into), banned, false), "{user}");
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn sessions_are_listed_in_pages_latest_first(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let host = world.host().await;
    let mut wanted = Vec::new();
    for day in 1..=7 {
        let session = live_session(&world.pool, &host.room, LiveStatus::Ended).await;
        let moved = "update live_room_sessions set started_at = app_now() - interval '1 day' *";
        world.execute(&format!("{moved} {day} where id = '{session}'")).await;
        wanted.push(session.to_string());
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let request = ListSessionsRequest {
            caller: Some(person("reader")),
            room_id: host.room.id.to_string(),
            limit: Some(3),
            cursor,
        };
        let page = told(LiveRoomService::list_sessions(&*rooms, Request::new(request)).await).unwrap();
        seen.extend(page.sessions.into_iter().map(|session| session.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, wanted);
    let wrong = |limit, cursor: &str| ListSessionsRequest {
        caller: Some(person("reader")),
        room_id: host.room.id.to_string(),
        limit: Some(limit),
        cursor: Some(cursor.to_owned()),
    };
    for request in [wrong(101, ""), wrong(-1, ""), wrong(0, "x")] {
        let refusal = told(LiveRoomService::list_sessions(&*rooms, Request::new(request)).await).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidRequest);
    }
}
