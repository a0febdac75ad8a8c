//! Who gets a token, who does not, and which room the token opens.

use chassis::status::Reason;
use domain::SessionId;
use livekit_api::access_token::{AccessToken, VideoGrants};
use proto::types::v1::{Caller, Role};
use secrecy::ExposeSecret;
use sqlx::{PgPool, postgres::PgConnectOptions};
use testkit::{
    eventually,
    seed::{self, State},
};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use token::{
    decision::{Refused, permit_session},
    store,
};

use crate::world::{FakeRoom, SlowClock, World, person, server_time, world};

#[testkit::test]
async fn party_gets_a_token_and_the_facts_of_the_meeting(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let fake = FakeRoom::silent();
    let world = world(&connect, &fake).await;
    let booking = seed::booking(&pool, State::OpenNow).await;
    let room = seed::active_room(&pool, &booking).await;

    let host = world.issue(&booking.host, &booking).await.unwrap();
    assert_eq!((host.role(), host.can_record), (Role::Host, true));
    assert_eq!(
        (host.identity.as_str(), host.participant_name.as_str()),
        (booking.host.as_str(), "Hanna Host")
    );
    assert_eq!((host.room_name.as_str(), host.title.as_str()), (room.name.as_str(), "A lesson"));
    assert_eq!(host.ws_url, world.livekit().settings.ws_url);
    let other = host.other_participant.unwrap();
    assert_eq!((other.id.as_str(), other.name.as_str()), (booking.guest.as_str(), "Gustav Guest"));
    assert_eq!(other.avatar_url(), format!("https://example.org/{}.png", booking.guest));

    let guest = world.issue(&booking.guest, &booking).await.unwrap();
    assert_eq!((guest.role(), guest.can_record), (Role::Guest, false));
    assert_eq!(guest.other_participant.unwrap().name, "Hanna Host");
    assert_eq!(guest.room_name, host.room_name);
    assert!(fake.asked().is_empty(), "a fresh record is not ensured");
}

#[testkit::test]
async fn token_opens_only_its_room_on_livekit(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let booking = seed::booking(&pool, State::OpenNow).await;
    let room = seed::active_room(&pool, &booking).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let issued = world.issue(&booking.guest, &booking).await.unwrap();

    assert_eq!(validate(&world, &issued.token).await, 404, "LiveKit has no such room yet");
    create_on_livekit(&world, &room.name).await;
    assert_eq!(validate(&world, &issued.token).await, 200);
    let joined = world.livekit().server.join(&issued.token).unwrap();
    assert_eq!((joined.identity, joined.name.as_str()), (booking.guest.clone(), "Gustav Guest"));
    assert_eq!(joined.attributes["role"], "guest");
    assert_eq!(world.livekit().server.participants(&room.name).len(), 1);
}

#[testkit::test]
async fn refusals_have_their_reasons(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let fake = FakeRoom::silent();
    let world = world(&connect, &fake).await;
    let reasons = [
        (State::Cancelled, Reason::SessionCancelled),
        (State::Completed, Reason::MeetingEnded),
        (State::WindowOver, Reason::MeetingEnded),
        (State::OpensTomorrow, Reason::TooEarly),
    ];
    for (state, reason) in reasons {
        let booking = seed::booking(&pool, state).await;
        seed::active_room(&pool, &booking).await;
        let refusal = world.issue_now(&booking.host, &booking).await.unwrap_err();
        assert_eq!(refusal.reason, reason, "{state:?}");
        let stranger = world.issue("stranger", &booking).await.unwrap_err();
        assert_eq!(stranger.reason, Reason::NotParticipant, "{state:?}");
    }
    let unknown = world.ask(person("ana"), &uuid::Uuid::new_v4().to_string(), false).await;
    assert_eq!(unknown.unwrap_err().reason, Reason::SessionNotFound);
    let no_id = world.ask(person("ana"), "42", false).await;
    assert_eq!(no_id.unwrap_err().reason, Reason::InvalidSessionId);
    let anonymous = world.ask(person(""), &uuid::Uuid::new_v4().to_string(), false).await;
    assert_eq!(anonymous.unwrap_err().reason, Reason::Unauthenticated);
    assert!(fake.asked().is_empty(), "refused callers do not cause EnsureRoom");
}

#[testkit::test]
async fn decision_agrees_with_the_view_on_open_bookings(SlowClock(pool): SlowClock) {
    let states =
        [State::OpenNow, State::OpensTomorrow, State::WindowOver, State::Completed, State::Cancelled];
    for state in states {
        let booking = seed::booking(&pool, state).await;
        let row = store::find_join(&pool, SessionId(booking.id), &booking.host).await.unwrap().unwrap();
        let over = matches!(permit_session(&row), Err(Refused::Cancelled | Refused::Ended));
        let open =
            sqlx::query_scalar!(r#"select open as "open!" from room_owners where owner = $1"#, booking.id);
        assert_eq!(open.fetch_one(&pool).await.unwrap(), !over, "{state:?}");
    }
}

#[testkit::test]
async fn admin_is_refused_when_not_a_party(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let booking = seed::booking(&pool, State::OpenNow).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let admin = Caller { is_admin: true, ..person("root") };
    let refusal = world.ask(admin, &booking.id.to_string(), false).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotParticipant);
}

#[testkit::test]
async fn too_early_refusal_has_the_opening_time(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let booking = seed::booking(&pool, State::OpensTomorrow).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let refusal = world.issue(&booking.guest, &booking).await.unwrap_err();
    let opens_at = OffsetDateTime::parse(&refusal.facts["opens_at"], &Rfc3339).unwrap();
    let window =
        sqlx::query_scalar!(r#"select opens_at as "at!" from room_owners where owner = $1"#, booking.id);
    assert_eq!(opens_at, window.fetch_one(&pool).await.unwrap());
}

#[testkit::test]
async fn kicked_guest_is_refused_and_the_host_is_not(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let booking = seed::booking(&pool, State::OpenNow).await;
    seed::active_room(&pool, &booking).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    kick(&pool, &booking.guest).await;
    let refusal = world.issue_now(&booking.guest, &booking).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Kicked);
    world.issue(&booking.host, &booking).await.unwrap();
}

#[testkit::test]
async fn token_expires_at_the_latest_with_the_window(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let booking = seed::booking(&pool, State::OpenNow).await;
    seed::active_room(&pool, &booking).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let long = world.issue(&booking.host, &booking).await.unwrap();
    let life = long.expires_at.unwrap().seconds - server_time(&pool).await.unix_timestamp();
    assert!((3590..=3600).contains(&life), "the lifetime is an hour, not the rest of the window: {life}");

    sqlx::query!(
        "update sessions set scheduled_at = app_now() - interval '119 min' where id = $1",
        booking.id
    )
    .execute(&pool)
    .await
    .unwrap();
    let short = world.issue(&booking.host, &booking).await.unwrap();
    assert!(short.expires_at.unwrap().seconds <= short.closes_at.unwrap().seconds);
    let claims = world.verified(&short.token);
    assert_eq!(i64::try_from(claims.exp).unwrap(), short.expires_at.unwrap().seconds);
}

/// A drill moves `app_now()`. LiveKit does not know of it and verifies the token by the real time.
#[testkit::test]
async fn moved_clock_changes_decisions_but_not_token_dates(
    SlowClock(before): SlowClock,
    connect: PgConnectOptions,
) {
    let tomorrow = seed::booking(&before, State::OpensTomorrow).await;
    testkit::advance_database_clock(&before, Duration::DAY).await;
    let pool = PgPool::connect_with(connect.clone()).await.unwrap();
    seed::active_room(&pool, &tomorrow).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let issued = world.issue(&tomorrow.host, &tomorrow).await.unwrap();
    world.verified(&issued.token);
}

#[testkit::test]
async fn guest_has_the_booked_name_when_never_signed_in(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let booking = seed::booking(&pool, State::OpenNow).await;
    seed::active_room(&pool, &booking).await;
    sqlx::query!("delete from app_users where id = $1", booking.guest).execute(&pool).await.unwrap();
    sqlx::query!("update sessions set guest_name = 'Gus' where id = $1", booking.id)
        .execute(&pool)
        .await
        .unwrap();
    let world = world(&connect, &FakeRoom::silent()).await;
    let host = world.issue(&booking.host, &booking).await.unwrap();
    assert_eq!(host.other_participant.unwrap().name, "Gus");
    let guest = world.issue(&booking.guest, &booking).await.unwrap();
    assert_eq!(guest.participant_name, "Gus");
}

#[testkit::test]
async fn new_name_is_stored_for_a_party_and_not_for_a_stranger(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let booking = seed::booking(&pool, State::OpenNow).await;
    seed::active_room(&pool, &booking).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let called = |user: &str| Caller { name: "Hanna H.".into(), ..person(user) };
    let session = booking.id.to_string();
    world.ask(called("stranger"), &session, false).await.unwrap_err();
    let issued = world.ask(called(&booking.host), &session, false).await.unwrap();
    assert_eq!(issued.participant_name, "Hanna H.");
    eventually("the new name is stored, the e-mail kept", async || {
        let known = sqlx::query!(
            r#"select display_name as "name!", email as "email!" from app_users where id = $1"#,
            booking.host
        );
        let known = known.fetch_one(&pool).await.unwrap();
        (known.name == "Hanna H." && known.email.starts_with("host-")).then_some(())
    })
    .await;
    let strangers = sqlx::query_scalar!(r#"select count(*) as "n!" from app_users where id = 'stranger'"#);
    assert_eq!(strangers.fetch_one(&pool).await.unwrap(), 0);
}

#[testkit::test]
async fn email_verification_is_stored(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let booking = seed::booking(&pool, State::OpenNow).await;
    seed::active_room(&pool, &booking).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    let session = booking.id.to_string();
    let known = async || {
        let known = sqlx::query_scalar!("select email_verified from app_users where id = $1", booking.host);
        known.fetch_one(&pool).await.unwrap()
    };
    let email = format!("{}@example.org", booking.host);
    for verified in [Some(false), Some(true)] {
        let caller = Caller { email: email.clone(), email_verified: verified, ..person(&booking.host) };
        world.ask(caller, &session, false).await.unwrap();
        eventually("the verification is stored", async || match known().await {
            stored if stored == verified => Ok(()),
            other => Err(other),
        })
        .await;
    }
}

pub async fn kick(pool: &PgPool, user: &str) {
    sqlx::query!(
        "update livekit_participants set status = 'kicked', kicked_at = app_now() where user_id = $1",
        user
    )
    .execute(pool)
    .await
    .unwrap();
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

pub async fn validate(world: &World, token: &str) -> u16 {
    let url = format!("{}/rtc/validate?access_token={token}", world.livekit().settings.url);
    http().get(url).send().await.unwrap().status().as_u16()
}

pub async fn create_on_livekit(world: &World, name: &str) {
    let livekit = &world.livekit().settings;
    let grants = VideoGrants { room_create: true, ..VideoGrants::default() };
    let token = AccessToken::with_api_key(&livekit.api_key, livekit.api_secret.expose_secret());
    let token = token.with_grants(grants).to_jwt().unwrap();
    let call = http().post(format!("{}/twirp/livekit.RoomService/CreateRoom", livekit.url));
    let call = call.bearer_auth(token).header("content-type", "application/json");
    let answer = call.body(format!(r#"{{"name": "{name}"}}"#)).send().await.unwrap();
    assert_eq!(answer.status(), 200, "CreateRoom of {name}");
}
