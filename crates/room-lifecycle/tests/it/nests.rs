//! Nests as clients use them: created once per signed request, joined by any user, ended by their host.

use chassis::status::Reason;
use domain::{NestId, NestRole, Owner, RoomStatus};
use livekit_dev::Fault;
use proto::room::v1::{
    CreateNestRequest, JoinNestRequest, SetPermissionsRequest, nest_service_server::NestService,
};
use room_lifecycle::nests::link;
use serde_json::json;
use tonic::Request;
use uuid::Uuid;

use crate::harness::{
    World,
    hosts::person,
    nests::{OpenNest, create, get, key, outcome, proof},
    refused,
};

fn create_request(host: &str) -> CreateNestRequest {
    CreateNestRequest {
        caller: Some(person(host)),
        proof: Some(proof()),
        relays: vec!["wss://relay.example.org/".to_owned(), "ws://[::1]:7777".to_owned()],
        hls_stream: true,
    }
}

#[testkit::test]
async fn new_nest_has_its_host_and_a_room_with_metadata(world: World) {
    let rooms = world.rooms().await;
    let created = create(&rooms, create_request(&key(1))).await.unwrap();
    assert_eq!(
        (created.host.as_str(), created.hls_stream, created.recording),
        (key(1).as_str(), true, false)
    );
    assert_eq!((created.speakers.clone(), created.admins.clone()), (vec![key(1)], vec![key(1)]));
    assert_eq!(created.relays.len(), 2);
    assert_eq!(link::decode(&created.link).unwrap().to_string(), created.id);
    assert_eq!(get(&rooms, &created.id).await.unwrap(), created);

    let nest = OpenNest { id: created.id.parse().unwrap(), host: created.host };
    let record = world.nest_record(&nest).await;
    assert_eq!(
        (record.status, record.room_name.as_str()),
        (RoomStatus::Active, &*format!("nest-{}", nest.id))
    );
    let room = world.server().room(&record.room_name).unwrap();
    assert_eq!((room.max_participants, room.empty_timeout, room.departure_timeout), (50, 180, 180));
    let deployment = sqlx::query_scalar!("select id from deployment").fetch_one(&world.pool).await.unwrap();
    assert_eq!(
        world.metadata(&nest).await,
        json!({ "deployment": deployment, "nest_id": nest.id, "host": key(1), "speakers": [key(1)],
                "admins": [key(1)], "link": created.link, "recording": false })
    );
}

#[testkit::test]
async fn invalid_nest_request_is_refused_by_field(world: World) {
    let rooms = world.rooms().await;
    let relays = |relays: &[&str]| CreateNestRequest {
        relays: relays.iter().map(|&relay| relay.to_owned()).collect(),
        ..create_request(&key(1))
    };
    let long = format!("wss://{}", "a".repeat(507));
    for relay in [
        "",
        "https://relay.example.org",
        "wss://",
        "wss:///x",
        "wss://a b",
        "wss://a\0",
        "wss://u:p@a",
        "wss://@a",
        &long,
    ] {
        let refusal = create(&rooms, relays(&[relay])).await.unwrap_err();
        assert_eq!(
            (refusal.reason, refusal.facts["field"].as_str()),
            (Reason::InvalidRequest, "relays"),
            "{relay:?}"
        );
    }
    assert!(create(&rooms, relays(&["wss://a"; 21])).await.is_err());
    for host in ["", "me", &key(1)[1..], &key(0xa).to_uppercase()] {
        let refusal = create(&rooms, create_request(host)).await.unwrap_err();
        assert!(matches!(refusal.reason, Reason::Unauthenticated | Reason::Internal), "{refusal}");
    }
    let unsigned = CreateNestRequest { proof: None, ..create_request(&key(1)) };
    assert_eq!(create(&rooms, unsigned).await.unwrap_err().reason, Reason::InvalidRequest);
    assert_eq!(world.count_nests().await, 0, "nests");
    create(&rooms, relays(&["wss://a"; 20])).await.unwrap();
}

#[testkit::test]
async fn nest_is_created_when_livekit_fails(world: World) {
    let rooms = world.rooms().await;
    for fault in [refused(), Fault::HangAfterEffect, Fault::FailAfterEffect] {
        world.server().faults().set("CreateRoom", fault.clone());
        let nest = world.nest(&rooms).await;
        assert!(world.nest_is_open(&nest).await, "the nest is open");
        world.server().faults().clear();
        // A hanging call may write its failure and the next attempt's time after the answer was sent.
        testkit::eventually("a pass creates the room", async || {
            world.make_due().await;
            rooms.pass().await.unwrap();
            (world.nest_record(&nest).await.status == RoomStatus::Active).then_some(())
        })
        .await;
        assert_eq!(world.metadata(&nest).await["host"], key(1), "after {fault:?}");
    }
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn repeated_join_adds_one_listener(world: World) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    let ann = key(2);
    let joins = (0..8).map(|_| nest.join(&rooms, &ann));
    assert!(futures::future::join_all(joins).await.into_iter().all(|joined| joined.is_ok()));
    nest.join(&rooms, &nest.host).await.unwrap();
    let participants = sqlx::query!(
        r#"select p.pubkey, p.is_admin, p.is_speaker, l.role
           from nest_participants p
           join livekit_rooms k on k.owner = p.nest_id
           join livekit_participants l on l.room_id = k.id and l.user_id = p.pubkey
           where p.nest_id = $1 order by p.pubkey"#,
        nest.id
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let participants: Vec<_> =
        participants.iter().map(|one| (one.is_admin, one.is_speaker, one.role.as_str())).collect();
    assert_eq!(participants, [(true, true, "admin"), (false, false, "listener")]);
    nest.speaks(&rooms, &ann, true).await;
    nest.join(&rooms, &ann).await.unwrap();
    assert_eq!(get(&rooms, &nest.id.to_string()).await.unwrap().speakers, [nest.host, ann]);
}

#[testkit::test]
async fn join_is_refused_when_5000_keys_are_stored(world: World) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    let ann = key(2);
    nest.join(&rooms, &ann).await.unwrap();
    sqlx::query!(
        "insert into nest_participants (nest_id, pubkey)
         select nest_id, encode(sha256(number::text::bytea), 'hex')
         from nest_participants, generate_series(1, 4998) number where pubkey = $1",
        ann
    )
    .execute(&world.pool)
    .await
    .unwrap();
    assert_eq!(nest.join(&rooms, &key(3)).await.unwrap_err().reason, Reason::RoomFull);
    nest.join(&rooms, &ann).await.unwrap();
}

#[testkit::test]
async fn full_nest_admits_only_admins_and_participants(world: World) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    let ann = key(2);
    nest.join(&rooms, &ann).await.unwrap();
    world.enter_nest(&nest, &ann, NestRole::Listener).await;
    for number in 1..45 {
        world.enter_nest(&nest, &format!("guest-{number}"), NestRole::Guest).await;
    }
    world.check_nest(&rooms, &nest).await;
    let late = nest.join(&rooms, &key(3)).await.unwrap_err();
    assert_eq!(late.reason, Reason::RoomFull);
    nest.join(&rooms, &ann).await.unwrap();
    nest.join(&rooms, &nest.host).await.unwrap();
    world.server().leave(&world.nest_record(&nest).await.room_name, "guest-1").unwrap();
    world.check_nest(&rooms, &nest).await;
    world.advance(time::Duration::seconds(6));
    world.check_nest(&rooms, &nest).await;
    nest.join(&rooms, &key(3)).await.unwrap();
}

#[testkit::test]
async fn only_the_host_ends_a_nest(world: World) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    nest.join(&rooms, &key(2)).await.unwrap();
    world.enter_nest(&nest, &key(2), NestRole::Listener).await;
    let make_admin = |request: &mut SetPermissionsRequest| request.is_admin = Some(true);
    nest.permit(&rooms, (&nest.host, &key(2)), make_admin).await.unwrap();
    for other in [key(2), key(3)] {
        assert_eq!(nest.end(&rooms, &other).await.unwrap_err().reason, Reason::Unauthenticated, "{other}");
    }
    assert!(world.nest_is_open(&nest).await, "the nest is open");
    nest.end(&rooms, &nest.host).await.unwrap();
    world.assert_rooms(0);
    assert_eq!(world.nest_record(&nest).await.status, RoomStatus::Ended, "status of the record");
    let gone = Reason::RoomNotFound;
    assert_eq!(nest.end(&rooms, &nest.host).await.unwrap_err().reason, gone);
    assert_eq!(nest.join(&rooms, &nest.host).await.unwrap_err().reason, gone);
    assert_eq!(get(&rooms, &nest.id.to_string()).await.unwrap_err(), gone);
    let ensured = rooms.ensure(Owner::Nest(NestId(nest.id)), false).await;
    assert_eq!(crate::harness::reason(ensured), gone);
}

#[testkit::test]
async fn end_is_finished_by_a_pass_when_livekit_failed(world: World) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    world.server().faults().set("*", refused());
    nest.end(&rooms, &nest.host).await.unwrap();
    world.assert_rooms(1);
    world.server().faults().clear();
    rooms.pass().await.unwrap();
    world.assert_rooms(0);
}

#[testkit::test]
async fn invalid_nest_id_is_not_found(world: World) {
    let rooms = world.rooms().await;
    for id in ["", "x", &Uuid::new_v4().to_string(), "../../etc"] {
        assert_eq!(get(&rooms, id).await.unwrap_err(), Reason::RoomNotFound, "{id}");
        let request = JoinNestRequest { caller: Some(person(&key(1))), nest_id: id.to_owned() };
        let joined = outcome(NestService::join_nest(&rooms.nests, Request::new(request)).await);
        assert_eq!(joined.unwrap_err().reason, Reason::RoomNotFound, "{id}");
    }
    let unknown = rooms.ensure(Owner::Nest(NestId(Uuid::new_v4())), false).await;
    assert_eq!(crate::harness::reason(unknown), Reason::RoomNotFound);
}
