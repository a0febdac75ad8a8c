//! What a host does with the people in his room: it holds at once, for old tokens, over reconnects and generations.

use chassis::status::{Reason, Refusal};
use domain::{LiveRoomId, LiveSessionId, LiveStatus, LobbyStatus, Owner, SeatRole, Source};
use livekit_dev::{Fault, PublishError};
use livekit_protocol::TrackSource;
use proto::types::v1::Caller;
use room_lifecycle::{Rooms, live::moderation::Summary, store::live::seats::Seat};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::harness::{
    Replica, World, reason, refused,
    seats::{Open, VIEWER, person},
};

const SPEAKER: Seat = Seat { role: SeatRole::Speaker, lobby_status: LobbyStatus::Admitted };

impl Open {
    fn host(&self) -> Caller {
        person(&self.room.host)
    }

    async fn give(&self, rooms: &Rooms, user: &str, role: SeatRole) -> Result<Option<Seat>, Refusal> {
        Ok(rooms.set_seat_role(&self.host(), LiveRoomId(self.room.id), user, role).await?)
    }

    async fn summary(&self, rooms: &Rooms) -> Summary {
        rooms.summary(&self.host(), LiveRoomId(self.room.id), None, 100).await.unwrap()
    }
}

/// A live room in which Vera is, as a viewer.
async fn watched_by_vera(connect: PgConnectOptions) -> (World, Replica, Open) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let open = world.live(&rooms, 10).await;
    rooms.join_live_room(&person("vera"), LiveRoomId(open.room.id)).await.unwrap();
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

    async fn is_inside(&self, open: &Open, who: &str) -> bool {
        let record = self.live_record(open).await;
        let inside = self.admin().list_participants(&record.room_name).await.unwrap();
        inside.iter().any(|one| one.identity == who)
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_promotion_and_a_demotion_reach_livekit_at_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    assert_eq!(world.publishes(&open, "vera").await, Err(PublishError::NotAllowed));
    assert_eq!(open.give(&rooms, "vera", SeatRole::Speaker).await.unwrap(), Some(SPEAKER));
    assert_eq!(world.publishes(&open, "vera").await, Ok(()));
    assert_eq!(open.give(&rooms, "vera", SeatRole::Speaker).await.unwrap(), Some(SPEAKER), "again the same");
    assert_eq!(open.give(&rooms, "vera", SeatRole::Guest).await.unwrap(), Some(VIEWER));
    assert_eq!(world.publishes(&open, "vera").await, Err(PublishError::NotAllowed));
    let record = world.live_record(&open).await;
    let inside = world.admin().list_participants(&record.room_name).await.unwrap();
    assert!(inside.iter().all(|one| one.tracks.is_empty()), "what she published is gone");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_role_holds_for_an_old_token_and_in_the_next_generation(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
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

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_demotion_that_livekit_missed_is_made_up_for(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    open.give(&rooms, "vera", SeatRole::Speaker).await.unwrap();
    world.server().faults().set("*", refused());
    assert_eq!(open.give(&rooms, "vera", SeatRole::Guest).await.unwrap(), Some(VIEWER), "it is decided");
    assert_eq!(world.publishes(&open, "vera").await, Ok(()));
    world.server().faults().clear();
    rooms.watch().await.unwrap();
    assert_eq!(world.publishes(&open, "vera").await, Err(PublishError::NotAllowed));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_is_kicked_is_out_and_his_old_token_does_not_keep_him_in(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    assert!(rooms.kick_seated(&open.host(), LiveRoomId(open.room.id), "vera").await.unwrap());
    assert!(!world.is_inside(&open, "vera").await);
    let again = rooms.join_live_room(&person("vera"), LiveRoomId(open.room.id)).await;
    assert_eq!(reason(again), Reason::Kicked);
    assert!(world.written(&open, "vera").await.left);

    world.enter_as_viewer(&open, "vera").await;
    rooms.watch().await.unwrap();
    assert!(!world.is_inside(&open, "vera").await, "another replica's watch would do the same");
    assert!(
        rooms.kick_seated(&open.host(), LiveRoomId(open.room.id), "vera").await.unwrap(),
        "again the same"
    );
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_ban_holds_until_it_is_over_or_lifted_and_in_the_next_session(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    let (host, room) = (open.host(), open.room.id);
    let until = world.live_record(&open).await.now + Duration::minutes(10);
    rooms.ban(&host, LiveRoomId(room), "vera", Some(until)).await.unwrap();
    assert!(!world.is_inside(&open, "vera").await);
    assert_eq!(reason(rooms.join_live_room(&person("vera"), LiveRoomId(room)).await), Reason::Banned);
    world.enter_as_viewer(&open, "vera").await;
    rooms.watch().await.unwrap();
    assert!(!world.is_inside(&open, "vera").await, "an old token lets nobody stay");

    world.pass_time(Duration::minutes(11));
    assert!(rooms.join_live_room(&person("vera"), LiveRoomId(room)).await.is_ok(), "it is over");
    rooms.ban(&host, LiveRoomId(room), "vera", None).await.unwrap();
    rooms.ban(&host, LiveRoomId(room), "vera", None).await.unwrap();
    assert_eq!(reason(rooms.join_live_room(&person("vera"), LiveRoomId(room)).await), Reason::Banned);
    rooms.unban(&host, LiveRoomId(room), "vera").await.unwrap();
    rooms.unban(&host, LiveRoomId(room), "vera").await.unwrap();
    assert!(rooms.join_live_room(&person("vera"), LiveRoomId(room)).await.is_ok(), "it was lifted");

    rooms.ban(&host, LiveRoomId(room), "nobody-yet", None).await.unwrap();
    assert_eq!(reason(rooms.join_live_room(&person("nobody-yet"), LiveRoomId(room)).await), Reason::Banned);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_ban_after_one_that_is_over_is_a_new_one_and_none_is_over_before_it_begins(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    let (host, room) = (open.host(), open.room.id);
    let begun = async || {
        let at = sqlx::query_scalar!("select created_at from live_room_bans where user_id = 'vera'");
        at.fetch_one(&world.pool).await.unwrap()
    };
    let now = world.live_record(&open).await.now;
    rooms.ban(&host, LiveRoomId(room), "vera", Some(now + Duration::minutes(10))).await.unwrap();
    let first = begun().await;
    rooms.ban(&host, LiveRoomId(room), "vera", Some(now + Duration::minutes(20))).await.unwrap();
    assert_eq!(begun().await, first, "the same one, longer");
    world.pass_time(Duration::minutes(21));
    rooms.ban(&host, LiveRoomId(room), "vera", None).await.unwrap();
    assert!(begun().await - first >= Duration::minutes(21));
    let past = Refusal::from(rooms.ban(&host, LiveRoomId(room), "ann", Some(now)).await.unwrap_err());
    assert_eq!((past.reason, past.facts["field"].as_str()), (Reason::InvalidRequest, "until"));
}

/// Whoever takes a seat has looked for a ban before: without the lock he would keep it.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_ban_waits_for_whoever_is_taking_a_seat(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    let held = format!("select from live_room_sessions where id = '{}' for no key update", open.session);
    let taking = world.hold(&held).await;
    let (host, room) = (open.host(), open.room.id);
    let banning = async { rooms.ban(&host, LiveRoomId(room), "vera", None).await.unwrap() };
    let sitting = async {
        testkit::eventually("the ban waits", || world.waiting(1)).await;
        let bans = sqlx::query_scalar!(r#"select count(*) as "n!" from live_room_bans"#);
        assert_eq!(bans.fetch_one(&world.pool).await.unwrap(), 0);
        drop(taking);
    };
    futures::join!(banning, sitting);
    assert_eq!(reason(rooms.join_live_room(&person("vera"), LiveRoomId(room)).await), Reason::Banned);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_ban_that_livekit_missed_is_made_up_for(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    world.server().faults().set("RemoveParticipant", Fault::BadGateway);
    rooms.ban(&open.host(), LiveRoomId(open.room.id), "vera", None).await.unwrap();
    assert!(world.is_inside(&open, "vera").await);
    world.server().faults().clear();
    rooms.watch().await.unwrap();
    assert!(!world.is_inside(&open, "vera").await);
}

/// He could keep a place from others for as long as he comes back.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_is_banned_gets_no_seat_back_by_an_old_token(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    rooms.ban(&open.host(), LiveRoomId(open.room.id), "vera", None).await.unwrap();
    world.pass_time(Duration::minutes(1)); // longer than somebody who gave his seat up may linger
    world.enter_as_viewer(&open, "vera").await;
    rooms.watch().await.unwrap();
    assert!(world.written(&open, "vera").await.left);
    rooms.unban(&open.host(), LiveRoomId(open.room.id), "vera").await.unwrap();
    assert!(rooms.join_live_room(&person("vera"), LiveRoomId(open.room.id)).await.is_ok());
    assert!(!world.written(&open, "vera").await.left, "it is hers again");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn lifting_a_ban_forgives_a_kick_out_of_the_open_session(_: PgPoolOptions, connect: PgConnectOptions) {
    let (_world, rooms, open) = watched_by_vera(connect).await;
    rooms.kick_seated(&open.host(), LiveRoomId(open.room.id), "vera").await.unwrap();
    rooms.unban(&open.host(), LiveRoomId(open.room.id), "vera").await.unwrap();
    assert!(rooms.join_live_room(&person("vera"), LiveRoomId(open.room.id)).await.is_ok());
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn what_is_published_is_muted_and_what_is_not_changes_nothing(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    open.give(&rooms, "vera", SeatRole::Speaker).await.unwrap();
    let mute = async |user: &str, source| {
        rooms.mute_seated(&open.host(), LiveRoomId(open.room.id), user, source).await.unwrap()
    };
    assert!(!mute("vera", Source::Microphone).await, "nothing is published yet");
    world.publishes(&open, "vera").await.unwrap();
    assert!(!mute("vera", Source::Camera).await);
    assert!(mute("vera", Source::Microphone).await);
    assert!(!mute("vera", Source::Microphone).await, "it is so already");
    assert!(!mute("nobody", Source::Microphone).await);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn only_the_host_moderates_and_not_himself(_: PgPoolOptions, connect: PgConnectOptions) {
    let (_world, rooms, open) = watched_by_vera(connect).await;
    let (host, vera, room) = (open.host(), person("vera"), open.room.id);
    let wrong = [
        reason(rooms.set_seat_role(&vera, LiveRoomId(room), "vera", SeatRole::Speaker).await),
        reason(rooms.mute_seated(&vera, LiveRoomId(room), "vera", Source::Camera).await),
        reason(rooms.kick_seated(&vera, LiveRoomId(room), "vera").await),
        reason(rooms.ban(&vera, LiveRoomId(room), "vera", None).await),
        reason(rooms.unban(&vera, LiveRoomId(room), "vera").await),
        reason(rooms.summary(&vera, LiveRoomId(room), None, 1).await.map(drop)),
    ];
    assert_eq!(wrong, [Reason::NotHost; 6]);
    let himself = [
        reason(rooms.set_seat_role(&host, LiveRoomId(room), &host.user_id, SeatRole::Guest).await),
        reason(rooms.kick_seated(&host, LiveRoomId(room), &host.user_id).await),
        reason(rooms.ban(&host, LiveRoomId(room), &host.user_id, None).await),
    ];
    assert_eq!(himself, [Reason::InvalidRequest; 3]);
    assert_eq!(open.give(&rooms, "nobody", SeatRole::Speaker).await.unwrap(), None);
    assert!(!rooms.kick_seated(&host, LiveRoomId(room), "nobody").await.unwrap());
    assert_eq!(
        reason(rooms.ban(&host, LiveRoomId(uuid::Uuid::nil()), "vera", None).await),
        Reason::RoomNotFound
    );
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn hands_are_raised_by_the_seated_and_lowered_by_a_promotion_or_with_the_seat(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = watched_by_vera(connect).await;
    let hand = async |who: &str, raised| {
        rooms.raise_hand(&person(who), LiveRoomId(open.room.id), raised).await.unwrap()
    };
    assert_eq!(hand("vera", true).await, Some(VIEWER));
    assert_eq!(hand("vera", true).await, Some(VIEWER), "again the same");
    assert_eq!(hand("nobody", true).await, None);
    rooms.join_live_room(&person("walt"), LiveRoomId(open.room.id)).await.unwrap();
    hand("walt", true).await;
    let raised = async || {
        let people = open.summary(&rooms).await.people;
        people
            .into_iter()
            .filter(|one| one.hand_raised_at.is_some())
            .map(|one| one.user_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(raised().await, ["vera", "walt"], "longest up first");
    assert_eq!(open.summary(&rooms).await.tally.unwrap().hands_raised, 2);
    open.give(&rooms, "vera", SeatRole::Speaker).await.unwrap();
    assert_eq!(hand("walt", false).await, Some(VIEWER));
    assert_eq!(raised().await, Vec::<String>::new());
    hand("walt", true).await;
    rooms.leave_live_room(&person("walt"), LiveRoomId(open.room.id)).await.unwrap();
    assert_eq!(raised().await, Vec::<String>::new(), "of somebody who has gone");
    rooms.join_live_room(&person("walt"), LiveRoomId(open.room.id)).await.unwrap();
    assert_eq!(raised().await, Vec::<String>::new(), "of somebody who has come again");
    hand("vera", true).await;
    rooms.leave_live_room(&person("vera"), LiveRoomId(open.room.id)).await.unwrap();
    world.pass_time(Duration::minutes(1)); // longer than somebody who gave his seat up may linger
    rooms.pass().await.unwrap();
    assert!(!world.written(&open, "vera").await.left, "she is inside all the same");
    assert_eq!(raised().await, Vec::<String>::new(), "of somebody whose seat is hers again");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn the_summary_pages_through_everybody_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let (_world, rooms, open) = watched_by_vera(connect).await;
    for who in ["walt", "xena", "yuri"] {
        rooms.join_live_room(&person(who), LiveRoomId(open.room.id)).await.unwrap();
    }
    rooms.raise_hand(&person("yuri"), LiveRoomId(open.room.id), true).await.unwrap();
    rooms.kick_seated(&open.host(), LiveRoomId(open.room.id), "xena").await.unwrap();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = rooms.summary(&open.host(), LiveRoomId(open.room.id), after, 2).await.unwrap().people;
        let Some(last) = page.last() else { break };
        after = Some(chassis::page::Cursor { at: last.rank, id: last.key });
        seen.extend(page);
    }
    let names: Vec<&str> = seen.iter().map(|one| one.user_id.as_str()).collect();
    assert_eq!(names, ["yuri", "vera", "walt", "xena"]);
    let kicked: Vec<bool> = seen.iter().map(|one| one.is_kicked).collect();
    assert_eq!(kicked, [false, false, false, true]);
    assert!(seen[1].in_room && !seen[2].in_room);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn when_nothing_is_on_there_is_nobody_to_moderate_but_bans_work(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (host, session) = world.host_with(LiveStatus::Ended).await;
    let (caller, room) = (&host.caller, host.room.id);
    assert_eq!(reason(rooms.kick_seated(caller, LiveRoomId(room), "vera").await), Reason::RoomNotActive);
    assert_eq!(
        reason(rooms.set_seat_role(caller, LiveRoomId(room), "vera", SeatRole::Speaker).await),
        Reason::RoomNotActive
    );
    rooms.ban(caller, LiveRoomId(room), "vera", None).await.unwrap();
    host.go_live(&rooms).await.unwrap();
    assert_eq!(reason(rooms.join_live_room(&person("vera"), LiveRoomId(room)).await), Reason::Banned);
    let shown = rooms.summary(caller, LiveRoomId(room), None, 10).await.unwrap().live.session.unwrap();
    assert_ne!(shown.id.0, session, "the open one, not the last");
}
