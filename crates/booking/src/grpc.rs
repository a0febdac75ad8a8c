//! The gRPC interface: each call checks its request, does its work and answers with the current row.

use std::{future::Future, pin::Pin, time::Duration};

use chassis::{
    grpc::{caller, moment, page_request, uuid},
    status::{Fields, Refusal},
};
use domain::{
    SessionId,
    page::{Cursor, fetch_limit, page},
};
use prost_types::Timestamp;
use proto::{
    booking::v1::{self as pb, booking_service_server::BookingService},
    types::v1::Caller,
};
use tonic::{Request, Response, Status};

use crate::{
    bookings::Bookings,
    calendar::Entry,
    convert,
    error::Error,
    policy::may_start,
    request::{self, Change},
    store::{self, Booking},
};

/// The timeout of a write. It applies also after the client disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

impl Bookings {
    /// Adds the start to a refusal of other fields if it is out of range by the database's clock, so that a refusal
    /// lists all invalid fields. If the database does not answer, the refusal stays without it.
    async fn with_start(&self, refusal: Refusal, start: Option<&Timestamp>) -> Refusal {
        let Ok(Some(start)) = moment("scheduledAt", start) else { return refusal };
        match store::find_now(&self.pool).await {
            Ok(now) if !may_start(start, now) => refusal.and(Error::StartOutOfRange { now }.into()),
            Ok(_) | Err(_) => refusal,
        }
    }

    /// As [`Self::with_start`], for a booking that would get another start.
    async fn with_new_start(
        &self,
        refusal: Refusal,
        caller: &Caller,
        id: SessionId,
        change: &Change,
    ) -> Refusal {
        let Some(start) = change.scheduled_at else { return refusal };
        match self.load_for_party(caller, id).await {
            Ok(Booking { scheduled_at, now, .. }) if start != scheduled_at && !may_start(start, now) => {
                refusal.and(Error::StartOutOfRange { now }.into())
            }
            Ok(_) | Err(_) => refusal,
        }
    }

    /// Runs a write as a detached task, so that a client that disconnects does not cancel it.
    async fn run_write(
        &self,
        name: &'static str,
        work: Pin<Box<impl Future<Output = Result<Booking, Error>> + Send + 'static>>,
    ) -> Result<Option<pb::Booking>, Error> {
        let booking = self.lifecycle.run_detached(name, WRITE_TIMEOUT, work).await??;
        Ok(Some(convert::booking(booking)))
    }
}

#[tonic::async_trait]
impl BookingService for Bookings {
    async fn create_booking(
        &self,
        request: Request<pb::CreateBookingRequest>,
    ) -> Result<Response<pb::CreateBookingResponse>, Status> {
        let request = request.into_inner();
        let start = request.scheduled_at;
        let new = match request::new_booking(request, self.policy) {
            Err(Error::Request(refusal)) => {
                return Err(self.with_start(refusal, start.as_ref()).await.into());
            }
            checked => checked?,
        };
        let booking = self.run_write("create_booking", Box::pin(self.clone().create(new))).await?;
        Ok(Response::new(pb::CreateBookingResponse { booking }))
    }

    async fn get_booking(
        &self,
        request: Request<pb::GetBookingRequest>,
    ) -> Result<Response<pb::GetBookingResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let id = uuid("booking_id", &request.booking_id)?;
        let booking = Some(convert::booking(self.load_for_party(&caller, id).await?));
        self.store_address(&caller).await;
        Ok(Response::new(pb::GetBookingResponse { booking }))
    }

    async fn list_bookings(
        &self,
        request: Request<pb::ListBookingsRequest>,
    ) -> Result<Response<pb::ListBookingsResponse>, Status> {
        let mut request = request.into_inner();
        let caller = caller(request.caller.take())?;
        let (limit, filter) = request::page(&request)?;
        let rows = store::list_bookings(&self.pool, &caller.user_id, &filter, fetch_limit(limit)).await;
        let (rows, next_cursor) =
            page(rows.map_err(Error::from)?, limit, |row| Cursor { at: row.scheduled_at, id: row.id.0 });
        let bookings = rows.into_iter().map(convert::booking).collect();
        self.store_address(&caller).await;
        Ok(Response::new(pb::ListBookingsResponse { bookings, next_cursor }))
    }

    async fn reschedule_booking(
        &self,
        request: Request<pb::RescheduleBookingRequest>,
    ) -> Result<Response<pb::RescheduleBookingResponse>, Status> {
        let mut request = request.into_inner();
        let caller = caller(request.caller.take())?;
        let mut fields = Fields::default();
        let id = fields.check(uuid("booking_id", &request.booking_id));
        let change = Change::check(&mut fields, &request);
        if let Err(refusal) = fields.finish() {
            return Err(self.with_new_start(refusal, &caller, id, &change).await.into());
        }
        let work = Box::pin(self.clone().reschedule(caller, id, change));
        let booking = self.run_write("reschedule_booking", work).await?;
        Ok(Response::new(pb::RescheduleBookingResponse { booking }))
    }

    async fn cancel_booking(
        &self,
        request: Request<pb::CancelBookingRequest>,
    ) -> Result<Response<pb::CancelBookingResponse>, Status> {
        let mut request = request.into_inner();
        let caller = caller(request.caller.take())?;
        let (id, reason) = request::cancellation(&request)?;
        let work = Box::pin(self.clone().cancel(caller, id, reason));
        let booking = self.run_write("cancel_booking", work).await?;
        Ok(Response::new(pb::CancelBookingResponse { booking }))
    }

    async fn end_booking(
        &self,
        request: Request<pb::EndBookingRequest>,
    ) -> Result<Response<pb::EndBookingResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let id = uuid("booking_id", &request.booking_id)?;
        let booking = self.run_write("end_booking", Box::pin(self.clone().end(caller, id))).await?;
        Ok(Response::new(pb::EndBookingResponse { booking }))
    }

    async fn list_notifications(
        &self,
        request: Request<pb::ListNotificationsRequest>,
    ) -> Result<Response<pb::ListNotificationsResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let (limit, after) = page_request(request.limit, request.cursor.as_deref())?;
        let rows = store::list_notifications(&self.pool, &caller.user_id, after, fetch_limit(limit)).await;
        let (rows, next_cursor) =
            page(rows.map_err(Error::from)?, limit, |row| Cursor { at: row.created_at, id: row.id });
        let notifications = rows.into_iter().filter_map(convert::notification).collect();
        self.store_address(&caller).await;
        Ok(Response::new(pb::ListNotificationsResponse { notifications, next_cursor }))
    }

    async fn mark_notification_read(
        &self,
        request: Request<pb::MarkNotificationReadRequest>,
    ) -> Result<Response<pb::MarkNotificationReadResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let id = uuid("notificationId", &request.notification_id)?;
        let row = store::mark_notification_read(&self.pool, id, &caller.user_id)
            .await
            .map_err(Error::from)?
            .ok_or(Error::NotificationNotFound)?;
        let notification = convert::notification(row).ok_or(Error::NotificationNotFound)?;
        Ok(Response::new(pb::MarkNotificationReadResponse { notification: Some(notification) }))
    }

    async fn get_calendar(
        &self,
        request: Request<pb::GetCalendarRequest>,
    ) -> Result<Response<pb::GetCalendarResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let id = uuid("booking_id", &request.booking_id)?;
        let booking = self.load_for_party(&caller, id).await?;
        if request.link_version.is_some_and(|version| version != booking.link_version) {
            return Err(Error::LinkWithdrawn.into());
        }
        let calendar = Entry::of(&booking, self.organizer.as_deref()).file();
        Ok(Response::new(pb::GetCalendarResponse { calendar }))
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserRequest>,
    ) -> Result<Response<pb::GetUserResponse>, Status> {
        let caller = caller(request.into_inner().caller)?;
        self.store_address(&caller).await;
        let user = Some(self.user(&caller).await?);
        Ok(Response::new(pb::GetUserResponse { user }))
    }

    async fn update_user(
        &self,
        request: Request<pb::UpdateUserRequest>,
    ) -> Result<Response<pb::UpdateUserResponse>, Status> {
        let mut request = request.into_inner();
        let caller = caller(request.caller.take())?;
        let (locale, time_zone) = request::preferences(&request)?;
        self.store_address(&caller).await;
        let user = Some(self.set_preferences(&caller, locale.as_deref(), time_zone.as_deref()).await?);
        Ok(Response::new(pb::UpdateUserResponse { user }))
    }

    async fn list_deliveries(
        &self,
        request: Request<pb::ListDeliveriesRequest>,
    ) -> Result<Response<pb::ListDeliveriesResponse>, Status> {
        let mut request = request.into_inner();
        if !caller(request.caller.take())?.is_privileged() {
            return Err(Error::AdminsOnly.into());
        }
        let (limit, after, state) = request::deliveries(&request)?;
        let rows = store::list_deliveries(&self.pool, state, after, fetch_limit(limit)).await;
        let (rows, next_cursor) =
            page(rows.map_err(Error::from)?, limit, |row| Cursor { at: row.created_at, id: row.id });
        let deliveries = rows.into_iter().map(|row| convert::delivery(row, state)).collect();
        Ok(Response::new(pb::ListDeliveriesResponse { deliveries, next_cursor }))
    }
}
