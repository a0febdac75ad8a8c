use std::collections::HashMap;

use domain::RoomId;
use time::Duration;
use uuid::Uuid;

use super::*;

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::seconds(seconds)
}

fn turn(now: i64) -> Turn {
    Turn { now: at(now), last: Some(at(now - 1)), alarmed_at: None, answering_since: None }
}

fn participant(room: u128, identity: &str) -> Participant {
    Participant {
        room: RoomId(Uuid::from_u128(room)),
        room_name: format!("session-{room}"),
        identity: identity.to_owned(),
        sid: Some(format!("PA_{room}_{identity}")),
        alive_at: None,
        silent_since: None,
        is_ghost: false,
        in_live_session: false,
    }
}

fn names(participants: &[Participant]) -> Vec<String> {
    participants
        .iter()
        .map(|participant| format!("{}{}", participant.room.0.as_u128(), participant.identity))
        .collect()
}

#[test]
fn probes_follow_the_time_since_the_last_turn() {
    let budget = |last: Option<i64>| Turn { last: last.map(at), ..turn(100) }.settled().budget();
    assert_eq!(budget(Some(99)), Budget { probes: 5, stale: 5, rooms: 50 });
    assert_eq!(budget(Some(96)), Budget { probes: 20, stale: 20, rooms: 200 });
    assert_eq!(budget(Some(0)), Budget { probes: 25, stale: 25, rooms: 250 }, "no more than for 5 s");
    assert_eq!(budget(None), budget(Some(99)));
    assert_eq!(budget(Some(900)), budget(Some(99)), "the clock was set back");
    let soon = Turn { last: Some(at(100) - Duration::milliseconds(900)), ..turn(100) };
    assert_eq!(soon.budget(), Budget { probes: 4, stale: 4, rooms: 45 });
}

#[test]
fn quiet_participants_are_probed_one_of_each_room_first() {
    let budget = Budget { probes: 3, stale: 1, rooms: 0 };
    let quiet = vec![
        participant(1, "a"),
        participant(1, "b"),
        participant(1, "c"),
        participant(2, "a"),
        participant(3, "a"),
    ];
    let due = Due { quiet: quiet.clone(), ..Due::default() };
    assert_eq!(names(&due.choose(budget)), ["1a", "2a", "3a"]);
    let due = Due { quiet: quiet[..3].to_vec(), ..Due::default() };
    assert_eq!(names(&due.choose(budget)), ["1a", "1b", "1c"], "every probe is used");
    let stale = vec![participant(4, "g"), participant(5, "g")];
    let due = Due { quiet, stale, ..Due::default() };
    assert_eq!(
        names(&due.choose(budget)),
        ["4g", "1a", "2a", "3a"],
        "stale participants have a budget of their own"
    );
}

#[test]
fn suspects_come_before_others_and_rooms_are_bounded() {
    let due = Due {
        suspects: vec![participant(1, "a"), participant(2, "a")],
        unheard: vec![
            participant(1, "b"),
            participant(2, "a"),
            participant(3, "a"),
            participant(4, "a"),
            participant(3, "b"),
        ],
        quiet: vec![participant(1, "b"), participant(5, "a")],
        stale: Vec::new(),
    };
    let chosen = due.choose(Budget { probes: 2, stale: 1, rooms: 3 });
    assert_eq!(names(&chosen), ["1a", "2a", "1b", "3a", "3b", "5a"]);
}

#[test]
fn one_turn_probes_a_bounded_number() {
    let unheard = (0..2_000).map(|number| participant(1, &number.to_string())).collect();
    let due = Due { unheard, ..Due::default() };
    assert_eq!(due.choose(Budget { probes: 5, stale: 1, rooms: 50 }).len(), MOST_PROBES);
}

#[test]
fn stale_participant_needs_two_silences_ten_seconds_apart() {
    let silent = |since: Option<i64>| Participant { silent_since: since.map(at), ..participant(1, "a") };
    let is_second = |since, answer| turn(100).is_second_silence(&silent(since), answer);
    assert!(is_second(Some(90), ProbeAnswer::Silent));
    assert!(!is_second(Some(91), ProbeAnswer::Silent));
    assert!(!is_second(None, ProbeAnswer::Silent));
    assert!(!is_second(Some(200), ProbeAnswer::Silent), "the clock was set back");
    assert!(!is_second(Some(90), ProbeAnswer::Unknown), "a timeout proves nothing");
    assert!(!is_second(Some(90), ProbeAnswer::Alive));
    let stale = Participant { is_ghost: true, ..silent(Some(90)) };
    assert!(!turn(100).is_second_silence(&stale, ProbeAnswer::Silent));
}

#[test]
fn silence_counts_only_while_livekit_creates_rooms() {
    assert_eq!(Silence::between(None, None), Silence::Counts);
    assert_eq!(Silence::between(None, Some(true)), Silence::Counts);
    assert_eq!(Silence::between(None, Some(false)), Silence::Void);
    assert_eq!(Silence::between(Some(true), Some(false)), Silence::Void);
    assert_eq!(Silence::between(Some(false), Some(false)), Silence::Void);
    assert_eq!(Silence::between(Some(true), Some(true)), Silence::Proves);
}

#[test]
fn first_silence_raises_the_alarm_until_all_are_heard() {
    let asked = |answer| vec![(Participant { alive_at: Some(at(50)), ..participant(1, "a") }, answer)];
    assert_eq!(turn(100).alarm(&asked(ProbeAnswer::Silent), true), Some(at(100)));
    assert_eq!(
        turn(100).alarm(&asked(ProbeAnswer::Silent), false),
        None,
        "they left while LiveKit was asked"
    );
    assert_eq!(turn(100).alarm(&asked(ProbeAnswer::Alive), true), None);
    assert_eq!(turn(100).alarm(&asked(ProbeAnswer::Unknown), true), None);
    let alarmed = |since| Turn { alarmed_at: Some(at(since)), ..turn(100) };
    assert_eq!(alarmed(90).alarm(&asked(ProbeAnswer::Silent), true), Some(at(90)), "silent since before it");
    assert_eq!(alarmed(90).alarm(&asked(ProbeAnswer::Alive), true), Some(at(90)));
    assert_eq!(alarmed(90).alarm(&asked(ProbeAnswer::Alive), false), None);
    assert_eq!(
        alarmed(40).alarm(&asked(ProbeAnswer::Silent), true),
        Some(at(100)),
        "a sign of life after it: another crash"
    );
    let stale = vec![(Participant { is_ghost: true, ..participant(1, "a") }, ProbeAnswer::Silent)];
    assert_eq!(turn(100).alarm(&stale, true), None);
}

#[test]
fn rooms_are_replaced_a_minute_after_livekit_answers_again() {
    let since = |seconds: Option<i64>| Turn { answering_since: seconds.map(at), ..turn(100) };
    assert!(since(Some(40)).may_replace());
    assert!(!since(Some(41)).may_replace());
    assert!(!since(None).may_replace());
}

#[test]
fn livekit_answers_since_the_last_failure() {
    let since = Turn { answering_since: Some(at(40)), ..turn(100) };
    assert_eq!(since.answering(None, &[]), Some(at(40)), "nothing was asked");
    assert_eq!(since.answering(None, &[ProbeAnswer::Unknown, ProbeAnswer::Silent]), Some(at(40)));
    assert_eq!(since.answering(None, &[ProbeAnswer::Unknown]), None);
    assert_eq!(since.answering(Some(false), &[ProbeAnswer::Silent]), None, "it creates no rooms");
    assert_eq!(turn(100).answering(None, &[ProbeAnswer::Alive]), Some(at(100)));
    assert_eq!(turn(100).answering(Some(true), &[]), Some(at(100)));
}

/// Simulates turns as the service takes them. Each silence takes 3 s. LiveKit's first probe rooms fail, because they
/// are assigned to the killed node.
#[test]
fn thousand_stale_rooms_are_found_within_a_minute() {
    let mut participants: Vec<Participant> = ["host", "guest"]
        .into_iter()
        .flat_map(|who| (0..1_000).map(move |room| participant(room, who)))
        .collect();
    let mut checked: HashMap<(RoomId, String), OffsetDateTime> = HashMap::new();
    let key = |participant: &Participant| (participant.room, participant.identity.clone());
    let mut turn = Turn { now: at(1), last: None, alarmed_at: Some(at(1)), answering_since: None };
    let mut now = at(8);
    while !participants.is_empty() {
        turn = Turn { now, last: Some(turn.now), ..turn };
        let is_due =
            |participant: &&Participant| checked.get(&key(participant)).is_none_or(|at| now - *at >= APART);
        participants.sort_by_key(|participant| checked.get(&key(participant)).copied());
        let due: Vec<&Participant> = participants.iter().filter(is_due).collect();
        let quietest: HashSet<RoomId> = due.iter().map(|one| one.room).take(turn.budget().rooms).collect();
        let suspects = due.iter().filter(|one| one.silent_since.is_some()).take(MOST_PROBES);
        let unheard = due.iter().filter(|one| quietest.contains(&one.room)).take(MOST_PROBES);
        let lists = Due {
            suspects: suspects.copied().cloned().collect(),
            unheard: unheard.copied().cloned().collect(),
            quiet: due.iter().take(80).copied().cloned().collect(),
            stale: Vec::new(),
        };
        let asked: Vec<_> = lists
            .choose(turn.budget())
            .into_iter()
            .map(|participant| (participant, ProbeAnswer::Silent))
            .collect();
        for (participant, _) in &asked {
            checked.insert(key(participant), now);
            let known = participants
                .iter_mut()
                .find(|one| one.room == participant.room && one.identity == participant.identity);
            known.unwrap().silent_since.get_or_insert(now);
        }
        let second =
            asked.iter().filter(|(participant, answer)| turn.is_second_silence(participant, *answer));
        let found: HashSet<_> = second.map(|(participant, _)| key(participant)).collect();
        participants.retain(|one| !found.contains(&key(one)));
        // Probes 3 s, two rooms and writing 0.3 s, and the pause between two turns.
        now += if asked.is_empty() { Duration::seconds(1) } else { Duration::milliseconds(4_300) };
    }
    assert!(now <= at(60), "it took {}", now - at(0));
}
