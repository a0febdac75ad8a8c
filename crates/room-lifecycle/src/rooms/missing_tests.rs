use super::*;

/// A listed room in which LiveKit counts one participant more than it lists.
fn counts_one_more() -> Check {
    Check { listed: 1, counted: 2, ..Check::default() }
}

fn lacking(joined: i64, lasting: i64, left: i64) -> Lacking {
    Lacking { joined, lasting, left }
}

#[test]
fn unknown_participants_in_the_count_prove_nothing() {
    assert!(!counts_one_more().lacks_participants());
    assert!(!counts_one_more().is_partial());
}

#[test]
fn joined_participant_who_is_counted_and_not_listed_is_lacking() {
    let check = Check { lacking: lacking(1, 1, 0), ..counts_one_more() };
    assert!(check.lacks_participants() && check.is_partial());
    assert_eq!(check.confirm_after(), CONFIRM_COUNT_AFTER);
}

#[test]
fn second_check_has_to_lack_the_same_participant() {
    let another = Check { lacking: lacking(1, 0, 0), ..counts_one_more() };
    assert!(!another.lacks_participants());
    assert!(another.is_partial(), "the participant has not left either");
}

#[test]
fn departure_explains_the_count_while_a_removal_is_pending() {
    let pending = Check { removal: true, ..counts_one_more() };
    assert!(pending.lacks_participants());
    assert_eq!(pending.confirm_after(), CONFIRM_AFTER);
    let departed = Check { lacking: lacking(0, 0, 1), removal: true, ..counts_one_more() };
    assert!(!departed.lacks_participants());
    let both = Check { counted: 3, ..departed };
    assert!(both.lacks_participants());
}

#[test]
fn equal_counts_keep_the_room() {
    let listed = Check { listed: 2, lacking: lacking(1, 1, 0), removal: true, ..counts_one_more() };
    assert!(!listed.lacks_participants() && !listed.is_partial());
}

#[test]
fn unlisted_room_without_participants_is_lacking_them() {
    let unlisted = Check { unlisted: true, occupied: true, ..Check::default() };
    assert!(unlisted.lacks_participants());
    assert_eq!(unlisted.confirm_after(), CONFIRM_AFTER);
    assert!(!Check { occupied: false, ..unlisted }.lacks_participants());
    let removal = Check { unlisted: true, removal: true, ..Check::default() };
    assert_eq!(removal.confirm_after(), CONFIRM_REMOVAL_AFTER);
}
