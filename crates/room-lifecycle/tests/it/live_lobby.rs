//! The lobby and joins: which users wait, which are admitted and in which order, and which are refused.

use chassis::status::Reason;
use domain::{LiveRoomId, LiveStatus, LobbyStatus, SeatRole};
use proto::{
    room::v1::{AdmitRequest, ListLobbyRequest, SeatRequest, seat_service_client::SeatServiceClient},
    types::v1::{Caller, LobbyStatus as Lobby},
};
use room_lifecycle::{Error, live::store::seats::Seat};
use testkit::seed::{self, live};
use time::Duration;
use uuid::Uuid;

use crate::harness::{
    Service, World, reason,
    seats::{Open, VIEWER, WAITING, join, person, refused},
};

const REJECTED: Seat = Seat { role: SeatRole::Guest, lobby_status: LobbyStatus::Rejected };

async fn lobby(world: &World, max_participants: i32) -> Open {
    world.open(LiveStatus::Lobby, max_participants).await
}

/// Joins these users one after the other. Each must wait.
async fn wait_in_turn(world: &World, rooms: &Service, open: &Open, users: &[&str]) {
    for who in users {
        assert_eq!(join(rooms, open, who).await, WAITING, "{who}");
        world.advance(Duration::milliseconds(10));
    }
}

async fn admit(rooms: &Service, open: &Open, who: &str) -> Result<Option<Seat>, Error> {
    rooms.live.admit(&person(&open.room.host), LiveRoomId(open.room.id), who).await
}

/// The lobby status of these users, as a join returns it.
async fn seats(rooms: &Service, open: &Open, users: &[&str]) -> Vec<LobbyStatus> {
    let mut seats = Vec::new();
    for who in users {
        seats.push(join(rooms, open, who).await.lobby_status);
    }
    seats
}

/// Makes the session due and runs a pass.
async fn start(world: &World, rooms: &Service, open: &Open) {
    world.alter(open.session, "starts_at", "app_now()").await;
    rooms.live.pass().await.unwrap();
}

#[testkit::test]
async fn guests_wait_in_the_lobby_until_the_start(world: World) {
    let rooms = world.rooms().await;
    let open = lobby(&world, 5).await;
    assert_eq!(join(&rooms, &open, &open.room.host).await.lobby_status, LobbyStatus::Admitted);
    wait_in_turn(&world, &rooms, &open, &["ann", "ben"]).await;
    assert_eq!(admit(&rooms, &open, "ben").await.unwrap(), Some(VIEWER));
    assert_eq!(admit(&rooms, &open, "ben").await.unwrap(), Some(VIEWER));
    assert_eq!(seats(&rooms, &open, &["ann", "ben"]).await, [LobbyStatus::Waiting, LobbyStatus::Admitted]);
    start(&world, &rooms, &open).await;
    assert_eq!(seats(&rooms, &open, &["ann", "ben", "eve"]).await, [LobbyStatus::Admitted; 3]);
}

#[testkit::test]
async fn waiting_users_are_admitted_in_order_up_to_the_limit(world: World) {
    let rooms = world.rooms().await;
    let open = lobby(&world, 3).await;
    let users = ["zoe", "ann", "mia", "ben"];
    wait_in_turn(&world, &rooms, &open, &users).await;
    // A user who leaves and returns goes to the end of the queue.
    rooms.live.leave_live_room(&person("zoe"), LiveRoomId(open.room.id)).await.unwrap();
    wait_in_turn(&world, &rooms, &open, &["zoe", "eve"]).await;
    start(&world, &rooms, &open).await;
    let all = ["ann", "mia", "ben", "zoe", "eve"];
    let wanted = [LobbyStatus::Admitted; 3].into_iter().chain([LobbyStatus::Waiting; 2]);
    assert_eq!(seats(&rooms, &open, &all).await, wanted.collect::<Vec<_>>());
    assert_eq!(refused(&rooms, &open, "late").await, Reason::RoomFull);
    // A free seat goes to a waiting user, not to the newcomer whose join finds it.
    rooms.live.leave_live_room(&person("mia"), LiveRoomId(open.room.id)).await.unwrap();
    assert_eq!(refused(&rooms, &open, "late").await, Reason::RoomFull);
    assert_eq!(seats(&rooms, &open, &["zoe", "eve"]).await, [LobbyStatus::Admitted, LobbyStatus::Waiting]);
    world.advance(Duration::seconds(50)); // zoe joined later, so that hold has not expired
    world.execute("update live_room_attendance set held_until = app_now() where user_id = 'ann'").await;
    rooms.live.release_held().await.unwrap();
    assert_eq!(seats(&rooms, &open, &["eve"]).await, [LobbyStatus::Admitted]);
    assert_eq!(world.seated(&open).await, 3, "taken seats, without the host's");
}

#[testkit::test]
async fn waiting_user_is_dropped_when_requests_stop(world: World) {
    let rooms = world.rooms().await;
    let open = lobby(&world, 2).await;
    let host = person(&open.room.host);
    wait_in_turn(&world, &rooms, &open, &["absent", "gone", "ann"]).await;
    for _ in 0..3 {
        world.advance(Duration::seconds(65));
        assert_eq!(join(&rooms, &open, "ann").await, WAITING, "each request extends the wait");
    }
    // Expired users are not listed, whether released or not.
    let waiting = rooms.live.list_lobby(&host, LiveRoomId(open.room.id), None, 5).await.unwrap();
    assert_eq!(waiting.iter().map(|one| one.user_id.as_str()).collect::<Vec<_>>(), ["ann"]);
    assert_eq!(admit(&rooms, &open, "absent").await.unwrap(), None);
    assert!(!world.seat_row(&open, "gone").await.left);
    world.alter(open.session, "auto_admit", "false").await;
    start(&world, &rooms, &open).await;
    assert_eq!(rooms.live.admit_all(&host, LiveRoomId(open.room.id)).await.unwrap(), (1, 0));
    world.alter(open.session, "auto_admit", "true").await;
    assert_eq!(join(&rooms, &open, "gone").await, VIEWER, "a returning user joins as a new one");
    rooms.live.release_held().await.unwrap();
    assert!(world.seat_row(&open, "absent").await.left);
    assert_eq!(refused(&rooms, &open, "absent").await, Reason::RoomFull);
}

#[testkit::test]
async fn waiting_user_is_admitted_before_a_newcomer(world: World) {
    let rooms = world.rooms().await;
    let open = world.open(LiveStatus::Live, 1).await;
    live::seat(&world.pool, open.session, "ann", SeatRole::Guest, LobbyStatus::Waiting).await;
    assert_eq!(refused(&rooms, &open, "ben").await, Reason::RoomFull);
    // The refusal wrote nothing. The waiting user is admitted by the next request, or by a pass.
    assert_eq!(join(&rooms, &open, "ann").await, VIEWER);
}

#[testkit::test]
async fn host_admits_after_the_start_without_auto_admit(world: World) {
    let rooms = world.rooms().await;
    let open = lobby(&world, 2).await;
    world.alter(open.session, "auto_admit", "false").await;
    wait_in_turn(&world, &rooms, &open, &["ann", "ben"]).await;
    start(&world, &rooms, &open).await;
    wait_in_turn(&world, &rooms, &open, &["eve"]).await;
    rooms.live.release_held().await.unwrap();
    assert_eq!(seats(&rooms, &open, &["ann", "ben", "eve"]).await, [LobbyStatus::Waiting; 3]);
    let host = person(&open.room.host);
    assert_eq!(rooms.live.admit_all(&host, LiveRoomId(open.room.id)).await.unwrap(), (2, 1));
    assert_eq!(rooms.live.admit_all(&host, LiveRoomId(open.room.id)).await.unwrap(), (0, 1));
    assert_eq!(reason(admit(&rooms, &open, "eve").await), Reason::RoomFull);
    // An admitted user does not wait again.
    rooms.live.leave_live_room(&person("ann"), LiveRoomId(open.room.id)).await.unwrap();
    assert_eq!(join(&rooms, &open, "ann").await, VIEWER);
    rooms.live.leave_live_room(&person("ann"), LiveRoomId(open.room.id)).await.unwrap();
    assert_eq!(admit(&rooms, &open, "eve").await.unwrap(), Some(VIEWER));
    assert_eq!(refused(&rooms, &open, "ann").await, Reason::RoomFull);
}

#[testkit::test]
async fn rejected_user_stays_out(world: World) {
    let rooms = world.rooms().await;
    let open = lobby(&world, 5).await;
    wait_in_turn(&world, &rooms, &open, &["ann", "ben"]).await;
    let host = person(&open.room.host);
    for _ in 0..2 {
        assert_eq!(rooms.live.reject(&host, LiveRoomId(open.room.id), "ann").await.unwrap(), Some(REJECTED));
        assert_eq!(refused(&rooms, &open, "ann").await, Reason::Rejected);
    }
    assert_eq!(admit(&rooms, &open, "ann").await.unwrap(), None);
    assert_eq!(admit(&rooms, &open, "stranger").await.unwrap(), None);
    assert_eq!(rooms.live.reject(&host, LiveRoomId(open.room.id), "stranger").await.unwrap(), None);
    start(&world, &rooms, &open).await;
    assert_eq!(refused(&rooms, &open, "ann").await, Reason::Rejected);
    assert_eq!(
        rooms.live.reject(&host, LiveRoomId(open.room.id), "ben").await.unwrap(),
        None,
        "the user is admitted"
    );
}

#[testkit::test]
async fn rejection_holds_for_a_waiting_admission(world: World) {
    let rooms = world.rooms().await;
    let open = lobby(&world, 5).await;
    wait_in_turn(&world, &rooms, &open, &["ann", "ben"]).await;
    // Holds the seat's row lock: the admission waits for the rejection and must then skip the seat.
    let mut refusal = world
        .hold("update live_room_attendance set lobby_status = 'rejected', left_at = app_now() where user_id = 'ann'")
        .await;
    let admission = tokio::spawn({
        let (rooms, host, room) = (Service::clone(&rooms), person(&open.room.host), open.room.id);
        async move { rooms.live.admit_all(&host, LiveRoomId(room)).await }
    });
    testkit::eventually("the admission waits for the seat", async || world.waiting(1).await).await;
    sqlx::raw_sql("commit").execute(&mut refusal).await.unwrap();
    assert_eq!(admission.await.unwrap().unwrap(), (1, 0));
    assert_eq!(refused(&rooms, &open, "ann").await, Reason::Rejected);
}

#[testkit::test]
async fn banned_user_is_refused_until_the_ban_is_over(world: World) {
    let rooms = world.rooms().await;
    let open = world.open(LiveStatus::Live, 5).await;
    for (who, until) in [("ann", "null"), ("ben", "app_now() + interval '1 hour'")] {
        let ban = format!(
            "insert into live_room_bans (live_room_id, user_id, banned_by, until)
             values ('{}', '{who}', '{}', {until})",
            open.room.id, open.room.host
        );
        world.execute(&ban).await;
        assert_eq!(refused(&rooms, &open, who).await, Reason::Banned, "{who}");
    }
    world.advance(Duration::hours(2));
    assert_eq!(refused(&rooms, &open, "ann").await, Reason::Banned);
    assert_eq!(join(&rooms, &open, "ben").await, VIEWER);
}

#[testkit::test]
async fn join_is_refused_when_no_session_is_open(world: World) {
    let rooms = world.rooms().await;
    for status in [LiveStatus::Ended, LiveStatus::Cancelled, LiveStatus::Scheduled] {
        let open = world.open(status, 5).await;
        assert_eq!(refused(&rooms, &open, "ann").await, Reason::RoomNotActive, "{status:?}");
        assert_eq!(refused(&rooms, &open, &open.room.host).await, Reason::RoomNotActive, "{status:?}");
        assert_eq!(reason(admit(&rooms, &open, "ann").await), Reason::RoomNotActive, "{status:?}");
        assert_eq!(
            rooms.live.leave_live_room(&person("ann"), LiveRoomId(open.room.id)).await.unwrap(),
            None,
            "{status:?}"
        );
    }
    // The lobby is due: the join opens it.
    let due = world.open(LiveStatus::Scheduled, 5).await;
    world.alter(due.session, "starts_at", "app_now() + interval '5 minutes'").await;
    assert_eq!(join(&rooms, &due, "ann").await, WAITING);
    world.alter(due.session, "starts_at", "app_now()").await;
    assert_eq!(join(&rooms, &due, "ann").await, VIEWER);
}

#[testkit::test]
async fn group_room_is_not_found_by_others(world: World) {
    let rooms = world.rooms().await;
    let open = world.open(LiveStatus::Live, 5).await;
    world.alter(open.session, "access_level", "'group'").await;
    world.execute(r#"update live_rooms set metadata = '{"groups": ["stars"]}'"#).await;
    assert_eq!(refused(&rooms, &open, "ann").await, Reason::RoomNotFound);
    let room = open.room.id;
    assert_eq!(
        reason(rooms.live.leave_live_room(&person("ann"), LiveRoomId(room)).await),
        Reason::RoomNotFound
    );
    assert_eq!(reason(rooms.live.admit_all(&person("ann"), LiveRoomId(room)).await), Reason::RoomNotFound);
    let member = Caller { groups: vec!["moons".to_owned(), "stars".to_owned()], ..person("ann") };
    assert_eq!(rooms.live.join_live_room(&member, LiveRoomId(room)).await.unwrap().0, VIEWER);
    assert_eq!(reason(rooms.live.admit_all(&member, LiveRoomId(room)).await), Reason::NotHost);
    let admin = Caller { is_admin: true, ..person("adi") };
    assert_eq!(rooms.live.join_live_room(&admin, LiveRoomId(room)).await.unwrap().0, VIEWER);
    assert_eq!(reason(rooms.live.list_lobby(&admin, LiveRoomId(room), None, 5).await), Reason::NotHost);
    assert_eq!(
        reason(rooms.live.join_live_room(&person("ann"), LiveRoomId(Uuid::new_v4())).await),
        Reason::RoomNotFound
    );
}

fn why<T: std::fmt::Debug>(answer: Result<T, tonic::Status>) -> Reason {
    chassis::status::Refusal::from_status(&answer.unwrap_err()).reason
}

fn names(waiting: &[proto::room::v1::Waiting]) -> Vec<String> {
    waiting.iter().map(|one| one.name.clone()).collect()
}

#[testkit::test]
async fn seat_service_serves_lobby_and_seats(world: World) {
    let runtime = testkit::runtime();
    let config = world.config();
    let routes = room_lifecycle::start(&config, &runtime).await.unwrap();
    let served = testkit::serve_routes(routes, &config.grpc, &runtime.lifecycle).await;
    let mut client = SeatServiceClient::new(served.transport);
    let open = lobby(&world, 5).await;
    let room_id = open.room.id.to_string();
    let ask = |who: &str| SeatRequest { caller: Some(person(who)), room_id: room_id.clone() };
    let of = |who: &str| AdmitRequest {
        caller: Some(person(&open.room.host)),
        room_id: room_id.clone(),
        user_id: who.to_owned(),
    };

    seed::person(&world.pool, "ann", "Ann").await;
    for who in ["ann", "ben", "eve"] {
        let joined = client.join(ask(who)).await.unwrap().into_inner();
        assert_eq!(joined.session_id, open.session.to_string(), "{who}");
        let seat = joined.seat.unwrap();
        assert_eq!(seat.role(), proto::types::v1::SeatRole::Guest, "{who}");
        assert_eq!(seat.lobby_status(), Lobby::Waiting, "{who}");
    }
    let page = |cursor| ListLobbyRequest {
        caller: Some(person(&open.room.host)),
        room_id: room_id.clone(),
        limit: Some(2),
        cursor,
    };
    let first = client.list_lobby(page(None)).await.unwrap().into_inner();
    assert_eq!(names(&first.waiting), ["Name of ann", "Name of ben"]);
    assert!(first.waiting[0].avatar_url().ends_with("ann.png"));
    let last = client.list_lobby(page(first.next_cursor)).await.unwrap().into_inner();
    assert_eq!((names(&last.waiting), last.next_cursor), (vec!["Name of eve".to_owned()], None));

    assert_eq!(
        client.admit(of("ann")).await.unwrap().into_inner().seat.unwrap().lobby_status(),
        Lobby::Admitted
    );
    assert_eq!(
        client.reject(of("ben")).await.unwrap().into_inner().seat.unwrap().lobby_status(),
        Lobby::Rejected
    );
    for wrong in [of("ben"), of("zoe"), of(""), of(&"x".repeat(201)), of("a\0")] {
        assert_eq!(why(client.admit(wrong.clone()).await), Reason::InvalidRequest, "{wrong:?}");
    }
    assert_eq!(why(client.reject(of("ann")).await), Reason::InvalidRequest);
    let all = client.admit_all(ask(&open.room.host)).await.unwrap().into_inner();
    assert_eq!((all.admitted, all.still_waiting), (1, 0));
    assert!(client.disconnect(ask("ann")).await.unwrap().into_inner().seat.is_some());
    assert!(client.leave(ask("ann")).await.unwrap().into_inner().seat.is_some());
    assert!(client.leave(ask("zoe")).await.unwrap().into_inner().seat.is_none());

    let system = SeatRequest { caller: Some(chassis::grpc::system_caller()), room_id: room_id.clone() };
    assert_eq!(why(client.join(system).await), Reason::Unauthenticated);
    let nowhere = SeatRequest { caller: Some(person("ann")), room_id: "x".to_owned() };
    assert_eq!(why(client.join(nowhere).await), Reason::InvalidRequest);
    assert_eq!(why(client.admit_all(ask("ann")).await), Reason::NotHost);
}
