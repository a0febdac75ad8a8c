//! The lists for operators, which only admins may read.

use chassis::status::{Reason, Refusal};
use domain::LiveStatus;
use proto::{
    room::v1::{
        ListEventsRequest, ListOrphansRequest, ListStuckRoomsRequest, admin_service_server::AdminService,
    },
    types::v1::{Caller, LiveRoomStatus},
};
use room_lifecycle::{admin::store::list_events, rooms::store::Record};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row};
use tonic::{Request, Status};

use crate::{
    harness::{
        Service, State, World,
        hosts::{admin, person},
        owner, refused,
    },
    webhooks::event,
};

fn by(caller: Caller) -> Request<ListStuckRoomsRequest> {
    Request::new(ListStuckRoomsRequest { caller: Some(caller), limit: None })
}

fn why(status: &Status) -> Reason {
    Refusal::from_status(status).reason
}

async fn events(
    rooms: &Service,
    room: Option<&str>,
    cursor: Option<String>,
) -> (Vec<String>, Option<String>) {
    let request = ListEventsRequest {
        caller: Some(admin()),
        room_name: room.map(str::to_owned),
        limit: Some(2),
        cursor,
    };
    let page = AdminService::list_events(&rooms.admin, Request::new(request)).await.unwrap().into_inner();
    (page.events.into_iter().map(|event| event.event_type).collect(), page.next_cursor)
}

#[testkit::test]
async fn admin_lists_are_refused_to_others(world: World) {
    let rooms = world.rooms().await;
    let ann = person("ann");
    let orphans = Request::new(ListOrphansRequest { caller: Some(ann.clone()) });
    let list = Request::new(ListEventsRequest { caller: Some(ann.clone()), ..ListEventsRequest::default() });
    let refused = [
        why(&AdminService::list_stuck_rooms(&rooms.admin, by(ann)).await.unwrap_err()),
        why(&AdminService::list_orphans(&rooms.admin, orphans).await.unwrap_err()),
        why(&AdminService::list_events(&rooms.admin, list).await.unwrap_err()),
    ];
    assert_eq!(refused, [Reason::NotAdmin; 3]);
}

#[testkit::test]
async fn stuck_rooms_are_listed_until_repaired_by_a_pass(world: World) {
    let rooms = world.rooms().await;
    let (host, session) = world.host_with(LiveStatus::Ended).await;
    world.execute(&format!("update live_rooms set status = 'live' where id = '{}'", host.room.id)).await;
    let booking = world.booking(State::OpenNow).await;
    world.server().faults().set("CreateRoom", refused());
    rooms.create(owner(&booking)).await.unwrap_err();
    let shown =
        async || AdminService::list_stuck_rooms(&rooms.admin, by(admin())).await.unwrap().into_inner();

    let found = shown().await;
    assert_eq!(found.live_rooms.len(), 1);
    let stuck = &found.live_rooms[0];
    assert_eq!((stuck.id.as_str(), stuck.status()), (&*host.room.id.to_string(), LiveRoomStatus::Live));
    assert!(stuck.open_session_id.is_none(), "{session} has ended");
    assert_eq!(found.rooms.len(), 1);
    let unmade = &found.rooms[0];
    assert_eq!((unmade.owner_id.as_str(), unmade.attempts), (&*booking.id.to_string(), 1));
    assert!(unmade.last_error().contains("LiveKit"), "{}", unmade.last_error());

    world.server().faults().clear();
    world.make_due().await;
    rooms.pass().await.unwrap();
    let healed = shown().await;
    assert!(healed.live_rooms.is_empty() && healed.rooms.is_empty(), "{healed:?}");
}

#[testkit::test]
async fn retired_room_is_listed_as_orphan(world: World) {
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    let record = rooms.create(owner(&booking)).await.unwrap();
    world.server().faults().set("DeleteRoom", refused());
    world.complete(&booking).await;
    rooms.pass().await.unwrap();
    let request = Request::new(ListOrphansRequest { caller: Some(admin()) });
    let found = AdminService::list_orphans(&rooms.admin, request).await.unwrap().into_inner();
    assert_eq!(found.retired, [record.room_name]);
    assert!(found.unknown.is_empty() && found.inhabited.is_empty());
}

#[testkit::test]
async fn events_are_listed_once_each_over_pages(world: World) {
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    let record = rooms.create(owner(&booking)).await.unwrap();
    let other = Record { room_name: "foreign".to_owned(), ..record.clone() };
    for (id, kind, room) in [
        ("EV_1", "track_published", &record),
        ("EV_2", "track_unpublished", &other),
        ("EV_3", "participant_joined", &record),
    ] {
        let body = event(id, kind, room, "ann", "PA_1");
        rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    }
    let (first, cursor) = events(&rooms, None, None).await;
    let (second, end) = events(&rooms, None, cursor).await;
    let all = ["participant_joined", "track_unpublished", "track_published", "room_created"];
    assert_eq!([first, second].concat(), all);
    assert_eq!(end, None);
    assert_eq!(
        events(&rooms, Some(&record.room_name), None).await.0,
        ["participant_joined", "track_published"]
    );
    assert!(events(&rooms, Some("no-such-room"), None).await.0.is_empty());
    let wrong = ListEventsRequest {
        caller: Some(admin()),
        cursor: Some("nonsense".to_owned()),
        ..ListEventsRequest::default()
    };
    let refused = AdminService::list_events(&rooms.admin, Request::new(wrong)).await.unwrap_err();
    assert_eq!(why(&refused), Reason::InvalidRequest);
}

/// The generic plan of the statement that was prepared last.
async fn plan(connection: &mut PgConnection, arguments: &str) -> String {
    let name = sqlx::query_scalar!(
        r#"select name as "name!" from pg_prepared_statements
           where statement like 'select event_id%' order by prepare_time desc limit 1"#
    );
    let name = name.fetch_one(&mut *connection).await.unwrap();
    sqlx::raw_sql("set plan_cache_mode = force_generic_plan").execute(&mut *connection).await.unwrap();
    let explain = sqlx::raw_sql(AssertSqlSafe(format!("explain execute {name}({arguments})")));
    let lines = explain.fetch_all(&mut *connection).await.unwrap();
    lines.iter().map(|line| line.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[testkit::test]
async fn page_of_events_is_read_with_an_index_scan(pool: PgPool) {
    let mut connection = pool.acquire().await.unwrap();
    sqlx::raw_sql(
        "insert into livekit_events (event_id, room_id, event_type, received_at)
         select 'EV_' || n, md5((n % 50)::text)::uuid, 'track_published', app_now() - make_interval(secs => n)
         from generate_series(1, 20000) n;
         insert into livekit_room_names (room_name, room_id, generation)
         select 'room-' || n, md5(n::text)::uuid, 1 from generate_series(0, 49) n;
         analyze livekit_events, livekit_room_names",
    )
    .execute(&mut *connection)
    .await
    .unwrap();
    let cursor = "null, null, 50, 'ffffffff-ffff-ffff-ffff-ffffffffffff'";
    for (room, arguments, index) in [
        (None, cursor.to_owned(), "livekit_events_by_age"),
        (Some("room-1"), format!("{cursor}, 'room-1'"), "livekit_events_by_room"),
    ] {
        let page = list_events(&mut *connection, room, None, 50).await.unwrap();
        assert_eq!(page.len(), 50, "{index}");
        let plan = plan(&mut connection, &arguments).await;
        assert!(plan.contains(&format!("Index Scan Backward using {index} on")), "{plan}");
        // Only the few events of the same moment are sorted.
        assert!(plan.contains("Presorted Key: ") && !plan.contains("Seq Scan on livekit_events"), "{plan}");
    }
}
