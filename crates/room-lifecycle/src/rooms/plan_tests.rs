use domain::{OwnerKind, RoomId, RoomStatus};
use proptest::prelude::*;
use time::OffsetDateTime;
use uuid::Uuid;

use super::*;

const AT_BOOKING: Policy = Policy { at_booking: true, token_ttl: std::time::Duration::from_hours(1) };
const AT_OPENING: Policy = Policy { at_booking: false, ..AT_BOOKING };

/// An active room that was created an hour ago and whose window is open.
fn active() -> Record {
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    Record {
        id: RoomId::default(),
        owner_id: Uuid::nil(),
        kind: OwnerKind::Session,
        room_name: "session-x".to_owned(),
        room_sid: Some("RM_1".to_owned()),
        generation: 1,
        status: RoomStatus::Active,
        max_participants: 7,
        made_at: Some(now - Duration::hours(1)),
        expires_at: Some(now + Duration::hours(3)),
        confirmed_at: Some(now),
        closing_at: None,
        watched_until: None,
        unlisted_since: None,
        next_attempt_at: None,
        occupied: false,
        seated: false,
        ended_reason: None,
        meeting_url: None,
        open: true,
        opens_at: now - Duration::minutes(5),
        closes_at: now + Duration::hours(2),
        now,
    }
}

fn early() -> Record {
    let record = active();
    Record { opens_at: record.now + Duration::days(1), ..record }
}

fn pending() -> Record {
    Record { status: RoomStatus::Pending, room_sid: None, made_at: None, expires_at: None, ..active() }
}

fn present(sid: &str) -> Observed {
    Observed::Present { sid: sid.to_owned(), metadata: String::new(), counted: 0 }
}

#[test]
fn active_room_follows_the_observation() {
    let missing = PlanStep::NextGeneration(Why::Missing);
    let just_created = Record { made_at: Some(early().now - Duration::minutes(9)), ..early() };
    let short = Record { expires_at: Some(early().closes_at - Duration::seconds(1)), ..early() };
    let short_and_open = Record { opens_at: short.now, ..short.clone() };
    for (what, record, observed, policy, step) in [
        ("not listed", active(), Observed::Unknown, AT_BOOKING, PlanStep::Rest),
        ("as recorded", active(), present("RM_1"), AT_BOOKING, PlanStep::Confirm),
        ("another SID", active(), present("RM_2"), AT_BOOKING, PlanStep::Adopt { sid: "RM_2".to_owned() }),
        ("lost, window open, at booking", active(), Observed::Absent, AT_BOOKING, missing.clone()),
        ("lost, window open, at opening", active(), Observed::Absent, AT_OPENING, missing.clone()),
        ("lost early", early(), Observed::Absent, AT_BOOKING, missing),
        ("lost early, just created", just_created, Observed::Absent, AT_BOOKING, PlanStep::Rest),
        ("lost early, at opening", early(), Observed::Absent, AT_OPENING, PlanStep::Rest),
        ("timers too short", short, present("RM_1"), AT_BOOKING, PlanStep::NextGeneration(Why::Retimed)),
        ("too short, may have participants", short_and_open, present("RM_1"), AT_BOOKING, PlanStep::Confirm),
    ] {
        assert_eq!(plan(&record, &observed, policy), step, "{what}");
    }
}

#[test]
fn lost_live_room_is_recreated_only_while_it_is_needed() {
    let empty = Record { kind: OwnerKind::LiveSession, ..active() };
    assert_eq!(plan(&empty, &Observed::Absent, AT_BOOKING), PlanStep::Rest);
    for needed in [Record { seated: true, ..empty.clone() }, Record { occupied: true, ..empty }] {
        assert_eq!(plan(&needed, &Observed::Absent, AT_BOOKING), PlanStep::NextGeneration(Why::Missing));
    }
}

#[test]
fn pending_room_is_created_when_wanted_and_due() {
    let with = |opens_in: Duration, next: Option<Duration>| {
        let record = pending();
        Record {
            opens_at: record.now + opens_in,
            next_attempt_at: next.map(|next| record.now + next),
            ..record
        }
    };
    let (day, second) = (Duration::DAY, Duration::SECOND);
    for (record, policy, step) in [
        (with(-day, None), AT_OPENING, PlanStep::Create),
        (with(Duration::ZERO, Some(Duration::ZERO)), AT_OPENING, PlanStep::Create),
        (with(second, None), AT_OPENING, PlanStep::Rest),
        (with(day, None), AT_BOOKING, PlanStep::Create),
        (with(day, Some(second)), AT_BOOKING, PlanStep::Rest),
        (with(day, Some(Duration::MINUTE)), AT_BOOKING, PlanStep::Rest),
        (with(day, Some(Duration::HOUR)), AT_BOOKING, PlanStep::Create),
    ] {
        assert_eq!(plan(&record, &Observed::Unknown, policy), step, "{record:?}");
        let failed = Record { status: RoomStatus::Failed, ..record };
        assert_eq!(plan(&failed, &Observed::Unknown, policy), step, "{failed:?}");
    }
}

#[test]
fn closed_owner_closes_its_room_and_open_owner_reopens_it() {
    for status in [RoomStatus::Pending, RoomStatus::Active, RoomStatus::Failed] {
        let record = Record { status, open: false, ..active() };
        assert_eq!(plan(&record, &Observed::Unknown, AT_BOOKING), PlanStep::Close, "{status:?}");
    }
    let ended = Record { status: RoomStatus::Ended, ..active() };
    assert_eq!(plan(&ended, &Observed::Unknown, AT_BOOKING), PlanStep::NextGeneration(Why::Reopened));
    let over = Record { open: false, ..ended };
    assert_eq!(plan(&over, &present("RM_1"), AT_BOOKING), PlanStep::Rest);
}

prop_compose! {
    fn any_record()(
        status in prop::sample::select(&[
            RoomStatus::Pending, RoomStatus::Active, RoomStatus::Ended, RoomStatus::Failed,
        ][..]),
        open: bool,
        opens in -10_000..100_000_i64,
        lasts in 300..50_000_i64,
        made in prop::option::of(-10_000..10_000_i64),
        expires in prop::option::of(-10_000..100_000_i64),
        next in prop::option::of(-100..10_000_i64),
    ) -> Record {
        let record = active();
        let at = |seconds: i64| record.now + Duration::seconds(seconds);
        Record {
            status,
            open,
            opens_at: at(opens),
            closes_at: at(opens + lasts),
            made_at: made.map(at),
            expires_at: expires.map(at),
            next_attempt_at: next.map(at),
            room_sid: (status == RoomStatus::Active).then(|| "RM_1".to_owned()),
            ..record
        }
    }
}

fn any_observed() -> impl Strategy<Value = Observed> {
    prop_oneof![Just(Observed::Unknown), Just(Observed::Absent), Just(present("RM_1")), Just(present("RM_2"))]
}

/// The record and LiveKit after a step that succeeded.
fn apply(record: Record, observed: &Observed, step: &PlanStep) -> (Record, Observed) {
    match step {
        PlanStep::Rest | PlanStep::Confirm => (record, observed.clone()),
        PlanStep::Close => (Record { status: RoomStatus::Ended, ..record }, Observed::Absent),
        PlanStep::NextGeneration(_) => {
            let generation = record.generation + 1;
            let fresh = Record { status: RoomStatus::Pending, room_sid: None, made_at: None, ..record };
            (Record { generation, expires_at: None, next_attempt_at: None, ..fresh }, Observed::Absent)
        }
        PlanStep::Create => {
            let (made_at, expires_at) = (Some(record.now), Some(record.closes_at + Duration::HOUR));
            let sid = format!("RM_of_{}", record.generation);
            let made = Record { status: RoomStatus::Active, room_sid: Some(sid.clone()), ..record };
            (
                Record { made_at, expires_at, ..made },
                Observed::Present { sid, metadata: String::new(), counted: 0 },
            )
        }
        PlanStep::Adopt { sid } => (Record { room_sid: Some(sid.clone()), ..record }, observed.clone()),
    }
}

proptest! {
    #[test]
    fn plan_comes_to_rest_after_a_few_steps(record in any_record(), observed in any_observed(), at_booking: bool) {
        let policy = Policy { at_booking, ..AT_BOOKING };
        let (mut record, mut observed) = (record, observed);
        for _ in 0..4 {
            let step = plan(&record, &observed, policy);
            (record, observed) = apply(record, &observed, &step);
        }
        let step = plan(&record, &observed, policy);
        prop_assert!(matches!(step, PlanStep::Rest | PlanStep::Confirm), "{:?} for {:?}", step, record);
    }

    #[test]
    fn unknown_observation_is_neither_absent_nor_present(record in any_record(), at_booking: bool) {
        let step = plan(&record, &Observed::Unknown, Policy { at_booking, ..AT_BOOKING });
        let acts_on_it = matches!(
            step,
            PlanStep::Confirm | PlanStep::Adopt { .. } | PlanStep::NextGeneration(Why::Missing | Why::Retimed)
        );
        prop_assert!(!acts_on_it);
    }

    #[test]
    fn only_closed_owners_lose_rooms_and_only_open_owners_get_rooms(
        record in any_record(), observed in any_observed(), at_booking: bool,
    ) {
        match plan(&record, &observed, Policy { at_booking, ..AT_BOOKING }) {
            PlanStep::Close => prop_assert!(!record.open && record.status != RoomStatus::Ended),
            PlanStep::Create | PlanStep::NextGeneration(_) | PlanStep::Adopt { .. } => prop_assert!(record.open),
            PlanStep::Confirm => prop_assert!(record.open && record.status == RoomStatus::Active),
            PlanStep::Rest => prop_assert!(record.open || record.status == RoomStatus::Ended),
        }
    }

    #[test]
    fn present_room_is_never_retired_while_its_window_is_open(
        record in any_record(), at_booking: bool,
    ) {
let opens_at = record.opens_at.min(record.now);
        let room_sid = Some("RM_1".to_owned());
        let record = Record { open: true, status: RoomStatus::Active, room_sid, opens_at, ..record };
        for sid in ["RM_1", "RM_2"] {
            let step = plan(&record, &present(sid), Policy { at_booking, ..AT_BOOKING });
            let kept = matches!(step, PlanStep::Confirm | PlanStep::Adopt { .. });
            prop_assert!(kept);
        }
    }
}
