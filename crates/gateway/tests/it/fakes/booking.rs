//! The booking service.

use domain::{DeliveryChannel, DeliveryState, NotificationKind, RoomStatus, SessionStatus};
use proto::booking::v1::{self as booking, booking_service_server::BookingService};
use tonic::{Request, Response};

use super::{Answer, Fake, NOTIFICATION, SESSION, at};

fn the_booking() -> booking::Booking {
    let person =
        |id: &str, name: &str| Some(booking::Person { id: id.into(), name: name.into(), avatar_url: None });
    booking::Booking {
        id: SESSION.into(),
        title: "Algebra".into(),
        status: SessionStatus::InProgress.into(),
        scheduled_at: Some(at(0)),
        duration_minutes: 60,
        opens_at: Some(at(-900)),
        closes_at: Some(at(7200)),
        meeting_url: format!("http://app.test/meeting/{SESSION}"),
        host: person("host-1", "Hanna"),
        guest: person("guest-1", "Gus"),
        room: Some(booking::Room {
            status: RoomStatus::Pending.into(),
            room_name: format!("session-{SESSION}"),
            room_sid: None,
        }),
        created_at: Some(at(-90_000)),
        updated_at: Some(at(-80_000)),
        link_version: 1,
        ..booking::Booking::default()
    }
}

fn the_notification() -> booking::Notification {
    booking::Notification {
        id: NOTIFICATION.into(),
        kind: NotificationKind::BookingCreated.into(),
        payload_json: r#"{"bookingId":"x"}"#.into(),
        created_at: Some(at(0)),
        read_at: None,
    }
}

fn the_user() -> booking::User {
    booking::User {
        id: "host-1".into(),
        name: "Hanna".into(),
        locale: "en".into(),
        chosen_time_zone: Some("Europe/Berlin".into()),
        time_zone: Some("Europe/Berlin".into()),
        ..booking::User::default()
    }
}

#[tonic::async_trait]
impl BookingService for Fake {
    async fn create_booking(
        &self,
        request: Request<booking::CreateBookingRequest>,
    ) -> Answer<booking::CreateBookingResponse> {
        let caller = |request: &booking::CreateBookingRequest| request.caller.clone();
        self.take("create_booking", request, caller).await?;
        let booking = Some(the_booking());
        Ok(Response::new(booking::CreateBookingResponse { booking }))
    }

    async fn get_booking(
        &self,
        request: Request<booking::GetBookingRequest>,
    ) -> Answer<booking::GetBookingResponse> {
        let caller = |request: &booking::GetBookingRequest| request.caller.clone();
        self.take("get_booking", request, caller).await?;
        let booking = Some(the_booking());
        Ok(Response::new(booking::GetBookingResponse { booking }))
    }

    async fn list_bookings(
        &self,
        request: Request<booking::ListBookingsRequest>,
    ) -> Answer<booking::ListBookingsResponse> {
        let caller = |request: &booking::ListBookingsRequest| request.caller.clone();
        self.take("list_bookings", request, caller).await?;
        Ok(Response::new(booking::ListBookingsResponse {
            bookings: vec![the_booking()],
            next_cursor: Some("more".into()),
        }))
    }

    async fn reschedule_booking(
        &self,
        request: Request<booking::RescheduleBookingRequest>,
    ) -> Answer<booking::RescheduleBookingResponse> {
        let caller = |request: &booking::RescheduleBookingRequest| request.caller.clone();
        self.take("reschedule_booking", request, caller).await?;
        let booking = Some(the_booking());
        Ok(Response::new(booking::RescheduleBookingResponse { booking }))
    }

    async fn cancel_booking(
        &self,
        request: Request<booking::CancelBookingRequest>,
    ) -> Answer<booking::CancelBookingResponse> {
        let caller = |request: &booking::CancelBookingRequest| request.caller.clone();
        self.take("cancel_booking", request, caller).await?;
        let booking = Some(the_booking());
        Ok(Response::new(booking::CancelBookingResponse { booking }))
    }

    async fn end_booking(
        &self,
        request: Request<booking::EndBookingRequest>,
    ) -> Answer<booking::EndBookingResponse> {
        let caller = |request: &booking::EndBookingRequest| request.caller.clone();
        self.take("end_booking", request, caller).await?;
        let booking = Some(the_booking());
        Ok(Response::new(booking::EndBookingResponse { booking }))
    }

    async fn list_notifications(
        &self,
        request: Request<booking::ListNotificationsRequest>,
    ) -> Answer<booking::ListNotificationsResponse> {
        let caller = |request: &booking::ListNotificationsRequest| request.caller.clone();
        self.take("list_notifications", request, caller).await?;
        Ok(Response::new(booking::ListNotificationsResponse {
            notifications: vec![the_notification()],
            next_cursor: None,
        }))
    }

    async fn mark_notification_read(
        &self,
        request: Request<booking::MarkNotificationReadRequest>,
    ) -> Answer<booking::MarkNotificationReadResponse> {
        let caller = |request: &booking::MarkNotificationReadRequest| request.caller.clone();
        self.take("mark_notification_read", request, caller).await?;
        let notification = Some(the_notification());
        Ok(Response::new(booking::MarkNotificationReadResponse { notification }))
    }

    async fn get_user(&self, request: Request<booking::GetUserRequest>) -> Answer<booking::GetUserResponse> {
        let caller = |request: &booking::GetUserRequest| request.caller.clone();
        self.take("get_user", request, caller).await?;
        Ok(Response::new(booking::GetUserResponse { user: Some(the_user()) }))
    }

    async fn update_user(
        &self,
        request: Request<booking::UpdateUserRequest>,
    ) -> Answer<booking::UpdateUserResponse> {
        let caller = |request: &booking::UpdateUserRequest| request.caller.clone();
        self.take("update_user", request, caller).await?;
        Ok(Response::new(booking::UpdateUserResponse { user: Some(the_user()) }))
    }

    async fn get_calendar(
        &self,
        request: Request<booking::GetCalendarRequest>,
    ) -> Answer<booking::GetCalendarResponse> {
        let caller = |request: &booking::GetCalendarRequest| request.caller.clone();
        self.take("get_calendar", request, caller).await?;
        Ok(Response::new(booking::GetCalendarResponse { calendar: "BEGIN:VCALENDAR\r\n".into() }))
    }

    async fn list_deliveries(
        &self,
        request: Request<booking::ListDeliveriesRequest>,
    ) -> Answer<booking::ListDeliveriesResponse> {
        let caller = |request: &booking::ListDeliveriesRequest| request.caller.clone();
        self.take("list_deliveries", request, caller).await?;
        let delivery = booking::Delivery {
            id: NOTIFICATION.into(),
            notification_id: NOTIFICATION.into(),
            kind: "booking_created".into(),
            channel: DeliveryChannel::Email.into(),
            state: DeliveryState::Dead.into(),
            attempts: 3,
            last_error: Some("550".into()),
            created_at: Some(at(0)),
            due_at: Some(at(0)),
            dead_at: Some(at(60)),
            ..booking::Delivery::default()
        };
        Ok(Response::new(booking::ListDeliveriesResponse { deliveries: vec![delivery], next_cursor: None }))
    }
}
