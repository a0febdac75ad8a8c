//! Who may join a nest, with which role, for how long; then the same for any row.

use domain::{NestId, Source};
use proptest::prelude::*;
use uuid::Uuid;

use super::super::*;

const NOW: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);

/// A listener of an open nest whose room was observed 1 s ago.
fn listener() -> NestJoin {
    NestJoin {
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
    }
}

fn stranger() -> NestJoin {
    NestJoin { is_participant: false, ..listener() }
}

fn permit(row: &NestJoin) -> Result<Permit, Refused> {
    permit_nest(row, false, false)
}

fn permit_guest(row: &NestJoin) -> Result<Permit, Refused> {
    permit_nest(row, true, false)
}

#[test]
fn grants_follow_the_role() {
    let token_role = |permit: Result<Permit, Refused>| {
        permit.map(|permit| (permit.token_role.name, permit.token_role.grants))
    };
    let grants =
        |publish: &'static [Source], data| Grants { publish, subscribe: true, data, own_metadata: false };
    let (microphone, nothing): (&[Source], &[Source]) = (&[Source::Microphone], &[]);
    let role = |is_admin, is_speaker| permit(&NestJoin { is_admin, is_speaker, ..listener() });
    assert_eq!(token_role(permit(&listener())), Ok(("listener", grants(nothing, false))));
    assert_eq!(token_role(role(false, true)), Ok(("speaker", grants(microphone, true))));
    assert_eq!(token_role(role(true, true)), Ok(("admin", grants(microphone, true))));
    assert_eq!(token_role(role(true, false)), Ok(("admin", grants(nothing, true))));
    assert_eq!(token_role(permit_guest(&stranger())), Ok(("guest", grants(nothing, false))));
}

#[test]
fn outsiders_and_refused_guests_get_no_permit() {
    assert_eq!(permit(&stranger()), Err(Refused::NotInNest));
    assert_eq!(permit_guest(&NestJoin { guests_allowed: false, ..stranger() }), Err(Refused::NoNest));
    let ended = |row| NestJoin { open: false, ..row };
    assert_eq!(permit(&ended(listener())), Err(Refused::NoNest), "the nest has ended");
    assert_eq!(permit_guest(&ended(stranger())), Err(Refused::NoNest), "the nest has ended");
}

#[test]
fn room_admin_is_granted_only_to_admins_when_enabled() {
    let granted = |is_admin, setting| {
        let row = NestJoin { is_admin, ..listener() };
        permit_nest(&row, false, setting).map(|permit| permit.token_role.room_admin)
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
        let [open, guests_allowed, is_participant, is_admin, is_speaker, is_guest, room_admin] = flags;
        let row = NestJoin {
            open, guests_allowed, is_participant, is_admin, is_speaker,
            confirmed_at: Some(NOW - Duration::seconds(age)), ..listener()
        };
        let snapshot = Snapshot::of_nest(&row, is_guest, room_admin);
        if let Decision::Sign(admission) = decide(&snapshot, Ensured::NotAsked) {
            prop_assert!(open && (0..=5).contains(&age));
            let is_permitted = if is_guest { guests_allowed } else { is_participant };
            prop_assert!(is_permitted);
            prop_assert_eq!(admission.permit.token_role.grants.publish.is_empty(), is_guest || !is_speaker);
            prop_assert!(admission.permit.left <= Duration::minutes(10));
        }
    }
}
