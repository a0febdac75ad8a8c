//! Callers of diagnosis and repair: how they may name a room, what is hidden from them, and what they may repair.

use chassis::{grpc::system_caller, status::Reason};
use domain::{
    LiveStatus, TargetKind,
    diagnosis::{Cause, Scenario},
};
use room_lifecycle::diagnosis::{FoundTarget, Target};

use crate::{
    diagnosis::{by_operator, target},
    harness::{State, World, hosts, nests::proof, owner, reason, refused},
};

#[testkit::test]
async fn room_is_found_by_id_name_or_url(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.admin().delete_room(&record.room_name).await.unwrap();
    rooms.ensure(owner(&booking), true).await.unwrap();
    let guest = hosts::person(&booking.guest);
    let second = format!("{}-g2", record.room_name);
    let url = format!("https://app.example.org/meeting/{}?from=mail", booking.id);
    for reference in [&booking.id.to_string(), &record.room_name, &second, &url] {
        let found = rooms.diagnoses.find_target(Some(&guest), reference).await.unwrap();
        assert_eq!(found, Some(FoundTarget::Room(target(&booking))), "{reference}");
    }
    let other = rooms.diagnoses.find_target(Some(&guest), &record.id.to_string()).await.unwrap();
    assert_eq!(other, Some(FoundTarget::Other { names: "livekit_room", belongs_to: target(&booking) }));
    let (host, session) = world.host_with(LiveStatus::Live).await;
    let live = Target { kind: TargetKind::LiveRoom, id: host.room.id };
    let other = rooms.diagnoses.find_target(Some(&guest), &session.to_string()).await.unwrap();
    assert_eq!(other, Some(FoundTarget::Other { names: "live_session", belongs_to: live }));
    let diagnosis = rooms.diagnoses.diagnose_reference(&system_caller(), &session.to_string()).await.unwrap();
    assert_eq!((diagnosis.cause, diagnosis.cause.scenario()), (Cause::RoomIdMismatch, Scenario::B));
    assert_eq!(diagnosis.facts["belongs_to"], host.room.id.to_string());
}

#[testkit::test]
async fn hidden_room_is_not_found_and_not_repaired(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    let (host, session) = world.host_with(LiveStatus::Live).await;
    world.execute("update live_rooms set access_level = 'group'").await;
    world.execute("update live_room_sessions set access_level = 'group'").await;
    let notification = sqlx::query_scalar!(
        "insert into notifications (user_id, kind, session_id, dedupe_key) values ($1, 'reminder', $2, 'k') returning id",
        booking.host,
        booking.id
    );
    let notification = notification.fetch_one(&world.pool).await.unwrap();
    let references = [
        booking.id.to_string(),
        record.room_name.clone(),
        record.id.to_string(),
        format!("https://app.example.org/meeting/{}", booking.id),
        host.room.id.to_string(),
        session.to_string(),
        notification.to_string(),
    ];
    let stranger = hosts::person("a-stranger");
    for reference in &references {
        for caller in [None, Some(&stranger)] {
            assert_eq!(rooms.diagnoses.find_target(caller, reference).await.unwrap(), None, "{reference}");
        }
        assert!(
            rooms.diagnoses.find_target(Some(&hosts::admin()), reference).await.unwrap().is_some(),
            "{reference}"
        );
    }
    let guest = hosts::person(&booking.guest);
    assert_eq!(
        rooms.diagnoses.find_target(Some(&guest), &notification.to_string()).await.unwrap(),
        None,
        "the notification is the host's"
    );

    let diagnosis = rooms.diagnoses.diagnose(Some(&stranger), target(&booking), None).await.unwrap();
    assert_eq!(diagnosis.cause, Cause::RoomNotKnown, "also when the target is given directly");
    assert_eq!(
        reason(rooms.diagnoses.repair_target(&stranger, None, target(&booking)).await),
        Reason::RoomNotFound
    );
    assert_eq!(reason(rooms.diagnoses.repair_target(&guest, None, target(&booking)).await), Reason::NotHost);
}

#[testkit::test]
async fn repair_by_host_or_admin_is_one_reconcile(world: World) {
    let rooms = world.rooms().await;
    for caller in [None, Some(hosts::admin()), Some(system_caller())] {
        let (booking, record) = world.open_room(&rooms).await;
        world.admin().delete_room(&record.room_name).await.unwrap();
        let caller = caller.unwrap_or_else(|| hosts::person(&booking.host));
        assert!(rooms.diagnoses.repair_target(&caller, None, target(&booking)).await.unwrap(), "{caller:?}");
        assert_eq!(world.record(&booking).await.generation, 2, "generation");
        assert_eq!(by_operator(&rooms, &booking).await.cause, Cause::Ok, "{caller:?}");
    }
    let unmade = world.booking(State::OpenNow).await;
    assert!(
        rooms.diagnoses.repair_target(&hosts::person(&unmade.host), None, target(&unmade)).await.unwrap()
    );
    assert_eq!(by_operator(&rooms, &unmade).await.cause, Cause::Ok, "the repair also writes the intent");
}

#[testkit::test]
async fn signed_repair_of_a_nest_runs_once(world: World) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    let (host, target) = (hosts::person(&nest.host), Target { kind: TargetKind::Nest, id: nest.id });
    let (first, second) = (proof(), proof());
    assert!(!rooms.diagnoses.check_repair(&host, Some(&first), target).await.unwrap());
    assert!(rooms.diagnoses.repair_target(&host, Some(&first), target).await.unwrap());
    let calls = world.server().all_calls();
    assert!(rooms.diagnoses.check_repair(&host, Some(&first), target).await.unwrap(), "repeated");
    assert!(rooms.diagnoses.repair_target(&host, Some(&first), target).await.unwrap(), "the same answer");
    assert_eq!(world.server().all_calls(), calls, "calls to LiveKit");
    assert!(rooms.diagnoses.repair_target(&host, Some(&second), target).await.unwrap());
    assert_ne!(world.server().all_calls(), calls, "calls to LiveKit");
    for refused in [
        rooms.diagnoses.check_repair(&host, Some(&first), target).await,
        rooms.diagnoses.repair_target(&host, Some(&first), target).await,
    ] {
        assert_eq!(reason(refused), Reason::SignatureUsed, "after a later change");
    }
}

#[testkit::test]
async fn failed_signed_repair_is_carried_out_again(world: World) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    let (host, target) = (hosts::person(&nest.host), Target { kind: TargetKind::Nest, id: nest.id });
    let signed = proof();
    world.server().faults().set("*", refused());
    assert_ne!(rooms.diagnoses.repair_target(&host, Some(&signed), target).await.ok(), Some(true));
    world.server().faults().clear();
    world.make_due().await;
    assert!(!rooms.diagnoses.check_repair(&host, Some(&signed), target).await.unwrap(), "repeated");
    assert!(rooms.diagnoses.repair_target(&host, Some(&signed), target).await.unwrap());
    assert!(rooms.diagnoses.check_repair(&host, Some(&signed), target).await.unwrap(), "repeated");
}
