//! Why somebody cannot get in: each cause made for real, and what is told and mended.

use std::{sync::Arc, time::Duration as Wait};

use chassis::{
    diagnosis::{Cause, Scenario},
    grpc::system_caller,
    status::Reason,
};
use domain::{LiveRoomId, LiveSessionId, LiveStatus, TargetKind};
use livekit_dev::{Fault, Hand};
use proto::types::v1::Caller;
use room_lifecycle::{
    Rooms,
    diagnosis::{Decision, Patience, Target, verdict::Diagnosis},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::harness::{Booking, State, World, hosts, owner};

const HOST: Option<Reason> = None;

pub fn target(booking: &Booking) -> Target {
    Target { kind: TargetKind::Session, id: booking.id }
}

async fn diagnose(rooms: &Rooms, caller: &Caller, target: Target, decision: Decision) -> Diagnosis {
    rooms.diagnose(Some(caller), target, decision).await.unwrap()
}

/// As the host, who would get a token.
async fn by_host(rooms: &Rooms, booking: &Booking) -> Diagnosis {
    diagnose(rooms, &hosts::person(&booking.host), target(booking), HOST).await
}

/// As `greenroom diagnose` looks.
pub async fn by_operator(rooms: &Rooms, booking: &Booking) -> Diagnosis {
    diagnose(rooms, &system_caller(), target(booking), HOST).await
}

fn check(told: &Diagnosis, name: &str) -> Option<bool> {
    told.checks.iter().find(|check| check.check == name).unwrap().ok
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_healthy_room_is_told_and_not_touched(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms_with(|config| config.app_url = Some("http://app.example.org".into())).await;
    let (booking, before) = world.open_room(&rooms).await;
    let told = by_host(&rooms, &booking).await;
    assert_eq!((told.cause, told.repaired), (Cause::Ok, false), "{told:?}");
    for name in
        ["record", "livekit_reachable", "livekit_key", "room_on_livekit", "sid_agrees", "token_accepted"]
    {
        assert_eq!(check(&told, name), Some(true), "{name}");
    }
    assert_eq!(told.facts.get("kind").map(String::as_str), Some("session"));
    assert_eq!(world.record(&booking).await.generation, before.generation);
    assert_eq!(world.server().participants(&before.room_name), []);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_livekit_that_is_dead_or_hangs_is_unreachable(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms_with(|config| config.patience.look = Wait::from_secs(3)).await;
    let (booking, _) = world.open_room(&rooms).await;
    let dead = world.rooms_with(|config| config.livekit.url = "http://127.0.0.1:1".to_owned()).await;
    for rooms in [&dead, &rooms] {
        let told = by_host(rooms, &booking).await;
        assert_eq!(told.cause.scenario(), Scenario::A);
        assert_eq!(told.cause, Cause::LivekitUnreachable);
        assert_eq!((check(&told, "livekit_reachable"), check(&told, "livekit_key")), (Some(false), None));
        assert!(told.checks.iter().all(|check| check.detail.is_empty()), "{told:?}");
        let told = by_operator(rooms, &booking).await;
        assert!(told.checks.iter().any(|check| !check.detail.is_empty()), "{told:?}");
        world.server().faults().set(livekit_dev::ANY_METHOD, Fault::Hang);
    }
    world.server().faults().clear();
    assert_eq!(by_host(&rooms, &booking).await.cause, Cause::Ok);
}

/// The gateway waits for 2 s; a busy machine may take longer, but not as long as a call to LiveKit may (3 s).
const IN_TIME: Wait = Wait::from_millis(2_800);

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_livekit_that_hangs_is_told_of_in_time(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms_with(|config| config.patience = Patience::default()).await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().faults().set(livekit_dev::ANY_METHOD, Fault::Hang);
    let told = tokio::time::timeout(IN_TIME, by_host(&rooms, &booking)).await.unwrap();
    assert_eq!(told.cause, Cause::LivekitUnreachable);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_that_takes_long_to_make_anew_is_told_as_missing_in_time(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms_with(|config| config.patience.remake = Patience::default().remake).await;
    let (booking, record) = world.open_room(&rooms).await;
    world.admin().delete_room(&record.room_name).await.unwrap();
    world.server().faults().set("CreateRoom", Fault::Hang);
    let told = tokio::time::timeout(IN_TIME, by_host(&rooms, &booking)).await.unwrap();
    assert_eq!((told.cause, told.repaired), (Cause::RoomMissing, false), "{told:?}");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_wrong_secret_is_told_from_a_livekit_that_is_down(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (booking, _) = world.open_room(&*world.rooms().await).await;
    let wrong = world.rooms_with(|config| config.livekit.api_secret = testkit::secret().into()).await;
    let told = by_host(&wrong, &booking).await;
    assert_eq!((told.cause, told.repaired), (Cause::LivekitKeyRefused, false));
    assert_eq!((check(&told, "livekit_reachable"), check(&told, "livekit_key")), (Some(true), Some(false)));
    let operators = by_operator(&wrong, &booking).await;
    assert_ne!(told.fix, operators.fix, "only operators can do something");
    let details = format!("{operators:?}");
    assert!(details.contains("token signature is invalid"), "{details}");
    assert!(!details.contains("eyJ"), "LiveKit repeats the token, and we do not: {details}");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_deleted_behind_our_back_is_made_anew_for_who_may_come_in(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.admin().delete_room(&record.room_name).await.unwrap();

    let told = by_operator(&rooms, &booking).await;
    assert_eq!((told.cause, told.repaired), (Cause::RoomMissing, false));
    assert_eq!(check(&told, "sid_agrees"), None);
    let late = diagnose(&rooms, &hosts::person(&booking.guest), target(&booking), Some(Reason::Kicked)).await;
    assert_eq!((late.cause, late.repaired), (Cause::Kicked, false));
    assert_eq!(
        world.names(),
        Vec::<String>::new(),
        "neither an operator nor who is refused changes anything"
    );

    let told = by_host(&rooms, &booking).await;
    assert_eq!((told.cause, told.repaired), (Cause::Ok, true), "{told:?}");
    assert_eq!(world.record(&booking).await.generation, 2);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_corrupt_sid_is_taken_over_and_a_pending_room_is_made(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.execute("update livekit_rooms set room_sid = 'RM_corrupt'").await;
    let told = by_operator(&rooms, &booking).await;
    assert_eq!((told.cause, check(&told, "sid_agrees")), (Cause::SidMismatch, Some(false)));
    let told = by_host(&rooms, &booking).await;
    assert_eq!((told.cause, told.repaired), (Cause::Ok, true));
    assert_eq!(world.record(&booking).await.room_sid, record.room_sid);

    let fresh = world.booking(State::OpenNow).await;
    assert_eq!(by_operator(&rooms, &fresh).await.cause, Cause::RoomPending);
    let told = by_host(&rooms, &fresh).await;
    assert_eq!((told.cause, told.repaired), (Cause::Ok, true));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn clocks_that_are_apart_are_told_before_the_tokens_they_spoil(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().advance(Hand::Tokens, Wait::from_secs(50));
    let told = by_host(&rooms, &booking).await;
    assert_eq!((told.cause, check(&told, "token_accepted")), (Cause::ClockSkew, Some(true)));
    let skew: i64 = told.facts["clock_skew_seconds"].parse().unwrap();
    assert!((45..=55).contains(&skew), "{skew}");
    world.server().advance(Hand::Tokens, Wait::from_hours(1));
    let told = by_host(&rooms, &booking).await;
    assert_eq!((told.cause, check(&told, "livekit_key")), (Cause::ClockSkew, Some(false)), "{told:?}");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_livekit_that_makes_rooms_by_itself_is_a_warning(_: PgPoolOptions, connect: PgConnectOptions) {
    let livekit = testkit::livekit_with(|config| config.auto_create = true).await;
    let world = World::beside(connect, Arc::new(livekit)).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let told = by_host(&rooms, &booking).await;
    assert_eq!((told.cause, told.cause.scenario()), (Cause::AutoCreateOn, Scenario::Ok));
    assert_eq!(world.names().len(), 1, "the probe made no room");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn silent_webhooks_are_a_warning_once_they_had_the_time(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    assert_eq!(check(&by_host(&rooms, &booking).await, "webhooks"), None);
    world.pass_time(Duration::seconds(31));
    let told = by_host(&rooms, &booking).await;
    assert_eq!((told.cause, check(&told, "webhooks")), (Cause::WebhooksSilent, Some(false)));
    let sid = record.room_sid.unwrap();
    world
        .execute(&format!(
            "insert into livekit_events (event_id, room_id, room_sid, event_type)
             values ('EV_1', '{}', '{sid}', 'room_started')",
            record.id
        ))
        .await;
    assert_eq!(by_host(&rooms, &booking).await.cause, Cause::Ok);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn plain_websockets_do_not_open_from_pages_over_https(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms_with(|config| config.app_url = Some("https://app.example.org".into())).await;
    let (booking, _) = world.open_room(&rooms).await;
    assert_eq!(by_host(&rooms, &booking).await.cause, Cause::InsecureWebsocketUrl);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_booking_that_is_over_or_to_come_is_told_as_such(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for (state, cause) in [
        (State::Cancelled, Cause::SessionCancelled),
        (State::Completed, Cause::MeetingEnded),
        (State::WindowOver, Cause::MeetingEnded),
        (State::OpensTomorrow, Cause::TooEarly),
    ] {
        let booking = world.booking(state).await;
        if state == State::OpensTomorrow {
            rooms.create(owner(&booking)).await.unwrap();
        }
        let told = by_operator(&rooms, &booking).await;
        assert_eq!((told.cause, told.cause.scenario()), (cause, Scenario::Refused), "{told:?}");
        assert!(told.facts.contains_key("opens_at"));
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn what_the_token_service_refuses_is_told_and_livekit_is_not_asked(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let asked = world.server().calls("rtc/validate");
    for &refused in Reason::ALL {
        let told = diagnose(&rooms, &hosts::person(&booking.guest), target(&booking), Some(refused)).await;
        assert_eq!(told.cause, Cause::of(refused));
        assert_eq!(check(&told, "token_accepted"), None);
    }
    assert_eq!(world.server().calls("rtc/validate"), asked);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_live_room_tells_what_a_join_would_lead_to(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let no_seat = Some(Reason::NotParticipant);
    let visitor = hosts::person("a-visitor");
    let (host, session) = world.host_with(LiveStatus::Live).await;
    let live = Target { kind: TargetKind::LiveRoom, id: host.room.id };
    rooms.ensure(domain::Owner::LiveSession(LiveSessionId(session)), false).await.unwrap();
    assert_eq!(diagnose(&rooms, &visitor, live, no_seat).await.cause, Cause::Ok);
    world.execute("update live_room_sessions set auto_admit = false").await;
    assert_eq!(diagnose(&rooms, &visitor, live, no_seat).await.cause, Cause::WaitingInLobby);
    world.execute("update live_room_sessions set auto_admit = true, max_participants = 1").await;
    rooms.join_live_room(&hosts::person("another"), LiveRoomId(host.room.id)).await.unwrap();
    assert_eq!(diagnose(&rooms, &visitor, live, no_seat).await.cause, Cause::RoomFull);
    world
        .execute(&format!(
            "insert into live_room_bans (live_room_id, user_id, banned_by) values ('{}', 'a-visitor', 'x')",
            host.room.id
        ))
        .await;
    assert_eq!(diagnose(&rooms, &visitor, live, no_seat).await.cause, Cause::Banned);
    let seats = sqlx::query_scalar!(
        r#"select count(*) as "n!" from live_room_attendance where user_id = 'a-visitor'"#
    );
    assert_eq!(seats.fetch_one(&world.pool).await.unwrap(), 0, "no seat was taken");

    let (idle, _) = world.host_with(LiveStatus::Ended).await;
    let idle = Target { kind: TargetKind::LiveRoom, id: idle.room.id };
    assert_eq!(diagnose(&rooms, &system_caller(), idle, None).await.cause, Cause::RoomNotActive);
}

/// The token is the last thing that is looked at: until then all is made anew.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_second_look_that_takes_too_long_leaves_what_was_found_first(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.admin().delete_room(&record.room_name).await.unwrap();
    let made = world.server().calls("CreateRoom");
    let asked = chassis::context::with_budget(Wait::from_millis(700), by_host(&rooms, &booking));
    let hanging = async {
        world.reached("CreateRoom", made + 1).await;
        world.server().faults().set("rtc/validate", Fault::Hang);
    };
    let (told, ()) = futures::join!(asked, hanging);
    assert_eq!((told.cause, told.repaired), (Cause::RoomMissing, true), "{told:?}");
    assert_eq!(world.record(&booking).await.generation, 2);
}
