//! Reading bookings: what parties may read, pages, and filters.

use chassis::status::Reason;
use prost_types::Timestamp;
use proto::{
    booking::v1::*,
    types::v1::{Role, SessionStatus},
};

use crate::harness::*;

async fn list(world: &World, request: ListBookingsRequest) -> (Vec<Booking>, Option<String>) {
    let request = ListBookingsRequest { caller: request.caller.or(Some(person("ada"))), ..request };
    let answer = world.client.clone().list_bookings(request).await.unwrap().into_inner();
    (answer.bookings, answer.next_cursor)
}

fn ids(bookings: &[Booking]) -> Vec<&str> {
    bookings.iter().map(|booking| booking.id.as_str()).collect()
}

#[testkit::test]
async fn booking_is_read_by_parties_and_admins_only(world: World) {
    let booking = world.book(10).await;
    for caller in [person("ada"), person("bob"), admin(), chassis::grpc::system_caller()] {
        let request = GetBookingRequest { caller: Some(caller.clone()), booking_id: booking.id.clone() };
        let answer = world.client.clone().get_booking(request).await.unwrap().into_inner();
        assert_eq!(answer.booking.as_ref(), Some(&booking), "{caller:?}");
    }
    let request = GetBookingRequest { caller: Some(person("eve")), booking_id: booking.id };
    assert_eq!(reason(world.client.clone().get_booking(request).await), Reason::NotParticipant);
}

#[testkit::test]
async fn profile_name_precedes_the_booked_name_and_the_id(world: World) {
    let name = async |id: &str| world.get(id).await.guest.unwrap().name;
    let nameless = world.book(10).await;
    assert_eq!(name(&nameless.id).await, "bob");
    let mut request = world.request(200).await;
    request.guest = Some(GuestContact { name: "Bob B.".into(), email: String::new() });
    let named = created(world.client.clone().create_booking(request).await);
    assert_eq!(name(&named.id).await, "Bob B.");
    sqlx::query!("insert into app_users (id, display_name) values ('bob', 'Robert')")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!((name(&named.id).await, name(&nameless.id).await), ("Robert".into(), "Robert".into()));
}

#[testkit::test]
async fn pages_have_both_roles_latest_first_without_gaps(world: World) {
    // Three at each start, so that ties are split between pages; every second one with ada as the guest.
    sqlx::query!(
        "insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url,
                               status)
         select case n % 2 when 0 then 'ada' else 'x' || n end, case n % 2 when 0 then 'x' || n else 'ada' end,
                'x', 't' || n, '2026-01-01'::timestamptz + make_interval(hours => n / 3), 60, '',
                case n % 5 when 0 then 'cancelled' else 'completed' end
         from generate_series(0, 49) n"
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let (all, next) = list(&world, ListBookingsRequest { limit: Some(100), ..Default::default() }).await;
    assert_eq!((all.len(), next), (50, None));
    let key = |it: &Booking| (it.scheduled_at.unwrap().seconds, it.id.clone());
    assert!(all.windows(2).all(|pair| key(&pair[0]) > key(&pair[1])));

    let mut paged = Vec::new();
    let mut cursor = None;
    loop {
        let (page, next) =
            list(&world, ListBookingsRequest { limit: Some(7), cursor, ..Default::default() }).await;
        paged.extend(page);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(ids(&paged), ids(&all));
    let (default, _) = list(&world, ListBookingsRequest::default()).await;
    assert_eq!(ids(&default), ids(&all[..20]));
}

#[testkit::test]
async fn list_is_filtered_by_role_status_and_time(world: World) {
    let hosted = world.book(100).await;
    let request = CreateBookingRequest {
        caller: Some(person("bob")),
        guest_id: "ada".into(),
        ..world.request(200).await
    };
    let visited = created(world.client.clone().create_booking(request).await);
    let cancel = CancelBookingRequest {
        caller: Some(person("ada")),
        booking_id: visited.id.clone(),
        ..Default::default()
    };
    world.client.clone().cancel_booking(cancel).await.unwrap();
    let only = async |request| {
        let (bookings, _) = list(&world, request).await;
        ids(&bookings).join(",")
    };
    let (hosted_id, visited_id) = (hosted.id.clone(), visited.id.clone());
    let role = |role: Role| ListBookingsRequest { role: Some(role.into()), ..Default::default() };
    let status =
        |status: SessionStatus| ListBookingsRequest { status: Some(status.into()), ..Default::default() };
    assert_eq!(only(role(Role::Host)).await, hosted_id);
    assert_eq!(only(role(Role::Guest)).await, visited_id);
    assert_eq!(only(status(SessionStatus::Cancelled)).await, visited_id);
    assert_eq!(only(status(SessionStatus::NoShow)).await, "");
    let (early, late): (Option<Timestamp>, _) = (hosted.scheduled_at, visited.scheduled_at);
    let between = |from, to| ListBookingsRequest { from, to, ..Default::default() };
    assert_eq!(only(between(early, late)).await, hosted_id);
    assert_eq!(only(between(late, None)).await, visited_id);
    assert_eq!(only(between(None, early)).await, "");
    let stranger = ListBookingsRequest { caller: Some(person("eve")), ..Default::default() };
    assert_eq!(only(stranger).await, "");
}
