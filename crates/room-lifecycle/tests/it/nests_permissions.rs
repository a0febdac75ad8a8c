//! Permissions in a nest: admins decide, LiveKit is updated at once, and later passes restore them.

use chassis::status::Reason;
use domain::{NestId, NestRole, Owner};
use livekit_dev::{Fault, PublishError, Switches};
use livekit_protocol::TrackSource;
use proto::room::v1::SetPermissionsRequest;
use room_lifecycle::nests::link;
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use crate::harness::{
    Replica, World,
    nests::{OpenNest, key},
    refused,
};

const SPEAKS: fn(&mut SetPermissionsRequest) = |request| request.can_publish = Some(true);
const LISTENS: fn(&mut SetPermissionsRequest) = |request| request.can_publish = Some(false);
const ADMIN: fn(&mut SetPermissionsRequest) = |request| request.is_admin = Some(true);
const NO_ADMIN: fn(&mut SetPermissionsRequest) = |request| request.is_admin = Some(false);
const MUTED: fn(&mut SetPermissionsRequest) = |request| request.mute_microphone = Some(true);
const NOTHING: fn(&mut SetPermissionsRequest) = |_| {};

/// A nest with Ann connected as a listener.
async fn listening(connect: PgConnectOptions) -> (World, Replica, OpenNest, String) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    let ann = key(2);
    nest.join(&rooms, &ann).await.unwrap();
    world.enter_nest(&nest, &ann, NestRole::Listener).await;
    (world, rooms, nest, ann)
}

/// A nest with Ann connected as a speaker.
async fn speaking(connect: PgConnectOptions) -> (World, Replica, OpenNest, String) {
    let (world, rooms, nest, ann) = listening(connect).await;
    assert!(nest.speaks(&rooms, &ann, true).await);
    (world, rooms, nest, ann)
}

#[testkit::test]
async fn permission_changes_follow_the_roles(world: World) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    let (host, ann, bob, outsider) = (nest.host.clone(), key(2), key(3), key(4));
    for key in [&ann, &bob] {
        nest.join(&rooms, key).await.unwrap();
    }
    let ask = async |by: &str, of: &str, amend: fn(&mut SetPermissionsRequest)| {
        nest.permit(&rooms, (by, of), amend).await.map_err(|refusal| refusal.reason)
    };
    let (not_in, may_not) = (Err(Reason::InvalidRequest), Err(Reason::Unauthenticated));
    assert_eq!(ask(&outsider, &ann, SPEAKS).await, not_in);
    assert_eq!(ask(&outsider, &outsider, LISTENS).await, not_in);
    assert_eq!(ask(&host, &outsider, SPEAKS).await, not_in);
    assert_eq!(ask(&host, "ann", SPEAKS).await, not_in);
    assert_eq!(ask(&ann, &ann, SPEAKS).await, may_not);
    assert_eq!(ask(&ann, &bob, LISTENS).await, may_not);
    assert_eq!(ask(&ann, &host, LISTENS).await, may_not);
    assert_eq!(ask(&ann, &ann, MUTED).await, may_not);
    assert_eq!(ask(&ann, &ann, NOTHING).await, may_not);

    assert_eq!(ask(&host, &ann, SPEAKS).await, Ok(true));
    assert_eq!(ask(&host, &ann, SPEAKS).await, Ok(false), "already so");
    assert_eq!(ask(&host, &ann, NOTHING).await, Ok(false));
    assert_eq!(ask(&ann, &ann, LISTENS).await, Ok(true), "participants may give up speaking");
    assert_eq!(ask(&host, &ann.to_uppercase(), SPEAKS).await, Ok(true), "a key in upper case");

    assert_eq!(ask(&host, &ann, ADMIN).await, Ok(true));
    assert_eq!(ask(&ann, &bob, SPEAKS).await, Ok(true), "an admin may change others");
    assert_eq!(ask(&ann, &bob, ADMIN).await, Ok(false), "only the host names admins");
    assert_eq!(ask(&ann, &host, NO_ADMIN).await, Ok(false));
    assert_eq!(ask(&host, &host, NO_ADMIN).await, Ok(false), "a host stays an admin");
    assert_eq!(ask(&ann, &host, LISTENS).await, Ok(true));
    assert_eq!(ask(&host, &host, SPEAKS).await, Ok(true));
    assert_eq!(ask(&host, &ann, NO_ADMIN).await, Ok(true));
    assert_eq!(ask(&ann, &bob, LISTENS).await, may_not);
    nest.end(&rooms, &host).await.unwrap();
    assert_eq!(ask(&host, &ann, SPEAKS).await, Err(Reason::RoomNotFound));
}

#[testkit::test]
async fn permission_is_on_livekit_before_the_answer(connect: PgConnectOptions) {
    let (world, rooms, nest, ann) = listening(connect).await;
    assert!(nest.speaks(&rooms, &ann, true).await);
    let permission = world.permission(&nest, &ann).await;
    assert!(permission.can_publish && permission.can_subscribe && permission.can_publish_data);
    assert_eq!(permission.can_publish_sources, [TrackSource::Microphone as i32]);
    assert!(!permission.can_update_metadata && !permission.hidden);
    assert_eq!(world.metadata(&nest).await["speakers"], serde_json::json!([nest.host, ann]));
    let room = world.nest_record(&nest).await.room_name;
    world.server().publish(&room, &ann, TrackSource::Microphone).unwrap();
    let camera = world.server().publish(&room, &ann, TrackSource::Camera);
    assert_eq!(camera.unwrap_err(), PublishError::NotAllowed);

    nest.permit(&rooms, (&ann, &ann), LISTENS).await.unwrap();
    let permission = world.permission(&nest, &ann).await;
    assert!(!permission.can_publish && !permission.can_publish_data && permission.can_subscribe);
    let there = world.server().connected(&room);
    assert!(there.iter().all(|one| one.tracks.is_empty()), "the published track is removed");
    assert_eq!(world.metadata(&nest).await["speakers"], serde_json::json!([nest.host]));
}

#[testkit::test]
async fn failed_permission_call_is_retried_by_a_mark(connect: PgConnectOptions) {
    let (world, rooms, nest, ann) = listening(connect).await;
    for (method, can_publish) in
        [("*", true), ("ListRooms", false), ("UpdateParticipant", true), ("UpdateRoomMetadata", false)]
    {
        world.server().faults().set(method, refused());
        assert!(nest.speaks(&rooms, &ann, can_publish).await, "{method}: not the caller's failure");
        world.server().faults().clear();
        world.make_due().await;
        rooms.drain().await.unwrap();
        assert_eq!(world.may_speak(&nest, &ann).await, can_publish, "{method}");
        let speakers = world.metadata(&nest).await["speakers"].as_array().unwrap().len();
        assert_eq!(speakers, if can_publish { 2 } else { 1 }, "{method}");
    }
}

#[testkit::test]
async fn permission_regained_by_an_old_token_is_removed_again(connect: PgConnectOptions) {
    let (world, rooms, nest, ann) = speaking(connect).await;
    assert!(world.nest_record(&nest).await.watched_until.is_none(), "no permission was removed");
    nest.speaks(&rooms, &ann, false).await;
    let watched = world.nest_record(&nest).await;
    let left = watched.watched_until.unwrap() - watched.now;
    assert!((Duration::minutes(19)..=Duration::minutes(20)).contains(&left), "{left}");
    for _ in 0..3 {
        // Each return renews the watch, because LiveKit renews the token of connected participants.
        sqlx::query!("update livekit_rooms set watched_until = app_now() + interval '1 min'")
            .execute(&world.pool)
            .await
            .unwrap();
        world.enter_nest(&nest, &ann, NestRole::Speaker).await;
        assert!(world.may_speak(&nest, &ann).await, "LiveKit lets them speak");
        rooms.watch().await.unwrap();
        assert!(!world.may_speak(&nest, &ann).await, "LiveKit does not let them speak");
        let record = world.nest_record(&nest).await;
        assert!(record.watched_until.unwrap() - record.now > Duration::minutes(11));
        world.advance(Duration::seconds(40));
    }
}

#[testkit::test]
async fn permission_lost_by_an_old_token_is_restored_by_a_pass(connect: PgConnectOptions) {
    let (world, rooms, nest, ann) = speaking(connect).await;
    world.enter_nest(&nest, &ann, NestRole::Listener).await;
    assert!(!world.may_speak(&nest, &ann).await, "LiveKit does not let them speak");
    rooms.pass().await.unwrap();
    assert!(world.may_speak(&nest, &ann).await, "LiveKit lets them speak");
}

#[testkit::test]
async fn roles_hold_in_the_next_generation(connect: PgConnectOptions) {
    let (world, rooms, nest, ann) = speaking(connect).await;
    rooms.pass().await.unwrap();
    world.server().restart();
    rooms.ensure(Owner::Nest(NestId(nest.id)), true).await.unwrap();
    assert_eq!(world.nest_record(&nest).await.generation, 2, "generation");
    assert_eq!(world.metadata(&nest).await["speakers"], serde_json::json!([nest.host, ann]));
    world.enter_nest(&nest, &ann, NestRole::Listener).await; // with an older token
    world.enter_nest(&nest, &nest.host, NestRole::Guest).await;
    rooms.pass().await.unwrap();
    assert!(world.may_speak(&nest, &ann).await && world.may_speak(&nest, &nest.host).await);
}

#[testkit::test]
async fn guests_and_strangers_never_speak(connect: PgConnectOptions) {
    let (world, rooms, nest, _) = listening(connect).await;
    for identity in ["guest-1", &key(9)] {
        world.enter_nest(&nest, identity, NestRole::Admin { speaks: true }).await;
    }
    rooms.pass().await.unwrap();
    for identity in ["guest-1", &key(9)] {
        let permission = world.permission(&nest, identity).await;
        assert!(
            !permission.can_publish && !permission.can_publish_data && permission.can_subscribe,
            "{identity}: {permission:?}"
        );
    }
}

#[testkit::test]
async fn changed_metadata_is_restored(connect: PgConnectOptions) {
    let (world, rooms, nest, _) = listening(connect).await;
    let room = world.nest_record(&nest).await.room_name;
    let ours = world.metadata(&nest).await;
    world.admin().update_room_metadata(&room, "{}").await.unwrap();
    world.check_nest(&rooms, &nest).await;
    assert_eq!(world.metadata(&nest).await, ours);
    let link = ours["link"].as_str().unwrap();
    assert_eq!(link::decode(link), Some(nest.id.into()));
    world.recreate_on_livekit(&room).await;
    world.check_nest(&rooms, &nest).await;
    assert_eq!(world.metadata(&nest).await, ours, "the room was recreated without metadata");
    let calls = world.server().calls("UpdateRoomMetadata");
    world.check_nest(&rooms, &nest).await;
    assert_eq!(world.server().calls("UpdateRoomMetadata"), calls, "no change, no call");
}

/// Two changes are applied at the same time: the later one wins.
#[testkit::test]
async fn later_change_wins_while_livekit_is_updated(connect: PgConnectOptions) {
    let (world, rooms, nest, ann) = listening(connect).await;
    world.server().faults().set_next("UpdateParticipant", 1, Fault::Hang);
    let promoting = nest.speaks(&rooms, &ann, true);
    let demoting = async {
        world.reached("UpdateParticipant", 1).await;
        world.execute("update nest_participants set is_speaker = false where not is_admin").await;
        world.server().faults().clear();
    };
    futures::join!(promoting, demoting);
    assert!(!world.may_speak(&nest, &ann).await, "LiveKit does not let them speak");
}

#[testkit::test]
async fn failed_permission_call_delays_no_other(connect: PgConnectOptions) {
    let (world, rooms, nest, ann) = listening(connect).await;
    for key in [&ann, &key(3)] {
        nest.join(&rooms, key).await.unwrap();
        world.enter_nest(&nest, key, NestRole::Speaker).await;
    }
    world.server().faults().set_next("UpdateParticipant", 1, refused());
    for still_speaking in [1, 0] {
        world.check_nest(&rooms, &nest).await;
        let speak = [world.may_speak(&nest, &ann).await, world.may_speak(&nest, &key(3)).await];
        assert_eq!(speak.iter().filter(|&&speaks| speaks).count(), still_speaking);
    }
}

#[testkit::test]
async fn microphone_is_unmuted_only_where_livekit_permits(connect: PgConnectOptions) {
    let (world, rooms, nest, ann) = speaking(connect).await;
    let room = world.nest_record(&nest).await.room_name;
    assert_eq!(nest.mute(&rooms, &ann, true).await, Ok(false), "no microphone");
    world.server().publish(&room, &ann, TrackSource::Microphone).unwrap();
    let muted = || world.server().connected(&room)[0].tracks[0].muted;
    assert_eq!(nest.mute(&rooms, &ann, true).await, Ok(true));
    assert!(muted());
    assert_eq!(nest.mute(&rooms, &ann, true).await, Ok(false), "already so");
    assert_eq!(
        nest.mute(&rooms, &ann, false).await,
        Ok(false),
        "LiveKit does not allow remote unmute by default"
    );
    assert!(muted());
    world.server().set_switches(Switches { remote_unmute: true, ..world.server().switches() });
    assert_eq!(nest.mute(&rooms, &ann, false).await, Ok(true));
    assert!(!muted());
    assert_eq!(nest.mute(&rooms, &nest.host, true).await, Ok(false), "the host is not connected");
}

/// LiveKit's answer has no track then, and its official client panics on that.
#[testkit::test]
async fn mute_changes_nothing_when_the_track_vanishes(connect: PgConnectOptions) {
    let (world, rooms, nest, ann) = speaking(connect).await;
    let room = world.nest_record(&nest).await.room_name;
    let track = world.server().publish(&room, &ann, TrackSource::Microphone).unwrap();
    world.server().faults().set_next("MutePublishedTrack", 1, Fault::Hang);
    let vanishing = async {
        world.reached("MutePublishedTrack", 1).await;
        world.server().unpublish(&room, &ann, &track.sid).unwrap();
        world.server().faults().clear();
    };
    let (muted, ()) = futures::join!(nest.mute(&rooms, &ann, true), vanishing);
    assert_eq!(muted, Ok(false));
    world.server().publish(&room, &ann, TrackSource::Microphone).unwrap();
    assert_eq!(nest.mute(&rooms, &ann, true).await, Ok(true), "the next track is muted");
}

#[testkit::test]
async fn mute_is_refused_when_livekit_fails(connect: PgConnectOptions) {
    let (world, rooms, nest, ann) = speaking(connect).await;
    let room = world.nest_record(&nest).await.room_name;
    world.server().publish(&room, &ann, TrackSource::Microphone).unwrap();
    for method in ["ListParticipants", "MutePublishedTrack"] {
        world.server().faults().set(method, refused());
        let refusal = nest.mute(&rooms, &ann, true).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::LivekitUnavailable, "{method}");
        world.server().faults().clear();
    }
    assert_eq!(nest.mute(&rooms, &ann, true).await, Ok(true));
}

/// A failure would suggest that nothing changed.
#[testkit::test]
async fn changed_rights_are_reported_when_the_mute_fails(connect: PgConnectOptions) {
    let (world, rooms, nest, ann) = speaking(connect).await;
    let room = world.nest_record(&nest).await.room_name;
    world.server().publish(&room, &ann, TrackSource::Microphone).unwrap();
    world.server().faults().set("MutePublishedTrack", refused());
    let changed = nest.permit(&rooms, (&nest.host, &ann), |request| {
        request.is_admin = Some(true);
        request.mute_microphone = Some(true);
    });
    assert_eq!(changed.await, Ok(true));
    assert_eq!(nest.mute(&rooms, &ann, true).await.unwrap_err().reason, Reason::LivekitUnavailable);
}
