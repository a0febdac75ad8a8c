use super::*;

const ADMIN: Parties = Parties { by: By::Admin, is_self: false, participant: NestRole::Listener };
const HOST: Parties = Parties { by: By::Host, ..ADMIN };
const LISTENER: Parties = Parties { by: By::Other, ..ADMIN };

fn publish(can_publish: bool) -> PermissionChange {
    PermissionChange { can_publish: Some(can_publish), ..PermissionChange::default() }
}

fn admin(is_admin: bool) -> PermissionChange {
    PermissionChange { is_admin: Some(is_admin), ..PermissionChange::default() }
}

#[test]
fn only_admins_let_speak_and_participants_may_stop() {
    assert_eq!(decide(ADMIN, &publish(true)), Ok(NestRole::Speaker));
    assert_eq!(decide(LISTENER, &publish(true)), Err(NestError::NotAllowed));
    assert_eq!(decide(LISTENER, &publish(false)), Err(NestError::NotAllowed), "of another participant");
    let own = Parties { is_self: true, participant: NestRole::Speaker, ..LISTENER };
    assert_eq!(decide(own, &publish(false)), Ok(NestRole::Listener));
    assert_eq!(decide(own, &publish(true)), Err(NestError::NotAllowed));
    let muting = PermissionChange { mute_microphone: Some(true), ..PermissionChange::default() };
    assert_eq!(decide(own, &muting), Err(NestError::NotAllowed));
}

#[test]
fn only_the_host_sets_admins_except_the_host() {
    assert_eq!(decide(HOST, &admin(true)), Ok(NestRole::Admin { speaks: false }));
    assert_eq!(decide(ADMIN, &admin(true)), Ok(NestRole::Listener), "ignored");
    let host = NestRole::Admin { speaks: true };
    let own = Parties { is_self: true, participant: host, ..HOST };
    assert_eq!(decide(own, &admin(false)), Ok(host));
    let by_another = Parties { participant: host, ..ADMIN };
    assert_eq!(decide(by_another, &admin(false)), Ok(host));
    assert_eq!(decide(LISTENER, &admin(true)), Err(NestError::NotAllowed));
}

#[test]
fn old_tokens_matter_only_when_rights_are_taken_away() {
    assert!(is_less(NestRole::Listener, NestRole::Speaker));
    assert!(is_less(NestRole::Listener, NestRole::Admin { speaks: false }));
    assert!(
        !is_less(NestRole::Speaker, NestRole::Admin { speaks: true }),
        "the grants on LiveKit are the same"
    );
    assert!(!is_less(NestRole::Speaker, NestRole::Listener));
}
