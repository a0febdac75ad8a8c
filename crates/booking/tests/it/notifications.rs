//! A user's notifications: only their own, in pages, marked as read once.

use chassis::status::Reason;
use proto::{
    booking::v1::*,
    types::v1::{Caller, NotificationKind},
};

use crate::harness::*;

async fn list(world: &World, caller: Caller, limit: i32, cursor: &str) -> ListNotificationsResponse {
    let request =
        ListNotificationsRequest { caller: Some(caller), limit: Some(limit), cursor: Some(cursor.into()) };
    world.client.clone().list_notifications(request).await.unwrap().into_inner()
}

#[testkit::test]
async fn users_list_their_own_notifications_newest_first(world: World) {
    world.rooms.set_mode(Mode::Fails); // adds a notification for admins
    let first = world.book(100).await;
    let second = world.book(200).await;
    let page = list(&world, person("bob"), 1, "").await;
    let rest = list(&world, person("bob"), 1, page.next_cursor()).await;
    assert_eq!(rest.next_cursor, None);
    for (notification, booking) in [(&page.notifications[0], &second), (&rest.notifications[0], &first)] {
        assert_eq!(notification.kind(), NotificationKind::BookingCreated, "{notification:?}");
        let payload: serde_json::Value = serde_json::from_str(&notification.payload_json).unwrap();
        assert_eq!(payload["bookingId"], booking.id.as_str(), "{notification:?}");
        assert_eq!(payload["meetingUrl"], booking.meeting_url.as_str(), "{notification:?}");
        assert_eq!(payload["durationMinutes"], 60, "{notification:?}");
        let start = payload["scheduledAt"].as_str().unwrap();
        let start =
            time::OffsetDateTime::parse(start, &time::format_description::well_known::Rfc3339).unwrap();
        assert_eq!(start.unix_timestamp(), booking.scheduled_at.unwrap().seconds, "{notification:?}");
    }
    for other in [person("eve"), admin(), chassis::grpc::system_caller()] {
        assert!(list(&world, other.clone(), 20, "").await.notifications.is_empty(), "{other:?}");
    }
}

#[testkit::test]
async fn read_mark_is_kept_and_set_by_the_owner_only(world: World) {
    world.book(100).await;
    let unread = list(&world, person("bob"), 20, "").await.notifications.remove(0);
    assert_eq!(unread.read_at, None);
    let read = async |caller: Caller| {
        let request =
            MarkNotificationReadRequest { caller: Some(caller), notification_id: unread.id.clone() };
        world.client.clone().mark_notification_read(request).await
    };
    for other in [person("ada"), admin(), chassis::grpc::system_caller()] {
        assert_eq!(reason(read(other.clone()).await), Reason::NotificationNotFound, "{other:?}");
    }
    let first = read(person("bob")).await.unwrap().into_inner().notification.unwrap();
    assert!(first.read_at.is_some());
    let second = read(person("bob")).await.unwrap().into_inner().notification;
    assert_eq!(second, Some(first));
}
