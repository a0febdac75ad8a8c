//! Moderation by the host takes effect at once, for old tokens, after reconnects and in later generations.

use chassis::status::{Reason, Refusal};
use domain::{LiveRoomId, LiveSessionId, LiveStatus, LobbyStatus, Owner, SeatRole, Source};
use livekit_dev::{Fault, PublishError};
use livekit_protocol::TrackSource;
use proto::types::v1::Caller;
use room_lifecycle::live::{moderation::Summary, store::seats::Seat};
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use crate::harness::{
    Replica, Service, World, reason, refused,
    seats::{Open, VIEWER, person},
};

const SPEAKER: Seat = Seat { role: SeatRole::Speaker, lobby_status: LobbyStatus::Admitted };

impl Open {
    fn host(&self) -> Caller {
        person(&self.room.host)
    }

    async fn give(&self, rooms: &Service, user: &str, role: SeatRole) -> Result<Option<Seat>, Refusal> {
        Ok(rooms.live.set_seat_role(&self.host(), LiveRoomId(self.room.id), user, role).await?)
    }

    async fn summary(&self, rooms: &Service) -> Summary {
        rooms.live.summary(&self.host(), LiveRoomId(self.room.id), None, 100).await.unwrap()
    }
}

/// A live room with Vera as a viewer.
async fn watched_by_vera(connect: PgConnectOptions) -> (World, Replica, Open) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let open = world.live(&rooms, 10).await;
    rooms.live.join_live_room(&person("vera"), LiveRoomId(open.room.id)).await.unwrap();
    world.enter_as_viewer(&open, "vera").await;
    rooms.pass().await.unwrap();
    (world, rooms, open)
}

impl World {
    async fn enter_as_viewer(&self, open: &Open, who: &str) {
        let record = self.live_record(open).await;
        let token = self.token_for(&record.room_name, who, SeatRole::Guest.grants());
        self.server().join(&token).unwrap();
    }

    async fn publishes(&self, open: &Open, who: &str) -> Result<(), PublishError> {
        let record = self.live_record(open).await;
        self.server().publish(&record.room_name, who, TrackSource::Microphone).map(drop)
    }

    async fn is_listed(&self, open: &Open, who: &str) -> bool {
        let record = self.live_record(open).await;
        let participants = self.admin().list_participants(&record.room_name).await.unwrap();
        participants.iter().any(|one| one.identity == who)
    }
}

#[testkit::test]
async fn promotion_and_demotion_reach_livekit_at_once(connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    assert_eq!(world.publishes(&open, "vera").await, Err(PublishError::NotAllowed));
    assert_eq!(open.give(&rooms, "vera", SeatRole::Speaker).await.unwrap(), Some(SPEAKER));
    assert_eq!(world.publishes(&open, "vera").await, Ok(()));
    assert_eq!(open.give(&rooms, "vera", SeatRole::Speaker).await.unwrap(), Some(SPEAKER), "idempotent");
    assert_eq!(open.give(&rooms, "vera", SeatRole::Guest).await.unwrap(), Some(VIEWER));
    assert_eq!(world.publishes(&open, "vera").await, Err(PublishError::NotAllowed));
    let record = world.live_record(&open).await;
    let participants = world.admin().list_participants(&record.room_name).await.unwrap();
    assert!(participants.iter().all(|one| one.tracks.is_empty()), "the published track is removed");
}

#[testkit::test]
async fn role_holds_for_an_old_token_and_the_next_generation(connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    open.give(&rooms, "vera", SeatRole::Speaker).await.unwrap();
    world.exit(&open, "vera").await;
    world.enter_as_viewer(&open, "vera").await;
    rooms.watch().await.unwrap();
    assert_eq!(world.publishes(&open, "vera").await, Ok(()), "with the token of a viewer");

    world.server().restart();
    rooms.ensure(Owner::LiveSession(LiveSessionId(open.session)), true).await.unwrap();
    world.enter_as_viewer(&open, "vera").await;
    rooms.watch().await.unwrap();
    assert_eq!(world.publishes(&open, "vera").await, Ok(()), "in the next generation");
}

#[testkit::test]
async fn demotion_is_retried_when_livekit_failed(connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    open.give(&rooms, "vera", SeatRole::Speaker).await.unwrap();
    world.server().faults().set("*", refused());
    assert_eq!(
        open.give(&rooms, "vera", SeatRole::Guest).await.unwrap(),
        Some(VIEWER),
        "the demotion is recorded"
    );
    assert_eq!(world.publishes(&open, "vera").await, Ok(()));
    world.server().faults().clear();
    rooms.watch().await.unwrap();
    assert_eq!(world.publishes(&open, "vera").await, Err(PublishError::NotAllowed));
}

#[testkit::test]
async fn kicked_viewer_is_removed_again_with_an_old_token(connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    assert!(rooms.live.kick_seated(&open.host(), LiveRoomId(open.room.id), "vera").await.unwrap());
    assert!(!world.is_listed(&open, "vera").await);
    let again = rooms.live.join_live_room(&person("vera"), LiveRoomId(open.room.id)).await;
    assert_eq!(reason(again), Reason::Kicked);
    assert!(world.seat_row(&open, "vera").await.left);

    world.enter_as_viewer(&open, "vera").await;
    rooms.watch().await.unwrap();
    assert!(!world.is_listed(&open, "vera").await, "the watch removes the participant again");
    assert!(
        rooms.live.kick_seated(&open.host(), LiveRoomId(open.room.id), "vera").await.unwrap(),
        "idempotent"
    );
}

#[testkit::test]
async fn ban_holds_until_expired_or_lifted(connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    let (host, room) = (open.host(), open.room.id);
    let until = world.live_record(&open).await.now + Duration::minutes(10);
    rooms.live.ban(&host, LiveRoomId(room), "vera", Some(until)).await.unwrap();
    assert!(!world.is_listed(&open, "vera").await);
    assert_eq!(reason(rooms.live.join_live_room(&person("vera"), LiveRoomId(room)).await), Reason::Banned);
    world.enter_as_viewer(&open, "vera").await;
    rooms.watch().await.unwrap();
    assert!(!world.is_listed(&open, "vera").await, "an old token does not help");

    world.advance(Duration::minutes(11));
    assert!(
        rooms.live.join_live_room(&person("vera"), LiveRoomId(room)).await.is_ok(),
        "the ban has expired"
    );
    rooms.live.ban(&host, LiveRoomId(room), "vera", None).await.unwrap();
    rooms.live.ban(&host, LiveRoomId(room), "vera", None).await.unwrap();
    assert_eq!(reason(rooms.live.join_live_room(&person("vera"), LiveRoomId(room)).await), Reason::Banned);
    rooms.live.unban(&host, LiveRoomId(room), "vera").await.unwrap();
    rooms.live.unban(&host, LiveRoomId(room), "vera").await.unwrap();
    assert!(rooms.live.join_live_room(&person("vera"), LiveRoomId(room)).await.is_ok(), "the ban was lifted");

    rooms.live.ban(&host, LiveRoomId(room), "newcomer", None).await.unwrap();
    assert_eq!(
        reason(rooms.live.join_live_room(&person("newcomer"), LiveRoomId(room)).await),
        Reason::Banned
    );
}

#[testkit::test]
async fn ban_is_new_after_an_expired_one(connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    let (host, room) = (open.host(), open.room.id);
    let begun = async || {
        let at = sqlx::query_scalar!("select created_at from live_room_bans where user_id = 'vera'");
        at.fetch_one(&world.pool).await.unwrap()
    };
    let now = world.live_record(&open).await.now;
    rooms.live.ban(&host, LiveRoomId(room), "vera", Some(now + Duration::minutes(10))).await.unwrap();
    let first = begun().await;
    rooms.live.ban(&host, LiveRoomId(room), "vera", Some(now + Duration::minutes(20))).await.unwrap();
    assert_eq!(begun().await, first, "the same ban, extended");
    world.advance(Duration::minutes(21));
    rooms.live.ban(&host, LiveRoomId(room), "vera", None).await.unwrap();
    assert!(begun().await - first >= Duration::minutes(21));
    let past = Refusal::from(rooms.live.ban(&host, LiveRoomId(room), "ann", Some(now)).await.unwrap_err());
    assert_eq!((past.reason, past.facts["field"].as_str()), (Reason::InvalidRequest, "until"));
}

/// A join looks for a ban before it takes the seat. Without the lock a concurrent ban would miss that seat.
#[testkit::test]
async fn ban_waits_for_a_concurrent_join(connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    // Holds the session's lock as a join does.
    let held = format!("select from live_room_sessions where id = '{}' for no key update", open.session);
    let taking = world.hold(&held).await;
    let (host, room) = (open.host(), open.room.id);
    let banning = async { rooms.live.ban(&host, LiveRoomId(room), "vera", None).await.unwrap() };
    let sitting = async {
        testkit::eventually("the ban waits", || world.waiting(1)).await;
        let bans = sqlx::query_scalar!(r#"select count(*) as "n!" from live_room_bans"#);
        assert_eq!(bans.fetch_one(&world.pool).await.unwrap(), 0);
        drop(taking);
    };
    futures::join!(banning, sitting);
    assert_eq!(reason(rooms.live.join_live_room(&person("vera"), LiveRoomId(room)).await), Reason::Banned);
}

#[testkit::test]
async fn ban_is_retried_when_livekit_failed(connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    world.server().faults().set("RemoveParticipant", Fault::BadGateway);
    rooms.live.ban(&open.host(), LiveRoomId(open.room.id), "vera", None).await.unwrap();
    assert!(world.is_listed(&open, "vera").await);
    world.server().faults().clear();
    rooms.watch().await.unwrap();
    assert!(!world.is_listed(&open, "vera").await);
}

/// Otherwise a banned viewer could keep a seat from others by returning again and again.
#[testkit::test]
async fn banned_viewer_gets_no_seat_back_by_an_old_token(connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    rooms.live.ban(&open.host(), LiveRoomId(open.room.id), "vera", None).await.unwrap();
    world.advance(Duration::minutes(1)); // longer than a participant may stay after giving up the seat
    world.enter_as_viewer(&open, "vera").await;
    rooms.watch().await.unwrap();
    assert!(world.seat_row(&open, "vera").await.left);
    rooms.live.unban(&open.host(), LiveRoomId(open.room.id), "vera").await.unwrap();
    assert!(rooms.live.join_live_room(&person("vera"), LiveRoomId(open.room.id)).await.is_ok());
    assert!(!world.seat_row(&open, "vera").await.left, "the seat is taken again");
}

#[testkit::test]
async fn unban_lifts_a_kick_from_the_open_session(connect: PgConnectOptions) {
    let (_world, rooms, open) = watched_by_vera(connect).await;
    rooms.live.kick_seated(&open.host(), LiveRoomId(open.room.id), "vera").await.unwrap();
    rooms.live.unban(&open.host(), LiveRoomId(open.room.id), "vera").await.unwrap();
    assert!(rooms.live.join_live_room(&person("vera"), LiveRoomId(open.room.id)).await.is_ok());
}

#[testkit::test]
async fn mute_changes_only_a_published_track(connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    open.give(&rooms, "vera", SeatRole::Speaker).await.unwrap();
    let mute = async |user: &str, source| {
        rooms.live.mute_seated(&open.host(), LiveRoomId(open.room.id), user, source).await.unwrap()
    };
    assert!(!mute("vera", Source::Microphone).await, "no track is published yet");
    world.publishes(&open, "vera").await.unwrap();
    assert!(!mute("vera", Source::Camera).await);
    assert!(mute("vera", Source::Microphone).await);
    assert!(!mute("vera", Source::Microphone).await, "already muted");
    assert!(!mute("stranger", Source::Microphone).await);
}

#[testkit::test]
async fn moderation_is_refused_to_others_and_on_the_host(connect: PgConnectOptions) {
    let (_world, rooms, open) = watched_by_vera(connect).await;
    let (host, vera, room) = (open.host(), person("vera"), open.room.id);
    let wrong = [
        reason(rooms.live.set_seat_role(&vera, LiveRoomId(room), "vera", SeatRole::Speaker).await),
        reason(rooms.live.mute_seated(&vera, LiveRoomId(room), "vera", Source::Camera).await),
        reason(rooms.live.kick_seated(&vera, LiveRoomId(room), "vera").await),
        reason(rooms.live.ban(&vera, LiveRoomId(room), "vera", None).await),
        reason(rooms.live.unban(&vera, LiveRoomId(room), "vera").await),
        reason(rooms.live.summary(&vera, LiveRoomId(room), None, 1).await.map(drop)),
    ];
    assert_eq!(wrong, [Reason::NotHost; 6]);
    let on_host = [
        reason(rooms.live.set_seat_role(&host, LiveRoomId(room), &host.user_id, SeatRole::Guest).await),
        reason(rooms.live.kick_seated(&host, LiveRoomId(room), &host.user_id).await),
        reason(rooms.live.ban(&host, LiveRoomId(room), &host.user_id, None).await),
    ];
    assert_eq!(on_host, [Reason::InvalidRequest; 3]);
    assert_eq!(open.give(&rooms, "stranger", SeatRole::Speaker).await.unwrap(), None);
    assert!(!rooms.live.kick_seated(&host, LiveRoomId(room), "stranger").await.unwrap());
    assert_eq!(
        reason(rooms.live.ban(&host, LiveRoomId(uuid::Uuid::nil()), "vera", None).await),
        Reason::RoomNotFound
    );
}

#[testkit::test]
async fn hand_is_lowered_by_a_promotion_or_with_the_seat(connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    let hand = async |who: &str, raised| {
        rooms.live.raise_hand(&person(who), LiveRoomId(open.room.id), raised).await.unwrap()
    };
    assert_eq!(hand("vera", true).await, Some(VIEWER));
    assert_eq!(hand("vera", true).await, Some(VIEWER), "idempotent");
    assert_eq!(hand("stranger", true).await, None);
    rooms.live.join_live_room(&person("walt"), LiveRoomId(open.room.id)).await.unwrap();
    hand("walt", true).await;
    let raised = async || {
        let seats = open.summary(&rooms).await.people;
        seats
            .into_iter()
            .filter(|one| one.hand_raised_at.is_some())
            .map(|one| one.user_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(raised().await, ["vera", "walt"], "the first raised hand comes first");
    assert_eq!(open.summary(&rooms).await.tally.unwrap().hands_raised, 2);
    open.give(&rooms, "vera", SeatRole::Speaker).await.unwrap();
    assert_eq!(hand("walt", false).await, Some(VIEWER));
    assert_eq!(raised().await, Vec::<String>::new());
    hand("walt", true).await;
    rooms.live.leave_live_room(&person("walt"), LiveRoomId(open.room.id)).await.unwrap();
    assert_eq!(raised().await, Vec::<String>::new(), "the user has left");
    rooms.live.join_live_room(&person("walt"), LiveRoomId(open.room.id)).await.unwrap();
    assert_eq!(raised().await, Vec::<String>::new(), "the user has left and returned");
    hand("vera", true).await;
    rooms.live.leave_live_room(&person("vera"), LiveRoomId(open.room.id)).await.unwrap();
    world.advance(Duration::minutes(1)); // longer than a participant may stay after giving up the seat
    rooms.pass().await.unwrap();
    assert!(!world.seat_row(&open, "vera").await.left, "the participant is still connected");
    assert_eq!(raised().await, Vec::<String>::new(), "the seat was given up and taken again");
}

#[testkit::test]
async fn summary_lists_every_seat_once_over_pages(connect: PgConnectOptions) {
    let (_world, rooms, open) = watched_by_vera(connect).await;
    for who in ["walt", "xena", "yuri"] {
        rooms.live.join_live_room(&person(who), LiveRoomId(open.room.id)).await.unwrap();
    }
    rooms.live.raise_hand(&person("yuri"), LiveRoomId(open.room.id), true).await.unwrap();
    rooms.live.kick_seated(&open.host(), LiveRoomId(open.room.id), "xena").await.unwrap();
    let (mut after, mut listed) = (None, Vec::new());
    loop {
        let page = rooms.live.summary(&open.host(), LiveRoomId(open.room.id), after, 2).await.unwrap().people;
        let Some(last) = page.last() else { break };
        after = Some(domain::page::Cursor { at: last.rank, id: last.key });
        listed.extend(page);
    }
    let names: Vec<&str> = listed.iter().map(|one| one.user_id.as_str()).collect();
    assert_eq!(names, ["yuri", "vera", "walt", "xena"]);
    let kicked: Vec<bool> = listed.iter().map(|one| one.is_kicked).collect();
    assert_eq!(kicked, [false, false, false, true]);
    assert!(listed[1].in_room && !listed[2].in_room);
}

#[testkit::test]
async fn moderation_is_refused_but_bans_work_when_idle(world: World) {
    let rooms = world.rooms().await;
    let (host, session) = world.host_with(LiveStatus::Ended).await;
    let (caller, room) = (&host.caller, host.room.id);
    assert_eq!(reason(rooms.live.kick_seated(caller, LiveRoomId(room), "vera").await), Reason::RoomNotActive);
    assert_eq!(
        reason(rooms.live.set_seat_role(caller, LiveRoomId(room), "vera", SeatRole::Speaker).await),
        Reason::RoomNotActive
    );
    rooms.live.ban(caller, LiveRoomId(room), "vera", None).await.unwrap();
    host.go_live(&rooms).await.unwrap();
    assert_eq!(reason(rooms.live.join_live_room(&person("vera"), LiveRoomId(room)).await), Reason::Banned);
    let shown = rooms.live.summary(caller, LiveRoomId(room), None, 10).await.unwrap().live.session.unwrap();
    assert_ne!(shown.id.0, session, "the open session, not the last one");
}
