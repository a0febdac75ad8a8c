//! The caller as a reader of e-mails: what they chose, and what is used.

use chassis::status::Reason;
use proto::{booking::v1::*, types::v1::Caller};

use crate::harness::*;

fn caller() -> Caller {
    Caller { locale: "de_AT".into(), zoneinfo: "europe/vienna".into(), ..person("ada") }
}

async fn user(world: &World, caller: Caller) -> User {
    let request = GetUserRequest { caller: Some(caller) };
    world.client.clone().get_user(request).await.unwrap().into_inner().user.unwrap()
}

async fn updated(world: &World, locale: Option<&str>, time_zone: Option<&str>) -> User {
    let (locale, time_zone) = (locale.map(str::to_owned), time_zone.map(str::to_owned));
    let request = UpdateUserRequest { caller: Some(caller()), locale, time_zone };
    world.client.clone().update_user(request).await.unwrap().into_inner().user.unwrap()
}

fn used(user: &User) -> (&str, Option<&str>) {
    (&user.locale, user.time_zone.as_deref())
}

#[testkit::test]
async fn choice_is_used_until_it_is_removed(world: World) {
    assert_eq!(used(&user(&world, person("ada")).await), ("en", None));
    assert_eq!(used(&user(&world, caller()).await), ("de-AT", Some("Europe/Vienna")));
    let chosen = updated(&world, Some("en-gb"), Some("asia/tokyo")).await;
    assert_eq!(used(&chosen), ("en-GB", Some("Asia/Tokyo")));
    assert_eq!((chosen.chosen_locale(), chosen.chosen_time_zone()), ("en-GB", "Asia/Tokyo"));
    let kept = updated(&world, None, Some("")).await;
    assert_eq!(used(&kept), ("en-GB", Some("Europe/Vienna")));
    let removed = updated(&world, Some(""), None).await;
    assert_eq!(used(&removed), ("de-AT", Some("Europe/Vienna")));
    assert_eq!((removed.chosen_locale, removed.chosen_time_zone), (None, None));
}

#[testkit::test]
async fn claims_are_remembered_and_unusable_ones_are_not(world: World) {
    user(&world, caller()).await;
    let unusable = Caller { locale: "german".into(), zoneinfo: "CEST".into(), ..person("ada") };
    assert_eq!(used(&user(&world, unusable).await), ("de-AT", Some("Europe/Vienna")));
    let french = Caller { locale: "fr-CA".into(), ..person("ada") };
    assert_eq!(used(&user(&world, french).await), ("en", Some("Europe/Vienna")));
}

#[testkit::test]
async fn wrong_choice_is_refused_by_name(world: World) {
    for (locale, time_zone, field) in [
        (Some("fr"), None, "locale"),
        (Some("german"), None, "locale"),
        (None, Some("CEST"), "timeZone"),
        (None, Some("Europe/Atlantis"), "timeZone"),
    ] {
        let request = UpdateUserRequest {
            caller: Some(caller()),
            locale: locale.map(str::to_owned),
            time_zone: time_zone.map(str::to_owned),
        };
        let refusal = refused(world.client.clone().update_user(request).await);
        assert_eq!((refusal.reason, refusal.facts["field"].as_str()), (Reason::InvalidRequest, field));
    }
    assert_eq!(user(&world, caller()).await.chosen_locale, None);
}
