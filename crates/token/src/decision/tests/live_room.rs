//! The rules and their order in a table, the token lifetime, then all rules on any row.

use domain::LiveSessionId;
use proptest::prelude::*;
use uuid::Uuid;

use super::super::*;

const NOW: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);
const SESSION: LiveSessionId = LiveSessionId(Uuid::from_u128(7));
const OWNER: Owner = Owner::LiveSession(SESSION);

/// A guest with a seat in a live session without an end, whose room was observed 1 s ago.
fn seated() -> LiveJoin {
    LiveJoin {
        now: NOW,
        signed_at: NOW,
        may_read: true,
        session_id: Some(SESSION),
        session_status: Some(LiveStatus::Live),
        ends_at: None,
        role: Some(SeatRole::Guest),
        lobby_status: Some(LobbyStatus::Admitted),
        left: false,
        banned: false,
        kicked: false,
        own_name: None,
        own_email: None,
        own_email_verified: None,
        own_avatar: None,
        own_locale: None,
        own_zoneinfo: None,
        room_id: Some(RoomId::default()),
        room_status: Some(RoomStatus::Active),
        room_name: Some("live-7".into()),
        generation: Some(2),
        confirmed_at: Some(NOW - Duration::SECOND),
        closing_at: None,
    }
}

fn host() -> LiveJoin {
    LiveJoin { role: Some(SeatRole::Host), ..seated() }
}

fn unseated() -> LiveJoin {
    LiveJoin { role: None, lobby_status: None, ..seated() }
}

fn unopened() -> LiveJoin {
    LiveJoin { session_id: None, session_status: None, ..unseated() }
}

#[test]
fn permit_follows_the_seat_and_the_session() {
    use LiveStatus::{Lobby, Scheduled};
    use LobbyStatus::{Admitted, Rejected, Waiting};
    let at = |lobby_status, row| LiveJoin { lobby_status: Some(lobby_status), ..row };
    let during = |status, row| LiveJoin { session_status: Some(status), ..row };
    let left = |row| LiveJoin { left: true, ..row };
    let table = [
        ("a guest", seated(), Ok(SeatRole::Guest)),
        ("a speaker", LiveJoin { role: Some(SeatRole::Speaker), ..seated() }, Ok(SeatRole::Speaker)),
        ("the host", host(), Ok(SeatRole::Host)),
        ("admitted to the lobby", during(Lobby, at(Admitted, seated())), Ok(SeatRole::Guest)),
        ("waiting in the lobby", during(Lobby, at(Waiting, seated())), Err(Refused::Waiting)),
        ("waiting in a live session", at(Waiting, seated()), Err(Refused::Waiting)),
        ("the host never waits", during(Lobby, at(Waiting, host())), Ok(SeatRole::Host)),
        ("rejected", at(Rejected, seated()), Err(Refused::Rejected)),
        ("rejected and released", left(at(Rejected, seated())), Err(Refused::Rejected)),
        ("without a seat", unseated(), Err(Refused::NoSeat)),
        ("with a seat that was left", left(seated()), Err(Refused::NoSeat)),
        ("left while waiting", left(at(Waiting, seated())), Err(Refused::NoSeat)),
        ("a host who left", left(host()), Err(Refused::NoSeat)),
        ("no open session", unopened(), Err(Refused::NotActive)),
        ("only scheduled", during(Scheduled, seated()), Err(Refused::NotActive)),
        ("kicked", LiveJoin { kicked: true, ..left(seated()) }, Err(Refused::Kicked)),
        ("banned", LiveJoin { banned: true, kicked: true, ..unseated() }, Err(Refused::Banned)),
        ("banned, no open session", LiveJoin { banned: true, ..unopened() }, Err(Refused::NotActive)),
        ("may not read", LiveJoin { may_read: false, banned: true, ..seated() }, Err(Refused::NoLiveRoom)),
        (
            "may not read, no open session",
            LiveJoin { may_read: false, ..unopened() },
            Err(Refused::NoLiveRoom),
        ),
    ];
    for (case, row, expected) in table {
        assert_eq!(
            permit_live_room(&row).map(|permit| permit.token_role),
            expected.map(TokenRole::from),
            "{case}"
        );
    }
}

#[test]
fn token_lifetime_is_short_after_the_planned_end() {
    let left = |ends_at| permit_live_room(&LiveJoin { ends_at, ..seated() }).unwrap().left;
    assert_eq!(left(None), Duration::MAX);
    assert_eq!(left(Some(NOW + Duration::HOUR)), Duration::HOUR);
    for ends_at in [NOW + Duration::SECOND, NOW, NOW - Duration::DAY] {
        assert_eq!(left(Some(ends_at)), OVERTIME_TTL, "{ends_at}");
    }
}

#[test]
fn profile_is_known_only_with_a_seat_and_read_access() {
    assert!(seated().profile().is_some());
    assert!(unseated().profile().is_none());
    assert!(LiveJoin { may_read: false, ..seated() }.profile().is_none());
}

prop_compose! {
    fn any_row()(
        (may_read, left, banned, kicked, fresh, closing) in any::<(bool, bool, bool, bool, bool, bool)>(),
        session_status in proptest::option::of(proptest::sample::select(vec![
            LiveStatus::Scheduled, LiveStatus::Lobby, LiveStatus::Live,
        ])),
        seat in proptest::option::of((
            proptest::sample::select(vec![SeatRole::Host, SeatRole::Speaker, SeatRole::Guest]),
            proptest::sample::select(vec![LobbyStatus::Waiting, LobbyStatus::Admitted, LobbyStatus::Rejected]),
        )),
        room_status in proptest::option::of(proptest::sample::select(vec![
            RoomStatus::Pending, RoomStatus::Active, RoomStatus::Ended, RoomStatus::Failed,
        ])),
        generation in 1..4_i32,
    ) -> LiveJoin {
        LiveJoin {
            may_read, left, banned, kicked, session_status, room_status,
            session_id: session_status.map(|_| SESSION),
            role: seat.map(|seat| seat.0),
            lobby_status: seat.map(|seat| seat.1),
            generation: Some(generation),
            confirmed_at: fresh.then_some(NOW),
            closing_at: closing.then_some(NOW + Duration::SECOND),
            ..seated()
        }
    }
}

fn answered(owner: Owner, generation: i32) -> Ensured {
    Ensured::Generation { owner, generation, observed_at: None }
}

proptest! {
    #[test]
    fn signed_tokens_were_permitted_and_their_rooms_observed(row in any_row(), generation in 1..4_i32) {
        let ensured = [
            Ensured::NotAsked,
            Ensured::Doubted,
            answered(OWNER, generation),
            answered(Owner::LiveSession(LiveSessionId(Uuid::from_u128(8))), generation),
        ];
        for ensured in ensured {
            let Decision::Sign(admission) = decide(&Snapshot::of_live_room(&row), ensured) else { continue };
            prop_assert!(row.may_read && !row.banned && !row.kicked && !row.left);
            prop_assert!(row.session_status.is_some_and(LiveStatus::has_room));
            prop_assert!(row.role == Some(SeatRole::Host) || row.lobby_status == Some(LobbyStatus::Admitted));
            prop_assert_eq!(row.role.map(TokenRole::from), Some(admission.permit.token_role));
            prop_assert!(row.room_status == Some(RoomStatus::Active) && row.closing_at.is_none());
            prop_assert!(row.confirmed_at.is_some());
            match ensured {
                Ensured::NotAsked => {}
                Ensured::Doubted => prop_assert!(false, "signed although LiveKit had refused a token"),
                Ensured::Generation { owner, generation, .. } => {
                    prop_assert!(owner == OWNER && row.generation == Some(generation));
                }
            }
        }
    }
}
