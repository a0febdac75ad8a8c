use super::*;

/// A listed room in which LiveKit counts one participant that it does not list.
fn one_more() -> Check {
    Check { listed: 1, counted: 2, ..Check::default() }
}

fn lacking(joined: i64, lasting: i64, left: i64) -> Lacking {
    Lacking { joined, lasting, left }
}

#[test]
fn count_of_strangers_alone_proves_nothing() {
    assert!(!one_more().lacks_people());
    assert!(!one_more().is_partial());
}

#[test]
fn joined_participant_who_is_counted_and_not_listed_is_lacking() {
    let check = Check { lacking: lacking(1, 1, 0), ..one_more() };
    assert!(check.lacks_people() && check.is_partial());
    assert_eq!(check.apart(), APART_BY_COUNT);
}

#[test]
fn second_check_has_to_lack_the_same_participant() {
    let another = Check { lacking: lacking(1, 0, 0), ..one_more() };
    assert!(!another.lacks_people());
    assert!(another.is_partial(), "they are not left either");
}

#[test]
fn departure_explains_the_count_while_a_removal_is_pending() {
    let pending = Check { removal: true, ..one_more() };
    assert!(pending.lacks_people());
    assert_eq!(pending.apart(), APART);
    let departed = Check { lacking: lacking(0, 0, 1), removal: true, ..one_more() };
    assert!(!departed.lacks_people());
    let both = Check { counted: 3, ..departed };
    assert!(both.lacks_people());
}

#[test]
fn equal_counts_keep_the_room() {
    let listed = Check { listed: 2, lacking: lacking(1, 1, 0), removal: true, ..one_more() };
    assert!(!listed.lacks_people() && !listed.is_partial());
}

#[test]
fn unlisted_room_without_participants_is_lacking_them() {
    let unlisted = Check { unlisted: true, occupied: true, ..Check::default() };
    assert!(unlisted.lacks_people());
    assert_eq!(unlisted.apart(), APART);
    assert!(!Check { occupied: false, ..unlisted }.lacks_people());
    let removal = Check { unlisted: true, removal: true, ..Check::default() };
    assert_eq!(removal.apart(), APART_FOR_REMOVAL);
}
