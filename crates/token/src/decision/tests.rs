//! Each rule on its own, then all rules on any row. The rows are bookings; the common rules are the same for all kinds.

mod live_room;
mod nest;

use domain::{LiveSessionId, SessionId};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const NOW: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);
const GENERATION: i32 = 3;
const OWNER: Owner = Owner::Session(SessionId(Uuid::nil()));

/// A row that a token is signed from.
fn open() -> Join {
    Join {
        now: NOW,
        signed_at: NOW,
        session_id: SessionId::default(),
        title: "A lesson".into(),
        scheduled_at: NOW - Duration::minutes(5),
        status: SessionStatus::Scheduled,
        opens_at: NOW - Duration::minutes(20),
        closes_at: NOW + Duration::hours(1),
        role: Some(Role::Guest),
        kicked: false,
        guest_name: None,
        own_name: None,
        own_email: None,
        own_email_verified: None,
        own_avatar: None,
        own_locale: None,
        own_zoneinfo: None,
        other_id: "hanna".into(),
        other_name: None,
        other_avatar: None,
        room_id: Some(RoomId::default()),
        room_status: Some(RoomStatus::Active),
        room_name: Some("session-1".into()),
        generation: Some(GENERATION),
        confirmed_at: Some(NOW - Duration::SECOND),
        closing_at: None,
    }
}

fn decide(row: &Join, ensured: Ensured) -> Decision<'_> {
    super::decide(&Snapshot::of_session(row), ensured)
}

fn refusal(row: &Join) -> Refused {
    match decide(row, Ensured::NotAsked) {
        Decision::Refuse(refused) => refused,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn token_is_signed_for_the_rest_of_the_window() {
    let row = open();
    let Decision::Sign(admission) = decide(&row, Ensured::NotAsked) else { panic!("not signed") };
    assert_eq!((admission.permit.token_role, admission.room_name), (Role::Guest.into(), "session-1"));
    assert_eq!((admission.permit.owner, admission.permit.left), (OWNER, Duration::hours(1)));
}

#[test]
fn refusal_has_the_most_helpful_of_several_reasons() {
    let mut row = Join {
        role: None,
        status: SessionStatus::Cancelled,
        kicked: true,
        opens_at: NOW + Duration::SECOND,
        closes_at: NOW,
        ..open()
    };
    assert_eq!(refusal(&row), Refused::NotParticipant);
    row.role = Some(Role::Host);
    assert_eq!(refusal(&row), Refused::Cancelled);
    for over in [SessionStatus::Completed, SessionStatus::NoShow, SessionStatus::Scheduled] {
        row.status = over;
        assert_eq!(refusal(&row), Refused::Ended, "{over:?}");
    }
    row.closes_at = NOW + Duration::hours(2);
    assert_eq!(refusal(&row), Refused::Kicked);
    row.kicked = false;
    assert_eq!(refusal(&row), Refused::TooEarly(row.opens_at));
    row.opens_at = NOW;
    assert!(matches!(decide(&row, Ensured::NotAsked), Decision::Sign(_)));
}

#[test]
fn room_is_ensured_when_its_record_proves_nothing() {
    let unproven = [
        Join {
            room_id: None,
            room_status: None,
            room_name: None,
            generation: None,
            confirmed_at: None,
            ..open()
        },
        Join { room_status: Some(RoomStatus::Pending), ..open() },
        Join { room_status: Some(RoomStatus::Ended), ..open() },
        Join { room_status: Some(RoomStatus::Failed), ..open() },
        Join { confirmed_at: Some(NOW - domain::FRESH - Duration::MILLISECOND), ..open() },
        Join { confirmed_at: Some(NOW + Duration::MILLISECOND), ..open() },
        Join { confirmed_at: None, ..open() },
        Join { closing_at: Some(NOW + Duration::seconds(20)), ..open() },
    ];
    for row in unproven {
        for ensured in [Ensured::NotAsked, Ensured::Doubted, answered(OWNER, GENERATION, None)] {
            assert_eq!(decide(&row, ensured), Decision::EnsureFirst(OWNER), "{row:?}");
        }
    }
}

#[test]
fn only_the_ensured_generation_is_signed() {
    let row = open();
    assert_eq!(decide(&row, Ensured::Doubted), Decision::EnsureFirst(OWNER));
    assert_eq!(decide(&row, answered(OWNER, GENERATION - 1, None)), Decision::EnsureFirst(OWNER));
    assert!(matches!(decide(&row, answered(OWNER, GENERATION, None)), Decision::Sign(_)));
    let another = Owner::LiveSession(LiveSessionId::default());
    assert_eq!(decide(&row, answered(another, GENERATION, None)), Decision::EnsureFirst(OWNER));
}

#[test]
fn observation_counts_only_for_its_generation() {
    let stale = Join { confirmed_at: Some(NOW - Duration::HOUR), ..open() };
    let signs = |row: &Join, generation, observed_at| {
        matches!(decide(row, answered(OWNER, generation, Some(observed_at))), Decision::Sign(_))
    };
    assert!(signs(&stale, GENERATION, NOW));
    assert!(!signs(&stale, GENERATION - 1, NOW));
    assert!(!signs(&stale, GENERATION, NOW - domain::FRESH - Duration::MILLISECOND));
    assert!(!signs(&stale, GENERATION, NOW + Duration::MILLISECOND));
    assert!(!signs(&Join { closing_at: Some(NOW), ..stale.clone() }, GENERATION, NOW));
    assert!(!signs(&Join { room_status: Some(RoomStatus::Ended), ..stale }, GENERATION, NOW));
}

fn answered(owner: Owner, generation: i32, observed_at: Option<OffsetDateTime>) -> Ensured {
    Ensured::Generation { owner, generation, observed_at }
}

prop_compose! {
    fn time_near_now()(ms in -10_000_i64..10_000) -> OffsetDateTime { NOW + Duration::milliseconds(ms) }
}

prop_compose! {
    fn any_row()(
        status in proptest::sample::select(&SessionStatus::ALL[..]),
        opens_at in time_near_now(),
        closes_at in time_near_now(),
        role in proptest::option::of(proptest::sample::select(vec![Role::Host, Role::Guest])),
        kicked in any::<bool>(),
        room in proptest::option::of((
            proptest::sample::select(vec![
                RoomStatus::Pending, RoomStatus::Active, RoomStatus::Ended, RoomStatus::Failed,
            ]),
            1..5_i32,
            proptest::option::of(time_near_now()),
            proptest::option::of(time_near_now()),
        )),
    ) -> Join {
        Join {
            status, opens_at, closes_at, role, kicked,
            room_id: room.map(|_| RoomId::default()),
            room_name: room.map(|_| "session-1".to_owned()),
            room_status: room.map(|room| room.0),
            generation: room.map(|room| room.1),
            confirmed_at: room.and_then(|room| room.2),
            closing_at: room.and_then(|room| room.3),
            ..open()
        }
    }
}

proptest! {
    #[test]
    fn signed_tokens_were_permitted_and_their_rooms_observed(
        row in any_row(),
        generation in 1..5_i32,
        observed_at in proptest::option::of(time_near_now()),
    ) {
        for ensured in [Ensured::NotAsked, Ensured::Doubted, answered(OWNER, generation, observed_at)] {
            let Decision::Sign(admission) = decide(&row, ensured) else { continue };
            prop_assert!(row.role.map(TokenRole::from) == Some(admission.permit.token_role));
            prop_assert!(!row.kicked && row.status.is_open());
            prop_assert!(row.opens_at <= row.now && row.now < row.closes_at);
            prop_assert!(admission.permit.left > Duration::ZERO && row.now + admission.permit.left == row.closes_at);
            prop_assert!(row.room_status == Some(RoomStatus::Active) && row.closing_at.is_none());
            prop_assert!(ensured != Ensured::Doubted);
            let was_answered = matches!(ensured, Ensured::Generation { .. });
            let observed = [row.confirmed_at, observed_at.filter(|_| was_answered)];
            let is_fresh = |at: OffsetDateTime| at <= row.now && row.now - at <= domain::FRESH;
            prop_assert!(observed.into_iter().flatten().any(is_fresh));
            prop_assert!(!was_answered || row.generation == Some(generation));
        }
    }

    #[test]
    fn refusals_do_not_depend_on_livekit(row in any_row()) {
        let refused = |decision| matches!(decision, Decision::Refuse(_));
        let roomless = Join { room_status: None, room_id: None, ..row.clone() };
        prop_assert_eq!(
            refused(decide(&row, Ensured::NotAsked)),
            refused(decide(&roomless, Ensured::Doubted))
        );
    }
}
