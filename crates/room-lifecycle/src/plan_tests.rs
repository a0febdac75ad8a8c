use domain::{OwnerKind, RoomId, RoomStatus};
use proptest::prelude::*;
use time::OffsetDateTime;
use uuid::Uuid;

use super::*;

const AT_BOOKING: Policy = Policy { at_booking: true, token_ttl: std::time::Duration::from_hours(1) };
const AT_OPENING: Policy = Policy { at_booking: false, ..AT_BOOKING };

/// An active room that was made an hour ago and whose window is open.
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

fn there(sid: &str) -> Sight {
    Sight::There { sid: sid.to_owned(), metadata: String::new(), counted: 0 }
}

#[test]
fn an_active_room_follows_what_was_seen() {
    let missing = PlanStep::NextGeneration(Why::Missing);
    let just_made = Record { made_at: Some(early().now - Duration::minutes(9)), ..early() };
    let short = Record { expires_at: Some(early().closes_at - Duration::seconds(1)), ..early() };
    let short_and_open = Record { opens_at: short.now, ..short.clone() };
    for (what, record, sight, policy, step) in [
        ("nobody looked", active(), Sight::Unknown, AT_BOOKING, PlanStep::Rest),
        ("as recorded", active(), there("RM_1"), AT_BOOKING, PlanStep::Confirm),
        ("another SID", active(), there("RM_2"), AT_BOOKING, PlanStep::Adopt { sid: "RM_2".to_owned() }),
        ("lost, window open", active(), Sight::Absent, AT_BOOKING, missing.clone()),
        ("lost, window open", active(), Sight::Absent, AT_OPENING, missing.clone()),
        ("lost early", early(), Sight::Absent, AT_BOOKING, missing),
        ("lost early, just made", just_made, Sight::Absent, AT_BOOKING, PlanStep::Rest),
        ("lost early, at opening", early(), Sight::Absent, AT_OPENING, PlanStep::Rest),
        ("timers too short", short, there("RM_1"), AT_BOOKING, PlanStep::NextGeneration(Why::Retimed)),
        ("too short, people may be inside", short_and_open, there("RM_1"), AT_BOOKING, PlanStep::Confirm),
    ] {
        assert_eq!(plan(&record, &sight, policy), step, "{what}");
    }
}

#[test]
fn a_lost_live_room_is_made_anew_only_while_somebody_has_a_seat() {
    let empty = Record { kind: OwnerKind::LiveSession, ..active() };
    assert_eq!(plan(&empty, &Sight::Absent, AT_BOOKING), PlanStep::Rest);
    for needed in [Record { seated: true, ..empty.clone() }, Record { occupied: true, ..empty }] {
        assert_eq!(plan(&needed, &Sight::Absent, AT_BOOKING), PlanStep::NextGeneration(Why::Missing));
    }
}

#[test]
fn a_pending_room_is_made_when_it_is_wanted_and_due() {
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
        (with(-day, None), AT_OPENING, PlanStep::Make),
        (with(Duration::ZERO, Some(Duration::ZERO)), AT_OPENING, PlanStep::Make),
        (with(second, None), AT_OPENING, PlanStep::Rest),
        (with(day, None), AT_BOOKING, PlanStep::Make),
        (with(day, Some(second)), AT_BOOKING, PlanStep::Rest),
        (with(day, Some(Duration::MINUTE)), AT_BOOKING, PlanStep::Rest),
        (with(day, Some(Duration::HOUR)), AT_BOOKING, PlanStep::Make),
    ] {
        assert_eq!(plan(&record, &Sight::Unknown, policy), step, "{record:?}");
        let failed = Record { status: RoomStatus::Failed, ..record };
        assert_eq!(plan(&failed, &Sight::Unknown, policy), step);
    }
}

#[test]
fn a_closed_owner_closes_its_room_and_an_open_one_opens_it_again() {
    for status in [RoomStatus::Pending, RoomStatus::Active, RoomStatus::Failed] {
        let record = Record { status, open: false, ..active() };
        assert_eq!(plan(&record, &Sight::Unknown, AT_BOOKING), PlanStep::Close);
    }
    let ended = Record { status: RoomStatus::Ended, ..active() };
    assert_eq!(plan(&ended, &Sight::Unknown, AT_BOOKING), PlanStep::NextGeneration(Why::Reopened));
    let over = Record { open: false, ..ended };
    assert_eq!(plan(&over, &there("RM_1"), AT_BOOKING), PlanStep::Rest);
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

fn any_sight() -> impl Strategy<Value = Sight> {
    prop_oneof![Just(Sight::Unknown), Just(Sight::Absent), Just(there("RM_1")), Just(there("RM_2"))]
}

/// What the world is after a step that went well.
fn apply(record: Record, sight: &Sight, step: &PlanStep) -> (Record, Sight) {
    match step {
        PlanStep::Rest | PlanStep::Confirm => (record, sight.clone()),
        PlanStep::Close => (Record { status: RoomStatus::Ended, ..record }, Sight::Absent),
        PlanStep::NextGeneration(_) => {
            let generation = record.generation + 1;
            let fresh = Record { status: RoomStatus::Pending, room_sid: None, made_at: None, ..record };
            (Record { generation, expires_at: None, next_attempt_at: None, ..fresh }, Sight::Absent)
        }
        PlanStep::Make => {
            let (made_at, expires_at) = (Some(record.now), Some(record.closes_at + Duration::HOUR));
            let sid = format!("RM_of_{}", record.generation);
            let made = Record { status: RoomStatus::Active, room_sid: Some(sid.clone()), ..record };
            (
                Record { made_at, expires_at, ..made },
                Sight::There { sid, metadata: String::new(), counted: 0 },
            )
        }
        PlanStep::Adopt { sid } => (Record { room_sid: Some(sid.clone()), ..record }, sight.clone()),
    }
}

proptest! {
    #[test]
    fn a_few_steps_lead_to_rest_from_anywhere(record in any_record(), sight in any_sight(), at_booking: bool) {
        let policy = Policy { at_booking, ..AT_BOOKING };
        let (mut record, mut sight) = (record, sight);
        for _ in 0..4 {
            let step = plan(&record, &sight, policy);
            (record, sight) = apply(record, &sight, &step);
        }
        let step = plan(&record, &sight, policy);
        prop_assert!(matches!(step, PlanStep::Rest | PlanStep::Confirm), "{:?} for {:?}", step, record);
    }

    #[test]
    fn what_was_not_seen_is_neither_absent_nor_there(record in any_record(), at_booking: bool) {
        let step = plan(&record, &Sight::Unknown, Policy { at_booking, ..AT_BOOKING });
        let believed = matches!(
            step,
            PlanStep::Confirm | PlanStep::Adopt { .. } | PlanStep::NextGeneration(Why::Missing | Why::Retimed)
        );
        prop_assert!(!believed);
    }

    #[test]
    fn only_closed_owners_lose_their_room_and_only_open_ones_get_one(
        record in any_record(), sight in any_sight(), at_booking: bool,
    ) {
        match plan(&record, &sight, Policy { at_booking, ..AT_BOOKING }) {
            PlanStep::Close => prop_assert!(!record.open && record.status != RoomStatus::Ended),
            PlanStep::Make | PlanStep::NextGeneration(_) | PlanStep::Adopt { .. } => prop_assert!(record.open),
            PlanStep::Confirm => prop_assert!(record.open && record.status == RoomStatus::Active),
            PlanStep::Rest => prop_assert!(record.open || record.status == RoomStatus::Ended),
        }
    }

    #[test]
    fn while_its_window_is_open_a_room_that_is_there_is_never_retired(
        record in any_record(), at_booking: bool,
    ) {
let opens_at = record.opens_at.min(record.now);
        let room_sid = Some("RM_1".to_owned());
        let record = Record { open: true, status: RoomStatus::Active, room_sid, opens_at, ..record };
        for sid in ["RM_1", "RM_2"] {
            let step = plan(&record, &there(sid), Policy { at_booking, ..AT_BOOKING });
            let kept = matches!(step, PlanStep::Confirm | PlanStep::Adopt { .. });
            prop_assert!(kept);
        }
    }
}
