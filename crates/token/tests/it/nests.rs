//! Tokens of nests as LiveKit reads them, guests, and the explained decision without a token.

use chassis::status::Reason;
use domain::LiveStatus;
use proto::{
    room::v1::ensure_room_request::Owner,
    token::v1::{ExplainRequest, ExplainResponse},
    types::v1::{Caller, TargetKind},
};
use sqlx::postgres::PgConnectOptions;
use testkit::seed::{
    self, State, live,
    nest::{self, key},
};
use time::Duration;

use crate::{
    issuing::create_on_livekit,
    world::{FakeRoom, SlowClock, World, person, run, server_time, world},
};

#[testkit::test]
async fn nest_speakers_publish_and_listeners_and_guests_subscribe(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let fake = FakeRoom::silent();
    let world = world(&connect, &fake).await;
    let nest = nest::nest(&pool, &key('a')).await;
    nest::participant(&pool, &nest, &key('b'), false, false).await;
    let room = nest::active_room(&pool, &nest).await;
    create_on_livekit(&world, &room.name).await;
    for (pubkey, sources) in [(Some(key('a')), ["microphone"].as_slice()), (Some(key('b')), &[]), (None, &[])]
    {
        let issued = world.enter_nest(pubkey.as_deref(), &nest).await.unwrap();
        let claims = world.verified(&issued.token);
        assert_eq!(claims.sub, issued.identity, "as {pubkey:?}");
        match &pubkey {
            Some(pubkey) => assert_eq!(&issued.identity, pubkey, "as {pubkey:?}"),
            None => assert!(issued.identity.starts_with("guest-"), "as {pubkey:?}"),
        }
        let video = claims.video;
        assert_eq!(
            (video.room.as_str(), issued.room_name.as_str()),
            (&*room.name, &*room.name),
            "as {pubkey:?}"
        );
        assert_eq!(video.can_publish, Some(!sources.is_empty()), "as {pubkey:?}");
        assert_eq!(video.can_publish_sources, sources, "as {pubkey:?}");
        assert_eq!(
            (video.can_subscribe, video.can_publish_data),
            (Some(true), Some(!sources.is_empty())),
            "as {pubkey:?}"
        );
        assert_eq!(video.can_update_own_metadata, Some(false), "as {pubkey:?}");
        assert!(
            ![video.room_create, video.room_list, video.room_admin, video.room_record].contains(&true),
            "as {pubkey:?}"
        );
        let expires_at = chassis::grpc::datetime(&issued.expires_at.unwrap()).unwrap();
        assert!(expires_at <= server_time(&pool).await + Duration::minutes(10), "as {pubkey:?}");
        assert_eq!(
            world.livekit().server.join(&issued.token).unwrap().identity,
            issued.identity,
            "as {pubkey:?}"
        );
    }
    assert!(fake.asked().is_empty(), "a fresh record is not ensured");
}

#[testkit::test]
async fn two_guests_have_two_identities(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let nest = nest::nest(&pool, &key('a')).await;
    nest::active_room(&pool, &nest).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let first = world.enter_nest(None, &nest).await.unwrap().identity;
    assert_ne!(first, world.enter_nest(None, &nest).await.unwrap().identity);
}

#[testkit::test]
async fn nest_refuses_outsiders_and_is_not_found_after_its_end(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let nest = nest::nest(&pool, &key('a')).await;
    nest::active_room(&pool, &nest).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let refused = async |pubkey: Option<&str>| world.enter_nest(pubkey, &nest).await.unwrap_err().reason;
    assert_eq!(refused(Some(&key('c'))).await, Reason::NotParticipant);
    run(&pool, "update nests set guests_allowed = false").await;
    assert_eq!(refused(None).await, Reason::RoomNotFound);
    run(&pool, "update nests set status = 'ended', ended_at = app_now()").await;
    assert_eq!(refused(Some(&nest.host)).await, Reason::RoomNotFound);
}

#[testkit::test]
async fn stale_room_is_ensured_with_the_nest_as_owner(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let nest = nest::nest(&pool, &key('a')).await;
    nest::active_room(&pool, &nest).await;
    run(&pool, "update livekit_rooms set confirmed_at = app_now() - interval '6 seconds'").await;
    let confirmed = pool.clone();
    let fake = FakeRoom::new(move || {
        let pool = confirmed.clone();
        async move {
            run(&pool, "update livekit_rooms set confirmed_at = app_now()").await;
            Ok(1)
        }
    });
    let world = world(&connect, &fake).await;
    world.enter_nest(Some(&nest.host), &nest).await.unwrap();
    let asked = fake.asked();
    assert_eq!(asked.len(), 1, "calls of EnsureRoom");
    assert_eq!(asked[0].owner, Some(Owner::NestId(nest.id.to_string())));
}

async fn explain(
    world: &World,
    caller: Option<Caller>,
    kind: TargetKind,
    id: impl ToString,
) -> ExplainResponse {
    let request = ExplainRequest { caller, kind: kind.into(), id: id.to_string() };
    world.client.clone().explain(request).await.unwrap().into_inner()
}

#[testkit::test]
async fn explain_returns_the_decision_and_ensures_no_room(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let fake = FakeRoom::silent();
    let world = world(&connect, &fake).await;
    let code = async |caller: Option<&str>, kind: TargetKind, id| {
        explain(&world, caller.map(person), kind, id).await.code
    };
    let (now, later) =
        (seed::booking(&pool, State::OpenNow).await, seed::booking(&pool, State::OpensTomorrow).await);
    assert_eq!(
        code(Some(&now.guest), TargetKind::Session, now.id).await,
        "ok",
        "the decision does not need a room"
    );
    assert_eq!(code(Some("eve"), TargetKind::Session, now.id).await, "not_participant");
    assert_eq!(code(None, TargetKind::Session, now.id).await, "unauthenticated");
    let early = explain(&world, Some(person(&later.host)), TargetKind::Session, later.id).await;
    assert_eq!(early.code, "too_early");
    assert!(early.facts.contains_key("opens_at"), "{:?}", early.facts);
    assert_eq!(code(Some("eve"), TargetKind::Session, uuid::Uuid::nil()).await, "session_not_found");

    let live = live::live_room(&pool, "hanna").await;
    assert_eq!(code(Some("hanna"), TargetKind::LiveRoom, live.id).await, "room_not_active");
    live::live_session(&pool, &live, LiveStatus::Live).await;
    assert_eq!(code(Some("gus"), TargetKind::LiveRoom, live.id).await, "not_participant");

    let nest = nest::nest(&pool, &key('a')).await;
    assert_eq!(code(Some(&nest.host), TargetKind::Nest, nest.id).await, "ok");
    assert_eq!(code(None, TargetKind::Nest, nest.id).await, "ok", "the nest admits guests");
    assert!(fake.asked().is_empty());
}

#[testkit::test]
async fn explain_refuses_an_unknown_kind(connect: PgConnectOptions) {
    let world = world(&connect, &FakeRoom::silent()).await;
    let request = ExplainRequest { kind: 99, id: uuid::Uuid::nil().to_string(), caller: None };
    let refused = world.client.clone().explain(request).await.unwrap_err();
    assert_eq!(chassis::status::Refusal::from_status(&refused).reason, Reason::InvalidRequest);
}
