//! Why a user cannot join: each cause is produced for real; then its report and repair are checked.

use std::{sync::Arc, time::Duration as Wait};

use chassis::{grpc::system_caller, status::Reason};
use domain::{
    LiveRoomId, LiveSessionId, LiveStatus, TargetKind,
    diagnosis::{Cause, Scenario},
};
use livekit_dev::{ClockHandle, Fault};
use proto::types::v1::Caller;
use room_lifecycle::{
    config::Timeouts,
    diagnosis::{Decision, Target, verdict::Diagnosis},
};
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use crate::harness::{Booking, Service, State, World, hosts, owner};

const HOST: Option<Reason> = None;

pub fn target(booking: &Booking) -> Target {
    Target { kind: TargetKind::Session, id: booking.id }
}

async fn diagnose(rooms: &Service, caller: &Caller, target: Target, decision: Decision) -> Diagnosis {
    rooms.diagnoses.diagnose(Some(caller), target, decision).await.unwrap()
}

/// Diagnoses as the host, who would get a token.
async fn by_host(rooms: &Service, booking: &Booking) -> Diagnosis {
    diagnose(rooms, &hosts::person(&booking.host), target(booking), HOST).await
}

/// Diagnoses as `greenroom diagnose` does.
pub async fn by_operator(rooms: &Service, booking: &Booking) -> Diagnosis {
    diagnose(rooms, &system_caller(), target(booking), HOST).await
}

fn check(diagnosis: &Diagnosis, name: &str) -> Option<bool> {
    diagnosis.checks.iter().find(|check| check.check == name).unwrap().ok
}

#[testkit::test]
async fn healthy_room_is_reported_and_not_changed(world: World) {
    let rooms = world.rooms_with(|config| config.app_url = Some("http://app.example.org".into())).await;
    let (booking, before) = world.open_room(&rooms).await;
    let diagnosis = by_host(&rooms, &booking).await;
    assert_eq!((diagnosis.cause, diagnosis.repaired), (Cause::Ok, false), "{diagnosis:?}");
    for name in
        ["record", "livekit_reachable", "livekit_key", "room_on_livekit", "sid_agrees", "token_accepted"]
    {
        assert_eq!(check(&diagnosis, name), Some(true), "{name}");
    }
    assert_eq!(diagnosis.facts.get("kind").map(String::as_str), Some("session"));
    assert_eq!(world.record(&booking).await.generation, before.generation, "generation");
    assert_eq!(world.server().participants(&before.room_name), []);
}

#[testkit::test]
async fn livekit_is_unreachable_when_dead_or_hanging(world: World) {
    let rooms = world.rooms_with(|config| config.timeouts.probe = Wait::from_secs(3)).await;
    let (booking, _) = world.open_room(&rooms).await;
    let dead = world.rooms_with(|config| config.livekit.url = "http://127.0.0.1:1".to_owned()).await;
    for rooms in [&dead, &rooms] {
        let diagnosis = by_host(rooms, &booking).await;
        assert_eq!(diagnosis.cause.scenario(), Scenario::A, "{diagnosis:?}");
        assert_eq!(diagnosis.cause, Cause::LivekitUnreachable, "{diagnosis:?}");
        assert_eq!(
            (check(&diagnosis, "livekit_reachable"), check(&diagnosis, "livekit_key")),
            (Some(false), None),
            "{diagnosis:?}"
        );
        assert!(diagnosis.checks.iter().all(|check| check.detail.is_empty()), "{diagnosis:?}");
        let diagnosis = by_operator(rooms, &booking).await;
        assert!(diagnosis.checks.iter().any(|check| !check.detail.is_empty()), "{diagnosis:?}");
        world.server().faults().set(livekit_dev::ANY_METHOD, Fault::Hang);
    }
    world.server().faults().clear();
    assert_eq!(by_host(&rooms, &booking).await.cause, Cause::Ok);
}

/// The gateway waits for 2 s. A busy machine may take longer, but less than a LiveKit call may (3 s).
const IN_TIME: Wait = Wait::from_millis(2_800);

#[testkit::test]
async fn hanging_livekit_is_reported_in_time(world: World) {
    let rooms = world.rooms_with(|config| config.timeouts = Timeouts::default()).await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().faults().set(livekit_dev::ANY_METHOD, Fault::Hang);
    let diagnosis = tokio::time::timeout(IN_TIME, by_host(&rooms, &booking)).await.unwrap();
    assert_eq!(diagnosis.cause, Cause::LivekitUnreachable);
}

#[testkit::test]
async fn room_is_missing_when_recreation_times_out(world: World) {
    let rooms = world.rooms_with(|config| config.timeouts.recreate = Timeouts::default().recreate).await;
    let (booking, record) = world.open_room(&rooms).await;
    world.admin().delete_room(&record.room_name).await.unwrap();
    world.server().faults().set("CreateRoom", Fault::Hang);
    let diagnosis = tokio::time::timeout(IN_TIME, by_host(&rooms, &booking)).await.unwrap();
    assert_eq!((diagnosis.cause, diagnosis.repaired), (Cause::RoomMissing, false), "{diagnosis:?}");
}

#[testkit::test]
async fn wrong_secret_is_not_reported_as_unreachable(world: World) {
    let (booking, _) = world.open_room(&*world.rooms().await).await;
    let wrong = world.rooms_with(|config| config.livekit.api_secret = testkit::secret().into()).await;
    let diagnosis = by_host(&wrong, &booking).await;
    assert_eq!((diagnosis.cause, diagnosis.repaired), (Cause::LivekitKeyRefused, false));
    assert_eq!(
        (check(&diagnosis, "livekit_reachable"), check(&diagnosis, "livekit_key")),
        (Some(true), Some(false))
    );
    let operators = by_operator(&wrong, &booking).await;
    assert_ne!(diagnosis.fix, operators.fix, "only operators can do something");
    let details = format!("{operators:?}");
    assert!(details.contains("token signature is invalid"), "{details}");
    assert!(!details.contains("eyJ"), "the details contain the token: {details}");
}

#[testkit::test]
async fn deleted_room_is_recreated_when_the_caller_may_join(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.admin().delete_room(&record.room_name).await.unwrap();

    let diagnosis = by_operator(&rooms, &booking).await;
    assert_eq!((diagnosis.cause, diagnosis.repaired), (Cause::RoomMissing, false));
    assert_eq!(check(&diagnosis, "sid_agrees"), None);
    let late = diagnose(&rooms, &hosts::person(&booking.guest), target(&booking), Some(Reason::Kicked)).await;
    assert_eq!((late.cause, late.repaired), (Cause::Kicked, false));
    assert_eq!(
        world.names(),
        Vec::<String>::new(),
        "neither an operator nor a refused caller changes anything"
    );

    let diagnosis = by_host(&rooms, &booking).await;
    assert_eq!((diagnosis.cause, diagnosis.repaired), (Cause::Ok, true), "{diagnosis:?}");
    assert_eq!(world.record(&booking).await.generation, 2, "generation");
}

#[testkit::test]
async fn corrupt_sid_and_pending_room_are_repaired(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.execute("update livekit_rooms set room_sid = 'RM_corrupt'").await;
    let diagnosis = by_operator(&rooms, &booking).await;
    assert_eq!((diagnosis.cause, check(&diagnosis, "sid_agrees")), (Cause::SidMismatch, Some(false)));
    let diagnosis = by_host(&rooms, &booking).await;
    assert_eq!((diagnosis.cause, diagnosis.repaired), (Cause::Ok, true));
    assert_eq!(world.record(&booking).await.room_sid, record.room_sid);

    let fresh = world.booking(State::OpenNow).await;
    assert_eq!(by_operator(&rooms, &fresh).await.cause, Cause::RoomPending);
    let diagnosis = by_host(&rooms, &fresh).await;
    assert_eq!((diagnosis.cause, diagnosis.repaired), (Cause::Ok, true));
}

#[testkit::test]
async fn clock_skew_is_reported_before_refused_tokens(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().advance(ClockHandle::Tokens, Wait::from_secs(50));
    let diagnosis = by_host(&rooms, &booking).await;
    assert_eq!((diagnosis.cause, check(&diagnosis, "token_accepted")), (Cause::ClockSkew, Some(true)));
    let skew: i64 = diagnosis.facts["clock_skew_seconds"].parse().unwrap();
    assert!((45..=55).contains(&skew), "{skew}");
    world.server().advance(ClockHandle::Tokens, Wait::from_hours(1));
    let diagnosis = by_host(&rooms, &booking).await;
    assert_eq!(
        (diagnosis.cause, check(&diagnosis, "livekit_key")),
        (Cause::ClockSkew, Some(false)),
        "{diagnosis:?}"
    );
}

#[testkit::test]
async fn auto_create_is_a_warning(connect: PgConnectOptions) {
    let livekit = testkit::livekit_with(|config| config.auto_create = true).await;
    let world = World::with_livekit(connect, Arc::new(livekit)).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let diagnosis = by_host(&rooms, &booking).await;
    assert_eq!((diagnosis.cause, diagnosis.cause.scenario()), (Cause::AutoCreateOn, Scenario::Ok));
    assert_eq!(world.names().len(), 1, "the probe created no room");
}

#[testkit::test]
async fn silent_webhooks_are_a_warning_after_30_seconds(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    assert_eq!(check(&by_host(&rooms, &booking).await, "webhooks"), None);
    world.advance(Duration::seconds(31));
    let diagnosis = by_host(&rooms, &booking).await;
    assert_eq!((diagnosis.cause, check(&diagnosis, "webhooks")), (Cause::WebhooksSilent, Some(false)));
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

#[testkit::test]
async fn plain_websocket_is_reported_when_the_page_is_https(world: World) {
    let rooms = world.rooms_with(|config| config.app_url = Some("https://app.example.org".into())).await;
    let (booking, _) = world.open_room(&rooms).await;
    assert_eq!(by_host(&rooms, &booking).await.cause, Cause::InsecureWebsocketUrl);
}

#[testkit::test]
async fn closed_or_future_booking_is_reported_with_its_cause(world: World) {
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
        let diagnosis = by_operator(&rooms, &booking).await;
        assert_eq!(
            (diagnosis.cause, diagnosis.cause.scenario()),
            (cause, Scenario::Refused),
            "{diagnosis:?}"
        );
        assert!(diagnosis.facts.contains_key("opens_at"), "{state:?}");
    }
}

#[testkit::test]
async fn token_refusal_is_reported_without_asking_livekit(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let asked = world.server().calls("rtc/validate");
    for &refused in Reason::ALL {
        let diagnosis =
            diagnose(&rooms, &hosts::person(&booking.guest), target(&booking), Some(refused)).await;
        assert_eq!(diagnosis.cause, Cause::from(refused), "{refused:?}");
        assert_eq!(check(&diagnosis, "token_accepted"), None, "{refused:?}");
    }
    assert_eq!(world.server().calls("rtc/validate"), asked);
}

#[testkit::test]
async fn live_room_diagnosis_predicts_the_join(world: World) {
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
    rooms.live.join_live_room(&hosts::person("another"), LiveRoomId(host.room.id)).await.unwrap();
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
    assert_eq!(seats.fetch_one(&world.pool).await.unwrap(), 0, "the diagnosis took a seat");

    let (idle, _) = world.host_with(LiveStatus::Ended).await;
    let idle = Target { kind: TargetKind::LiveRoom, id: idle.room.id };
    assert_eq!(diagnose(&rooms, &system_caller(), idle, None).await.cause, Cause::RoomNotActive);
}

/// The token is checked last: when that hangs, everything before it has been repaired.
#[testkit::test]
async fn first_diagnosis_is_kept_when_the_second_check_times_out(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.admin().delete_room(&record.room_name).await.unwrap();
    let created = world.server().calls("CreateRoom");
    let asked = chassis::context::with_budget(Wait::from_millis(700), by_host(&rooms, &booking));
    let hanging = async {
        world.reached("CreateRoom", created + 1).await;
        world.server().faults().set("rtc/validate", Fault::Hang);
    };
    let (diagnosis, ()) = futures::join!(asked, hanging);
    assert_eq!((diagnosis.cause, diagnosis.repaired), (Cause::RoomMissing, true), "{diagnosis:?}");
    assert_eq!(world.record(&booking).await.generation, 2, "generation");
}
