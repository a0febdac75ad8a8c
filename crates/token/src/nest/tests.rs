//! Who comes into a nest, as what, for how long; then the same for any row.

use domain::{Grants, NestId, RoomId, RoomStatus, Source};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::decision::{Decision, Ensured, decide};

const NOW: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);

/// A listener of an open nest whose room was seen just now.
fn listener() -> NestDoor {
    NestDoor {
        join: NestJoin {
            now: NOW,
            signed_at: NOW,
            nest_id: NestId(Uuid::from_u128(7)),
            open: true,
            guests_allowed: true,
            is_participant: true,
            is_admin: false,
            is_speaker: false,
            room_id: Some(RoomId::default()),
            room_status: Some(RoomStatus::Active),
            room_name: Some("nest-7".into()),
            generation: Some(1),
            confirmed_at: Some(NOW - Duration::SECOND),
            closing_at: None,
        },
        is_guest: false,
        room_admin_grant: false,
    }
}

fn with(change: impl FnOnce(&mut NestDoor)) -> NestDoor {
    let mut door = listener();
    change(&mut door);
    door
}

fn guest() -> NestDoor {
    with(|door| {
        door.is_guest = true;
        door.join.is_participant = false;
    })
}

#[test]
fn who_comes_in_and_as_what() {
    let part = |door: &NestDoor| door.permit().map(|permit| (permit.part.name, permit.part.grants));
    let grants =
        |publish: &'static [Source], data| Grants { publish, subscribe: true, data, own_metadata: false };
    let (microphone, nothing): (&[Source], &[Source]) = (&[Source::Microphone], &[]);
    let role = |is_admin, is_speaker| {
        with(|door| (door.join.is_admin, door.join.is_speaker) = (is_admin, is_speaker))
    };
    assert_eq!(part(&listener()), Ok(("listener", grants(nothing, false))));
    assert_eq!(part(&role(false, true)), Ok(("speaker", grants(microphone, true))));
    assert_eq!(part(&role(true, true)), Ok(("admin", grants(microphone, true))));
    assert_eq!(part(&role(true, false)), Ok(("admin", grants(nothing, true))));
    assert_eq!(part(&guest()), Ok(("guest", grants(nothing, false))));
}

#[test]
fn who_does_not_come_in() {
    let outsider = with(|door| door.join.is_participant = false);
    assert_eq!(outsider.permit(), Err(Refused::NotInNest));
    let mut door = guest();
    door.join.guests_allowed = false;
    assert_eq!(door.permit(), Err(Refused::NoNest));
    for mut door in [listener(), guest()] {
        door.join.open = false;
        assert_eq!(door.permit(), Err(Refused::NoNest), "a nest that is over");
    }
}

#[test]
fn room_admin_is_for_admins_where_a_setting_says_so() {
    let granted = |is_admin, setting| {
        let door = with(|door| (door.join.is_admin, door.room_admin_grant) = (is_admin, setting));
        door.permit().map(|permit| permit.part.room_admin)
    };
    assert_eq!(granted(true, false), Ok(false));
    assert_eq!(granted(true, true), Ok(true));
    assert_eq!(granted(false, true), Ok(false));
}

proptest! {
    #[test]
    fn nobody_publishes_who_is_no_speaker_and_no_token_lives_longer_than_ten_minutes(
        flags in any::<[bool; 7]>(), age in -10_i64..60
    ) {
        let [open, guests_allowed, is_participant, is_admin, is_speaker, is_guest, room_admin_grant] = flags;
        let mut door = with(|door| (door.is_guest, door.room_admin_grant) = (is_guest, room_admin_grant));
        door.join = NestJoin {
            open, guests_allowed, is_participant, is_admin, is_speaker,
            confirmed_at: Some(NOW - Duration::seconds(age)), ..door.join
        };
        if let Decision::Sign(admission) = decide(&door, Ensured::NotAsked) {
            prop_assert!(open && (0..=5).contains(&age));
            let is_let_in = if is_guest { guests_allowed } else { is_participant };
            prop_assert!(is_let_in);
            prop_assert_eq!(admission.permit.part.grants.publish.is_empty(), is_guest || !is_speaker);
            prop_assert!(admission.permit.left <= Duration::minutes(10));
        }
    }
}
