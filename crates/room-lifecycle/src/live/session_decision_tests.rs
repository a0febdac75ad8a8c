use domain::{AccessLevel, LiveRoomId, LiveSessionId};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-05-01 12:00 UTC);

/// An open session that starts in `starts_in` minutes, with a buffer of 15 minutes.
fn open(status: LiveStatus, starts_in: i64) -> LiveSession {
    LiveSession {
        id: LiveSessionId::default(),
        room_id: LiveRoomId::default(),
        session_title: None,
        topic_keys: Vec::new(),
        status,
        access_level: AccessLevel::Public,
        starts_at: NOW + Duration::minutes(starts_in),
        ends_at: None,
        started_at: None,
        ended_at: None,
        end_reason: None,
        lobby_open_at: None,
        lobby_buffer_minutes: 15,
        auto_admit: true,
        max_participants: 100,
        livekit: None,
    }
}

fn request(starts_in: Option<i64>) -> NewSession {
    let starts_at = starts_in.map(|minutes| NOW + Duration::minutes(minutes));
    NewSession { starts_at, ..NewSession::default() }
}

#[test]
fn go_live_decision_follows_session_and_start() {
    use LiveStatus::{Live, Lobby, Scheduled};
    for (current, wanted, expected) in [
        (None, None, "Create(Live)"),
        (None, Some(-60), "Create(Live)"),
        (None, Some(0), "Create(Live)"),
        (None, Some(1), "Create(Lobby)"),
        (None, Some(15), "Create(Lobby)"),
        (None, Some(16), "Create(Scheduled)"),
        (Some((Live, -10)), None, "Keep"),
        (Some((Live, -10)), Some(-10), "Keep"),
        (Some((Live, -10)), Some(10), "Refuse"),
        (Some((Lobby, 10)), None, "Keep"),
        (Some((Lobby, 10)), Some(10), "Keep"),
        (Some((Lobby, 10)), Some(11), "Refuse"),
        (Some((Lobby, 0)), None, "Due"),
        (Some((Scheduled, 0)), None, "Start"),
        (Some((Scheduled, 15)), None, "Start"),
        (Some((Scheduled, 30)), None, "Start"),
        (Some((Scheduled, 31)), None, "Refuse"),
        (Some((Scheduled, 60)), Some(60), "Keep"),
        (Some((Scheduled, 15)), Some(15), "Due"),
        (Some((Scheduled, 60)), Some(-60), "Refuse"),
        (Some((Scheduled, 60)), Some(61), "Refuse"),
    ] {
        let current = current.map(|(status, starts_in)| open(status, starts_in));
        let decided = match go_live(current.as_ref(), &request(wanted), NOW) {
            GoLiveDecision::Create(status) => format!("Create({status:?})"),
            GoLiveDecision::Due => "Due".to_owned(),
            GoLiveDecision::Keep(_) => "Keep".to_owned(),
            GoLiveDecision::Start(_) => "Start".to_owned(),
            GoLiveDecision::Refuse(_) => "Refuse".to_owned(),
        };
        assert_eq!(decided, expected, "{current:?} {wanted:?}");
    }
}

#[test]
fn missed_session_does_not_block_going_live() {
    let mut missed = open(LiveStatus::Scheduled, -60);
    missed.ends_at = Some(NOW);
    for wanted in [None, Some(10), Some(60)] {
        assert!(matches!(go_live(Some(&missed), &request(wanted), NOW), GoLiveDecision::Due), "{wanted:?}");
    }
}

#[test]
fn lobby_open_time_overrides_the_buffer() {
    let mut early = open(LiveStatus::Scheduled, 120);
    early.lobby_open_at = Some(NOW + Duration::minutes(15));
    assert!(matches!(go_live(Some(&early), &request(None), NOW), GoLiveDecision::Start(_)));
    assert_eq!(due(&early, NOW), None);
    assert_eq!(due(&early, NOW + Duration::minutes(15)), Some(LiveStatus::Lobby));
}

#[test]
fn due_transition_follows_status_start_and_end() {
    use LiveStatus::{Cancelled, Ended, Live, Lobby, Scheduled};
    for (status, starts_in, ends_in, next) in [
        (Scheduled, 16, None, None),
        (Scheduled, 15, None, Some(Lobby)),
        (Scheduled, 0, None, Some(Live)),
        (Scheduled, -60, Some(1), Some(Live)),
        (Scheduled, -60, Some(0), Some(Cancelled)),
        (Lobby, 1, None, None),
        (Lobby, 0, None, Some(Live)),
        (Lobby, -60, Some(1), Some(Live)),
        (Lobby, -60, Some(0), Some(Cancelled)),
        (Scheduled, -119, None, Some(Live)),
        (Scheduled, -120, None, Some(Cancelled)),
        (Lobby, -119, None, Some(Live)),
        (Lobby, -120, None, Some(Cancelled)),
        (Live, -120, None, None),
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
fn verb_decision_follows_session_status() {
    // no session, scheduled, lobby, live, due
    for (verb, steps) in [
        (Verb::Start, ["NotActive", "Become(Live)", "Become(Live)", "Keep", "Due"]),
        (Verb::OpenLobby, ["NotActive", "Become(Lobby)", "Keep", "Keep", "Due"]),
        (Verb::End, ["Keep", "Become(Cancelled)", "Become(Ended)", "Become(Ended)", "Due"]),
        (Verb::Cancel, ["Keep", "Become(Cancelled)", "Become(Cancelled)", "Started", "Due"]),
        (Verb::Reset, ["Keep", "Become(Cancelled)", "Become(Ended)", "Become(Ended)", "Due"]),
        (Verb::HostPresent(true), ["NotActive", "HostPresent", "HostPresent", "HostPresent", "Due"]),
    ] {
        let sessions = [
            None,
            Some(open(LiveStatus::Scheduled, 60)),
            Some(open(LiveStatus::Lobby, 5)),
            Some(open(LiveStatus::Live, -5)),
            Some(open(LiveStatus::Lobby, 0)),
        ];
        for (open, wanted) in sessions.iter().zip(steps) {
            let decided = match step(verb, open.as_ref(), NOW) {
                Ok(SessionDecision::Due) => "Due".to_owned(),
                Ok(SessionDecision::Keep(_)) => "Keep".to_owned(),
                Ok(SessionDecision::Become(_, status)) => format!("Become({status:?})"),
                Ok(SessionDecision::HostPresent(..)) => "HostPresent".to_owned(),
                Err(why) => format!("{why:?}"),
            };
            assert_eq!(decided, wanted, "{verb:?} {open:?}");
        }
    }
}
