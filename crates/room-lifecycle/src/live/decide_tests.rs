use domain::AccessLevel;
use time::macros::datetime;
use uuid::Uuid;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-05-01 12:00 UTC);

/// An open session that starts in so many minutes, with a buffer of 15.
fn open(status: LiveStatus, starts_in: i64) -> LiveSession {
    LiveSession {
        id: Uuid::nil(),
        room_id: Uuid::nil(),
        session_title: None,
        topic_keys: Vec::new(),
        status,
        access_level: AccessLevel::Public,
        starts_at: NOW + Duration::minutes(starts_in),
        ends_at: None,
        started_at: None,
        ended_at: None,
        lobby_open_at: None,
        lobby_buffer_minutes: 15,
        auto_admit: true,
        max_participants: 100,
        livekit: None,
    }
}

fn wish(starts_in: Option<i64>) -> NewSession {
    let starts_at = starts_in.map(|minutes| NOW + Duration::minutes(minutes));
    NewSession { starts_at, ..NewSession::default() }
}

#[test]
fn going_live_is_a_table() {
    use LiveStatus::{Live, Lobby, Scheduled};
    for (there, wanted, way) in [
        (None, None, Way::Create(Live)),
        (None, Some(-60), Way::Create(Live)),
        (None, Some(0), Way::Create(Live)),
        (None, Some(1), Way::Create(Lobby)),
        (None, Some(15), Way::Create(Lobby)),
        (None, Some(16), Way::Create(Scheduled)),
        (Some((Live, -10)), None, Way::Keep),
        (Some((Live, -10)), Some(-10), Way::Keep),
        (Some((Lobby, 10)), None, Way::Keep),
        (Some((Lobby, 10)), Some(10), Way::Keep),
        (Some((Lobby, 10)), Some(11), Way::Refuse),
        (Some((Live, -10)), Some(10), Way::Refuse),
        (Some((Scheduled, 15)), None, Way::Start),
        (Some((Scheduled, 30)), None, Way::Start),
        (Some((Scheduled, 31)), None, Way::Refuse),
        (Some((Scheduled, 60)), Some(60), Way::Keep),
        (Some((Scheduled, 60)), Some(-60), Way::Refuse),
        (Some((Scheduled, 60)), Some(61), Way::Refuse),
    ] {
        let there = there.map(|(status, starts_in)| open(status, starts_in));
        assert_eq!(go_live(there.as_ref(), &wish(wanted), NOW), way, "{there:?} {wanted:?}");
    }
}

#[test]
fn a_lobby_that_opens_at_another_time_is_what_counts() {
    let mut early = open(LiveStatus::Scheduled, 120);
    early.lobby_open_at = Some(NOW + Duration::minutes(15));
    assert_eq!(go_live(Some(&early), &wish(None), NOW), Way::Start);
    assert_eq!(due(&early, NOW), None);
    assert_eq!(due(&early, NOW + Duration::minutes(15)), Some(LiveStatus::Lobby));
}

#[test]
fn sessions_move_on_by_their_plan() {
    use LiveStatus::{Cancelled, Ended, Live, Lobby, Scheduled};
    for (status, starts_in, ends_in, next) in [
        (Scheduled, 16, None, None),
        (Scheduled, 15, None, Some(Lobby)),
        (Scheduled, 0, None, Some(Live)),
        (Scheduled, -60, Some(1), Some(Live)),
        (Scheduled, -60, Some(0), Some(Cancelled)),
        (Lobby, 1, None, None),
        (Lobby, 0, None, Some(Live)),
        (Lobby, -60, Some(-1), Some(Live)),
        (Live, -60, Some(-1), None),
        (Ended, -60, None, None),
        (Cancelled, -60, None, None),
    ] {
        let mut session = open(status, starts_in);
        session.ends_at = ends_in.map(|minutes| NOW + Duration::minutes(minutes));
        assert_eq!(due(&session, NOW), next, "{status:?} {starts_in} {ends_in:?}");
    }
}

#[test]
fn verbs_are_a_table() {
    use LiveStatus::{Cancelled, Ended, Live, Lobby, Scheduled};
    use Step::{Become, Keep};
    let (idle, started) = (Err(LiveError::NotActive), Err(LiveError::Started));
    let present = Ok(Step::HostPresent(true));
    // nothing, scheduled, lobby, live
    for (verb, steps) in [
        (Verb::Start, [idle.clone(), Ok(Become(Live)), Ok(Become(Live)), Ok(Keep)]),
        (Verb::OpenLobby, [idle.clone(), Ok(Become(Lobby)), Ok(Keep), Ok(Keep)]),
        (Verb::End, [Ok(Keep), Ok(Become(Cancelled)), Ok(Become(Ended)), Ok(Become(Ended))]),
        (Verb::Cancel, [Ok(Keep), Ok(Become(Cancelled)), Ok(Become(Cancelled)), started]),
        (Verb::Reset, [Ok(Keep), Ok(Become(Cancelled)), Ok(Become(Ended)), Ok(Become(Ended))]),
        (Verb::HostPresent(true), [idle, present.clone(), present.clone(), present]),
    ] {
        for (open, wanted) in [None, Some(Scheduled), Some(Lobby), Some(Live)].into_iter().zip(steps) {
            assert_eq!(step(verb, open), wanted, "{verb:?} {open:?}");
        }
        assert_eq!(step(verb, Some(Ended)), step(verb, None), "over is as nothing");
        assert_eq!(step(verb, Some(Cancelled)), step(verb, None), "over is as nothing");
    }
}
