//! Who gets a token for a live room, who does not, and which room the token opens.

use chassis::status::Reason;
use domain::{LiveStatus, LobbyStatus, SeatRole};
use proto::types::v1::{Caller, SeatRole as Seat};
use sqlx::{PgPool, postgres::PgConnectOptions};
use testkit::{
    eventually,
    seed::{
        Room,
        live::{self, LiveRoom},
    },
};
use uuid::Uuid;

use crate::{
    issuing::{create_on_livekit, validate},
    world::{FakeRoom, SlowClock, person, run, server_time, world},
};

/// Inserts Hanna's live session with its room, and seats for Hanna, Sam (speaker) and Gus (guest).
pub async fn on_air(pool: &PgPool) -> (LiveRoom, Uuid, Room) {
    let room = live::live_room(pool, "hanna").await;
    let session = live::live_session(pool, &room, LiveStatus::Live).await;
    for (user, role) in [("hanna", SeatRole::Host), ("sam", SeatRole::Speaker), ("gus", SeatRole::Guest)] {
        live::seat(pool, session, user, role, LobbyStatus::Admitted).await;
    }
    (room, session, live::active_room(pool, session).await)
}

#[testkit::test]
async fn host_and_speaker_publish_and_guest_subscribes_and_chats(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let fake = FakeRoom::silent();
    let world = world(&connect, &fake).await;
    let (room, _, livekit_room) = on_air(&pool).await;
    let stage = ["camera", "microphone", "screen_share", "screen_share_audio"].as_slice();
    for (user, role, can_record, sources) in
        [("hanna", "host", true, stage), ("sam", "speaker", false, stage), ("gus", "guest", false, &[])]
    {
        let issued = world.enter(user, &room).await.unwrap();
        assert_eq!(
            (issued.identity.as_str(), domain::SeatRole::try_from(issued.role).unwrap().as_str()),
            (user, role),
            "{user}"
        );
        assert_eq!(
            (issued.room_name.as_str(), issued.can_record),
            (livekit_room.name.as_str(), can_record),
            "{user}"
        );
        assert_eq!(issued.ws_url, world.livekit().settings.ws_url, "{user}");
        let claims = world.verified(&issued.token);
        assert_eq!((claims.sub.as_str(), claims.attributes["role"].as_str()), (user, role), "{user}");
        let video = claims.video;
        assert_eq!((video.room.as_str(), video.room_join), (livekit_room.name.as_str(), true), "{user}");
        assert_eq!(
            (video.can_publish, video.can_publish_sources),
            (Some(!sources.is_empty()), owned(sources)),
            "{user}"
        );
        assert_eq!((video.can_subscribe, video.can_publish_data), (Some(true), Some(true)), "{user}");
        assert_eq!(video.can_update_own_metadata, Some(true), "{user}");
        let admin = [video.room_create, video.room_list, video.room_admin, video.room_record, video.hidden];
        assert_eq!(admin, [false; 5], "{user}");
    }
    assert!(fake.asked().is_empty(), "a fresh record is not ensured");
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[testkit::test]
async fn token_opens_the_room_of_the_live_session(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let (room, _, livekit_room) = on_air(&pool).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let issued = world.enter("gus", &room).await.unwrap();
    create_on_livekit(&world, &livekit_room.name).await;
    assert_eq!(validate(&world, &issued.token).await, 200);
    assert_eq!(world.livekit().server.join(&issued.token).unwrap().identity, "gus");
}

#[testkit::test]
async fn live_refusals_have_their_reasons(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let (room, session, _) = on_air(&pool).await;
    live::seat(&pool, session, "wanda", SeatRole::Guest, LobbyStatus::Waiting).await;
    live::seat(&pool, session, "rita", SeatRole::Guest, LobbyStatus::Rejected).await;
    live::seat(&pool, session, "bea", SeatRole::Guest, LobbyStatus::Admitted).await;
    live::seat(&pool, session, "lea", SeatRole::Guest, LobbyStatus::Admitted).await;
    live::seat(&pool, session, "kai", SeatRole::Guest, LobbyStatus::Admitted).await;
    run(
        &pool,
        "insert into live_room_bans (live_room_id, user_id, banned_by) select id, 'bea', 'hanna' from live_rooms;
         update live_room_attendance set left_at = app_now() where user_id in ('lea', 'rita');
         insert into livekit_participants (room_id, user_id, role, status, kicked_at)
         select id, 'kai', 'viewer', 'kicked', app_now() from livekit_rooms",
    )
    .await;
    let fake = FakeRoom::silent();
    let world = world(&connect, &fake).await;
    for (user, reason) in [
        ("wanda", Reason::WaitingInLobby),
        ("rita", Reason::Rejected),
        ("bea", Reason::Banned),
        ("lea", Reason::NotParticipant),
        ("kai", Reason::Kicked),
        ("stranger", Reason::NotParticipant),
    ] {
        assert_eq!(world.enter(user, &room).await.unwrap_err().reason, reason, "{user}");
        assert_eq!(
            world.enter_now(user, &room).await.unwrap_err().reason,
            reason,
            "{user}, after LiveKit refused a token"
        );
    }
    let unknown = world.ask_live(person("gus"), &Uuid::new_v4().to_string(), false).await.unwrap_err();
    assert_eq!(unknown.reason, Reason::RoomNotFound);
    let no_id = world.ask_live(person("gus"), "42", false).await.unwrap_err();
    assert_eq!((no_id.reason, no_id.facts["field"].as_str()), (Reason::InvalidRequest, "room_id"));
    let anonymous = world.ask_live(person(""), &room.id.to_string(), false).await.unwrap_err();
    assert_eq!(anonymous.reason, Reason::Unauthenticated);
    assert!(fake.asked().is_empty(), "refused callers do not cause EnsureRoom");
}

#[testkit::test]
async fn only_a_lobby_or_a_live_session_has_a_room(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let world = world(&connect, &FakeRoom::silent()).await;
    let idle = live::live_room(&pool, "ida").await;
    assert_eq!(world.enter("ida", &idle).await.unwrap_err().reason, Reason::RoomNotActive);
    for status in [LiveStatus::Scheduled, LiveStatus::Ended, LiveStatus::Cancelled] {
        let room = live::live_room(&pool, status.as_str()).await;
        let session = live::live_session(&pool, &room, status).await;
        live::seat(&pool, session, &room.host, SeatRole::Host, LobbyStatus::Admitted).await;
        live::active_room(&pool, session).await;
        let refusal = world.enter(&room.host, &room).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::RoomNotActive, "{status:?}");
    }
}

#[testkit::test]
async fn lobby_is_open_to_the_host_and_admitted_users(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let (room, _, _) = on_air(&pool).await;
    run(
        &pool,
        "update live_room_sessions set status = 'lobby', started_at = null, starts_at = app_now() + interval '5 min';
         update live_room_attendance set lobby_status = 'waiting' where user_id in ('hanna', 'gus')",
    )
    .await;
    let world = world(&connect, &FakeRoom::silent()).await;
    assert_eq!(world.enter("hanna", &room).await.unwrap().role(), Seat::Host, "the host never waits");
    assert_eq!(world.enter("sam", &room).await.unwrap().role(), Seat::Speaker);
    assert_eq!(world.enter("gus", &room).await.unwrap_err().reason, Reason::WaitingInLobby);
    run(&pool, "update live_room_attendance set lobby_status = 'admitted'").await;
    assert_eq!(world.enter("gus", &room).await.unwrap().role(), Seat::Guest);
}

/// The live room names the host; the role of a seat does not count.
#[testkit::test]
async fn host_is_named_by_the_live_room_not_by_the_seat(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let (room, _, _) = on_air(&pool).await;
    run(
        &pool,
        "update live_room_attendance set role = case user_id when 'hanna' then 'guest' else 'host' end",
    )
    .await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let hanna = world.enter("hanna", &room).await.unwrap();
    assert_eq!((hanna.role(), hanna.can_record), (Seat::Host, true));
    let gus = world.enter("gus", &room).await.unwrap();
    assert_eq!((gus.role(), gus.can_record), (Seat::Guest, false));
    assert_eq!(world.verified(&gus.token).video.can_publish, Some(false));
}

#[testkit::test]
async fn group_room_is_not_found_for_strangers(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let (room, _, _) = on_air(&pool).await;
    run(
        &pool,
        r#"update live_rooms set metadata = '{"groups": ["stars"]}'; update live_room_sessions set access_level = 'group';
           insert into live_room_bans (live_room_id, user_id, banned_by) select id, 'bea', 'hanna' from live_rooms"#,
    )
    .await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let with = |user: &str, groups: &[&str]| Caller { groups: owned(groups), ..person(user) };
    let id = room.id.to_string();
    for stranger in [with("gus", &[]), with("gus", &["moons", "a\0b"]), with("bea", &["moons"])] {
        let refusal = world.ask_live(stranger, &id, false).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::RoomNotFound, "{refusal:?}");
        let unknown = world.ask_live(person("gus"), &Uuid::new_v4().to_string(), false).await.unwrap_err();
        assert_eq!(refusal, unknown, "the refusal differs from that of an unknown room");
    }
    world.ask_live(with("gus", &["moons", "stars"]), &id, false).await.unwrap();
    world.enter("hanna", &room).await.unwrap();
    world.ask_live(Caller { is_admin: true, ..person("sam") }, &id, false).await.unwrap();
    run(
        &pool,
        "update live_rooms set access_level = 'group'; update live_room_sessions set access_level = 'public'",
    )
    .await;
    world.enter("gus", &room).await.unwrap(); // the session's level counts while it is open
    run(&pool, "update live_room_sessions set status = 'ended', ended_at = app_now()").await;
    assert_eq!(world.enter("gus", &room).await.unwrap_err().reason, Reason::RoomNotFound);
    assert_eq!(world.enter("hanna", &room).await.unwrap_err().reason, Reason::RoomNotActive);
}

#[testkit::test]
async fn admin_is_refused_without_a_seat(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let (room, _, _) = on_air(&pool).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let admin = Caller { is_admin: true, ..person("root") };
    let refusal = world.ask_live(admin, &room.id.to_string(), false).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotParticipant);
}

#[testkit::test]
async fn live_token_lifetime_depends_on_the_planned_end(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let (room, _, _) = on_air(&pool).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let begun = "update live_room_sessions set starts_at = app_now() - interval '2 h'";
    run(&pool, begun).await;
    for (ends_at, longest) in [
        ("update live_room_sessions set ends_at = null", 3600),
        ("update live_room_sessions set ends_at = app_now() + interval '2 h'", 3600),
        ("update live_room_sessions set ends_at = app_now() + interval '10 min'", 600),
        ("update live_room_sessions set ends_at = app_now() - interval '1 h'", 300),
    ] {
        run(&pool, ends_at).await;
        run(&pool, "update livekit_rooms set confirmed_at = app_now()").await;
        let issued = world.enter("gus", &room).await.unwrap();
        let expires_at = issued.expires_at.unwrap().seconds;
        let life = expires_at - server_time(&pool).await.unix_timestamp();
        assert!((longest - 10..=longest).contains(&life), "{ends_at}: {life}");
        assert_eq!(i64::try_from(world.verified(&issued.token).exp).unwrap(), expires_at, "{ends_at}");
    }
}

#[testkit::test]
async fn name_is_stored_for_a_seated_user_and_not_for_a_stranger(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let (room, _, _) = on_air(&pool).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let called = |user: &str| Caller { name: "Gustav G.".into(), ..person(user) };
    world.ask_live(called("stranger"), &room.id.to_string(), false).await.unwrap_err();
    let issued = world.ask_live(called("gus"), &room.id.to_string(), false).await.unwrap();
    assert_eq!(world.verified(&issued.token).name, "Gustav G.");
    eventually("the name is stored", async || {
        let known = sqlx::query_scalar!("select display_name from app_users where id = 'gus'");
        known.fetch_optional(&pool).await.unwrap().flatten().filter(|name| name == "Gustav G.")
    })
    .await;
    let strangers = sqlx::query_scalar!(r#"select count(*) as "n!" from app_users where id = 'stranger'"#);
    assert_eq!(strangers.fetch_one(&pool).await.unwrap(), 0);
    let issued = world.enter("gus", &room).await.unwrap();
    assert_eq!(
        world.verified(&issued.token).name,
        "Gustav G.",
        "the stored name is used when the bearer token has none"
    );
}
