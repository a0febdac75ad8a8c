//! A pass marks rooms in SQL, and [`plan`] decides in Rust what happens to them: a pass marks exactly the open records
//! that the plan changes, at each edge.

use std::iter::once;

use domain::RoomStatus;
use room_lifecycle::{
    config::Policy,
    rooms::{
        plan::{Observed, PlanStep, plan},
        store::{
            find_record,
            marks::{Listing, insert_due_marks},
        },
    },
};
use testkit::seed::{self, Booking, State};
use time::{Duration, OffsetDateTime};

use crate::harness::World;

/// Each pass also marks the rooms of its turn. No room has this one.
const NO_TURN: i32 = -1;
const SID: &str = "RM_recorded";

/// A booking of 60 minutes, the record of its room, and the SID that LiveKit lists.
#[derive(Debug)]
struct Case {
    starts_at: OffsetDateTime,
    booking_status: &'static str,
    room_status: RoomStatus,
    next_attempt_at: Option<OffsetDateTime>,
    expires_at: Option<OffsetDateTime>,
    listed_sid: &'static str,
}

/// Just before this time, at it, and just after it, in the resolution of the database.
fn around(edge: OffsetDateTime) -> [OffsetDateTime; 3] {
    [edge - Duration::MICROSECOND, edge, edge + Duration::MICROSECOND]
}

fn cases(now: OffsetDateTime) -> Vec<Case> {
    let mut cases = Vec::new();
    let starts = [now + Duration::minutes(15), now - Duration::hours(2)].into_iter().flat_map(around);
    for (starts_at, booking_status) in
        starts.flat_map(|at| ["scheduled", "cancelled"].map(|status| (at, status)))
    {
        let case = |room_status, next_attempt_at, expires_at, listed_sid| Case {
            starts_at,
            booking_status,
            room_status,
            next_attempt_at,
            expires_at,
            listed_sid,
        };
        for room_status in [RoomStatus::Pending, RoomStatus::Failed] {
            let attempts = [now, now + Duration::minutes(2)].into_iter().flat_map(around).map(Some);
            cases.extend(once(None).chain(attempts).map(|at| case(room_status, at, None, SID)));
        }
        let closes_at = starts_at + Duration::hours(2);
        for listed_sid in [SID, "RM_another"] {
            let ends = once(None).chain(around(closes_at).map(Some));
            cases.extend(ends.map(|at| case(RoomStatus::Active, None, at, listed_sid)));
        }
    }
    cases
}

/// Writes the case, and removes the marks that this left.
async fn write(world: &World, booking: &Booking, case: &Case) {
    sqlx::query!(
        "update sessions set scheduled_at = $2, status = $3 where id = $1",
        booking.id,
        case.starts_at,
        case.booking_status
    )
    .execute(&world.pool)
    .await
    .unwrap();
    sqlx::query!(
        "update livekit_rooms set status = $2, room_sid = $3, next_attempt_at = $4, expires_at = $5
         where session_id = $1",
        booking.id,
        case.room_status.as_str(),
        (case.room_status == RoomStatus::Active).then_some(SID),
        case.next_attempt_at,
        case.expires_at
    )
    .execute(&world.pool)
    .await
    .unwrap();
    world.execute("delete from room_marks").await;
}

#[testkit::test]
async fn pass_marks_exactly_the_rooms_that_the_plan_changes(world: World) {
    let now = testkit::stop_database_clock(&world.pool).await;
    let booking = seed::booking(&world.pool, State::OpenNow).await;
    let room = seed::pending_room(&world.pool, &booking).await;
    for case in cases(now) {
        let listing = Listing {
            names: vec![room.name.clone()],
            sids: vec![case.listed_sid.to_owned()],
            people: vec![0],
            at: None,
        };
        for at_booking in [true, false] {
            write(&world, &booking, &case).await;
            let record = find_record(&world.pool, booking.id).await.unwrap().unwrap();
            let observed =
                Observed::Present { sid: case.listed_sid.to_owned(), metadata: String::new(), counted: 0 };
            let policy = Policy { at_booking, token_ttl: std::time::Duration::from_hours(1) };
            let step = plan(&record, &observed, policy);
            let marked = insert_due_marks(&world.pool, &listing, at_booking, NO_TURN).await.unwrap();
            let changes = !matches!(step, PlanStep::Rest | PlanStep::Confirm);
            assert_eq!(marked == 1, changes, "{step:?} at {now}, at_booking: {at_booking}, {case:?}");
        }
    }
}
