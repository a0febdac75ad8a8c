//! Who may join a nest, with which role, for how long; then the same for any row.

use domain::{Grants, NestId, RoomId, RoomStatus, Source};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::decision::{Decision, Ensured, decide};

const NOW: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);

/// A listener of an open nest whose room was observed 1 s ago.
fn listener() -> NestJoinRow {
    NestJoinRow {
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

fn with(change: impl FnOnce(&mut NestJoinRow)) -> NestJoinRow {
    let mut row = listener();
    change(&mut row);
    row
}

fn guest() -> NestJoinRow {
    with(|row| {
        row.is_guest = true;
        row.join.is_participant = false;
    })
}

#[test]
fn grants_follow_the_role() {
    let token_role =
        |row: &NestJoinRow| row.permit().map(|permit| (permit.token_role.name, permit.token_role.grants));
    let grants =
        |publish: &'static [Source], data| Grants { publish, subscribe: true, data, own_metadata: false };
    let (microphone, nothing): (&[Source], &[Source]) = (&[Source::Microphone], &[]);
    let role =
        |is_admin, is_speaker| with(|row| (row.join.is_admin, row.join.is_speaker) = (is_admin, is_speaker));
    assert_eq!(token_role(&listener()), Ok(("listener", grants(nothing, false))));
    assert_eq!(token_role(&role(false, true)), Ok(("speaker", grants(microphone, true))));
    assert_eq!(token_role(&role(true, true)), Ok(("admin", grants(microphone, true))));
    assert_eq!(token_role(&role(true, false)), Ok(("admin", grants(nothing, true))));
    assert_eq!(token_role(&guest()), Ok(("guest", grants(nothing, false))));
}

#[test]
fn outsiders_and_refused_guests_get_no_permit() {
    let outsider = with(|row| row.join.is_participant = false);
    assert_eq!(outsider.permit(), Err(Refused::NotInNest));
    let mut row = guest();
    row.join.guests_allowed = false;
    assert_eq!(row.permit(), Err(Refused::NoNest));
    for mut row in [listener(), guest()] {
        row.join.open = false;
        assert_eq!(row.permit(), Err(Refused::NoNest), "the nest has ended");
    }
}

#[test]
fn room_admin_is_granted_only_to_admins_when_enabled() {
    let granted = |is_admin, setting| {
        let row = with(|row| (row.join.is_admin, row.room_admin_grant) = (is_admin, setting));
        row.permit().map(|permit| permit.token_role.room_admin)
    };
    assert_eq!(granted(true, false), Ok(false));
    assert_eq!(granted(true, true), Ok(true));
    assert_eq!(granted(false, true), Ok(false));
}

proptest! {
    #[test]
    fn only_speakers_publish_and_tokens_live_ten_minutes(
        flags in any::<[bool; 7]>(), age in -10_i64..60
    ) {
        let [open, guests_allowed, is_participant, is_admin, is_speaker, is_guest, room_admin_grant] = flags;
        let mut row = with(|row| (row.is_guest, row.room_admin_grant) = (is_guest, room_admin_grant));
        row.join = NestJoin {
            open, guests_allowed, is_participant, is_admin, is_speaker,
            confirmed_at: Some(NOW - Duration::seconds(age)), ..row.join
        };
        if let Decision::Sign(admission) = decide(&row, Ensured::NotAsked) {
            prop_assert!(open && (0..=5).contains(&age));
            let is_permitted = if is_guest { guests_allowed } else { is_participant };
            prop_assert!(is_permitted);
            prop_assert_eq!(admission.permit.token_role.grants.publish.is_empty(), is_guest || !is_speaker);
            prop_assert!(admission.permit.left <= Duration::minutes(10));
        }
    }
}
