//! The end reason that each way of ending a live session writes, and sessions that did not go live in time.

use domain::{EndReason, LiveStatus};
use proto::{
    room::v1::{LiveRoomRequest, LiveSession, live_room_service_server::LiveRoomService},
    types::v1::{EndReason as Reason, LiveStatus as Status, Readiness},
};
use room_lifecycle::live::session_decision::Verb;
use time::Duration;
use tonic::Request;
use uuid::Uuid;

use crate::{
    harness::{
        Service, World,
        hosts::{Host, admin},
    },
    live_auto_end::announce,
};

impl World {
    async fn end_reason(&self, session: Uuid) -> Option<EndReason> {
        sqlx::query_scalar!(
            r#"select end_reason as "reason: EndReason" from live_room_sessions where id = $1"#,
            session
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// The status of a room in the projection for the listing.
    async fn listed(&self, room: Uuid) -> String {
        sqlx::query_scalar!(r#"select status as "status!" from live_stream_projection where id = $1"#, room)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    async fn assert_missed(&self, host: &Host, session: Uuid) {
        assert_eq!(self.live_status(session).await, "cancelled", "the session of {host:?}");
        assert_eq!(self.end_reason(session).await, Some(EndReason::Missed), "the session of {host:?}");
        assert_eq!(self.listed(host.room.id).await, "ended", "the listing of {host:?}");
    }
}

/// The room's session as clients read it.
async fn get_session(rooms: &Service, host: &Host) -> LiveSession {
    let caller = Some(host.caller.clone());
    let request = LiveRoomRequest { caller, room_id: host.room.id.to_string() };
    let answer = LiveRoomService::get_room(&rooms.live, Request::new(request)).await.unwrap();
    answer.into_inner().session.unwrap()
}

#[testkit::test]
async fn session_is_missed_when_services_were_down_for_weeks(world: World) {
    let (scheduled, planned) = world.host_with(LiveStatus::Scheduled).await;
    let (waiting, opened) = world.host_with(LiveStatus::Lobby).await;
    world.advance(Duration::weeks(3));
    let rooms = world.rooms().await;
    rooms.pass().await.unwrap();
    for (host, session) in [(&scheduled, planned), (&waiting, opened)] {
        world.assert_missed(host, session).await;
        let shown = get_session(&rooms, host).await;
        assert_eq!((shown.status(), shown.end_reason()), (Status::Cancelled, Reason::Missed), "{shown:?}");
        assert_eq!((shown.livekit, shown.started_at), (None, None), "{shown:?}");
        assert!(shown.ended_at.is_some(), "{shown:?}");
    }
    assert_eq!(world.server().calls("CreateRoom"), 0, "no room is created for a missed session");
    world.assert_live_rooms_whole().await;
    assert!(scheduled.go_live(&rooms).await.unwrap().created, "the room is free");
}

#[testkit::test]
async fn session_is_missed_from_two_hours_or_its_end_on(world: World) {
    let rooms = world.rooms().await;
    for status in [LiveStatus::Scheduled, LiveStatus::Lobby] {
        for (starts_in, ends_in, missed) in [
            (-119, None, false),
            (-120, None, true),
            (-60, Some(1), false),
            (-60, Some(0), true),
            (-121, Some(60), true),
        ] {
            let (host, session) = world.host_with(status).await;
            world.set_plan(session, starts_in, ends_in).await;
            rooms.live.start_due().await.unwrap();
            if missed {
                world.assert_missed(&host, session).await;
            } else {
                assert_eq!(world.live_status(session).await, "live", "{status:?} {starts_in} {ends_in:?}");
                assert_eq!(world.end_reason(session).await, None, "{starts_in} {ends_in:?}, {status:?}");
            }
        }
    }
}

#[testkit::test]
async fn verbs_treat_a_missed_session_as_over(world: World) {
    let rooms = world.rooms().await;
    for verb in [Verb::Start, Verb::OpenLobby, Verb::End, Verb::Cancel, Verb::Reset, Verb::HostPresent(true)]
    {
        for status in [LiveStatus::Scheduled, LiveStatus::Lobby] {
            let (host, session) = world.host_with(status).await;
            world.set_plan(session, -121, None).await;
            let refused = host.change(&rooms, verb).await.is_err();
            assert_eq!(
                refused,
                matches!(verb, Verb::Start | Verb::OpenLobby | Verb::HostPresent(_)),
                "{verb:?}"
            );
            world.assert_missed(&host, session).await;
        }
    }
}

#[testkit::test]
async fn verbs_write_the_end_reason(world: World) {
    let rooms = world.rooms().await;
    for (verb, reason) in
        [(Verb::End, EndReason::Host), (Verb::Cancel, EndReason::Host), (Verb::Reset, EndReason::Reset)]
    {
        for status in [LiveStatus::Scheduled, LiveStatus::Lobby, LiveStatus::Live] {
            let (host, session) = world.host_with(status).await;
            if (verb, status) == (Verb::Cancel, LiveStatus::Live) {
                continue;
            }
            assert_eq!(get_session(&rooms, &host).await.end_reason, None, "{status:?}, {verb:?}");
            host.change(&rooms, verb).await.unwrap();
            host.change(&rooms, Verb::Reset).await.unwrap();
            assert_eq!(world.end_reason(session).await, Some(reason), "{verb:?} {status:?}");
            let shown = get_session(&rooms, &host).await;
            assert_eq!(
                (shown.end_reason, shown.livekit),
                (Some(reason.into()), None),
                "{status:?}, {verb:?}"
            );
        }
    }
    let (host, session) = world.host_with(LiveStatus::Live).await;
    Host { caller: admin(), ..host }.change(&rooms, Verb::Reset).await.unwrap();
    assert_eq!(world.end_reason(session).await, Some(EndReason::Reset));
}

#[testkit::test]
async fn empty_session_ends_for_time_when_past_its_end(world: World) {
    let rooms = world.rooms().await;
    for (ends_in, reason) in
        [(None, EndReason::Empty), (Some(60), EndReason::Empty), (Some(1), EndReason::Time)]
    {
        let open = world.live(&rooms, 5).await;
        world.set_plan(open.session, 0, ends_in).await;
        announce(&world, &rooms, &open).await;
        world.advance(Duration::seconds(21));
        world.pass_and_check(&rooms, &open).await;
        assert_eq!(world.end_reason(open.session).await, Some(reason), "{ends_in:?}");
    }
}

#[testkit::test]
async fn ends_by_other_writers_have_a_reason(world: World) {
    let rooms = world.rooms().await;
    let set = async |session: Uuid, set: &str| {
        world.execute(&format!("update live_room_sessions set {set} where id = '{session}'")).await;
    };
    let (_, whole) = world.host_with(LiveStatus::Live).await;
    set(whole, "status = 'ended', ended_at = app_now()").await;
    assert_eq!(world.end_reason(whole).await, Some(EndReason::Host), "an end by an old client is the host's");
    let (host, half) = world.host_with(LiveStatus::Live).await;
    set(half, "ended_at = app_now()").await;
    rooms.live.settle_live_rooms().await.unwrap();
    assert_eq!(world.end_reason(half).await, Some(EndReason::Reset));
    assert_eq!(get_session(&rooms, &host).await.end_reason(), Reason::Reset);
    let (_, cleaned) = world.host_with(LiveStatus::Lobby).await;
    set(cleaned, "ended_at = app_now()").await;
    world.execute("select repair_live_rooms()").await;
    assert_eq!(world.end_reason(cleaned).await, Some(EndReason::Reset));
    set(cleaned, "status = 'live', ended_at = null").await;
    assert_eq!(world.end_reason(cleaned).await, None, "the session is open again");
    let (_, old) = world.host_with(LiveStatus::Ended).await;
    assert_eq!(world.end_reason(old).await, None, "a session that ended before reasons existed has none");
}

#[testkit::test]
async fn session_without_a_room_has_no_livekit_status(world: World) {
    let rooms = world.rooms().await;
    for (status, livekit) in [
        (LiveStatus::Scheduled, None),
        (LiveStatus::Lobby, Some(Readiness::Starting)),
        (LiveStatus::Live, Some(Readiness::Starting)),
        (LiveStatus::Ended, None),
        (LiveStatus::Cancelled, None),
    ] {
        let (host, _) = world.host_with(status).await;
        assert_eq!(get_session(&rooms, &host).await.livekit, livekit.map(Into::into), "{status:?}");
    }
}
