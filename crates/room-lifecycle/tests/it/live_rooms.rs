//! Permanent rooms: one per user, each with its own slug and fields that its host sets.

use chassis::{
    grpc::system_caller,
    status::{Reason, Refusal},
};
use futures::future::join_all;
use proto::{
    room::v1::{
        GetMyRoomRequest, LiveRoomFields, LiveRoomResponse, SaveMyRoomRequest, TopicKeys, UpdateRoomRequest,
        live_room_service_server::LiveRoomService,
    },
    types::v1::{AccessLevel, Caller, LiveRoomStatus},
};
use tonic::Request;
use uuid::Uuid;

use crate::{
    harness::{Service, World, hosts::person, nests::outcome},
    live_room_reads::about,
};

async fn mine(rooms: &Service, caller: &Caller) -> LiveRoomResponse {
    let request = GetMyRoomRequest { caller: Some(caller.clone()) };
    outcome(LiveRoomService::get_my_room(&rooms.live, Request::new(request)).await).unwrap()
}

async fn update(
    rooms: &Service,
    caller: &Caller,
    room: &str,
    fields: LiveRoomFields,
) -> Result<LiveRoomResponse, Refusal> {
    let request =
        UpdateRoomRequest { caller: Some(caller.clone()), room_id: room.to_owned(), fields: Some(fields) };
    outcome(LiveRoomService::update_room(&rooms.live, Request::new(request)).await)
}

fn named(id: &str, name: &str) -> Caller {
    Caller { name: name.to_owned(), ..person(id) }
}

#[testkit::test]
async fn live_room_is_created_once_by_100_first_calls(world: World) {
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

#[testkit::test]
async fn slug_is_never_shared_by_two_rooms(world: World) {
    let rooms = world.rooms().await;
    let users: Vec<Caller> = (0..20).map(|n| named(&format!("user-{n}"), "Ana")).collect();
    let answers = join_all(users.iter().map(|caller| mine(&rooms, caller))).await;
    let mut slugs = Vec::new();
    for (caller, answer) in users.iter().zip(answers) {
        let room = answer.room.unwrap();
        assert_eq!(room.host_user_id, caller.user_id);
        assert!(room.room_slug == "ana" || room.room_slug.starts_with("ana-"), "{}", room.room_slug);
        slugs.push(room.room_slug);
    }
    slugs.sort();
    slugs.dedup();
    assert_eq!(slugs.len(), 20);
    // Other rooms have both slugs that would be tried first.
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

#[testkit::test]
async fn user_without_a_usable_name_gets_a_room(world: World) {
    let rooms = world.rooms().await;
    for (id, name, slug, room_name) in [
        ("auth0|42", "", "auth0-42", "Live room"),
        ("日本", "日本", "room", "日本"),
        ("中国", "", "room-", "Live room"),
        (&*"x".repeat(200), &*"Y".repeat(300), &*"y".repeat(60), &*"Y".repeat(200)),
    ] {
        let room = mine(&rooms, &named(id, name)).await.room.unwrap();
        assert!(room.room_slug.starts_with(slug), "{}", room.room_slug);
        assert_eq!(room.room_name, room_name, "{id}");
    }
    let system = GetMyRoomRequest { caller: Some(system_caller()) };
    let refusal = outcome(LiveRoomService::get_my_room(&rooms.live, Request::new(system)).await).unwrap_err();
    assert_eq!(refusal.reason, Reason::Unauthenticated);
}

#[testkit::test]
async fn host_updates_the_fields_of_a_room(world: World) {
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
    let saved = outcome(LiveRoomService::save_my_room(&rooms.live, Request::new(request)).await)
        .unwrap()
        .room
        .unwrap();
    assert_eq!((saved.title.as_str(), saved.room_name.as_str()), ("Stars", "Ana"));
    assert_eq!(saved.topic_keys, ["stars", "tea"]);
    assert_eq!(saved.cover_image_url(), "https://example.org/a.png");
    // An absent field is not changed. An empty one is a value.
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
    let shown =
        outcome(LiveRoomService::get_room(&rooms.live, about(&member, saved.id.parse().unwrap())).await)
            .unwrap();
    assert_eq!(shown.room.unwrap(), changed);
    assert_eq!(update(&rooms, &member, &saved.id, fields.clone()).await.unwrap_err().reason, Reason::NotHost);
    for (caller, id) in [(&person("carl"), saved.id.clone()), (&ana, Uuid::new_v4().to_string())] {
        let refusal = update(&rooms, caller, &id, fields.clone()).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::RoomNotFound, "{caller:?}");
    }
}

#[testkit::test]
async fn wrong_room_fields_are_refused_by_name(world: World) {
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

#[testkit::test]
async fn room_texts_are_stored_cleaned(world: World) {
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
