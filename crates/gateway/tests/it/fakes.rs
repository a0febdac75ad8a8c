//! One booking between `host-1` and `guest-1`, and three services that know it: they record every call, decide by
//! who asks, and do as they are told.

use std::{fmt::Debug, sync::Arc};

use chassis::status::Refusal;
use parking_lot::Mutex;
use proto::{
    booking::v1::{self as booking, booking_service_server::BookingService},
    room::v1::{self as room, room_service_server::RoomService},
    token::v1::{self as token, token_service_server::TokenService},
    types::v1::Caller,
};
use tonic::{Request, Response, Status, metadata::MetadataMap};

pub const SESSION: &str = "0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e01";
pub const NOTIFICATION: &str = "0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e02";

/// What the services do with the next calls.
#[derive(Clone, Default)]
pub enum Mood {
    /// Answer those who may.
    #[default]
    Well,
    Refuse(Refusal),
    /// Fail without a reason of ours.
    Fail(Status),
    Panic,
    Hang,
}

#[derive(Clone)]
pub struct Call {
    pub method: &'static str,
    pub caller: Option<Caller>,
    pub metadata: MetadataMap,
    /// The request as `Debug` writes it.
    pub request: String,
}

#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<(Mood, Vec<Call>)>>);

impl Fake {
    pub fn set(&self, mood: Mood) {
        self.0.lock().0 = mood;
    }

    pub fn calls(&self) -> Vec<Call> {
        self.0.lock().1.clone()
    }

    pub fn last(&self) -> Call {
        self.calls().pop().expect("a call")
    }

    async fn take<R: Debug>(
        &self,
        method: &'static str,
        request: Request<R>,
        caller: impl FnOnce(&R) -> Option<Caller>,
    ) -> Result<(R, Caller), Status> {
        let metadata = request.metadata().clone();
        let request = request.into_inner();
        let caller = caller(&request);
        let mood = {
            let mut inner = self.0.lock();
            inner.1.push(Call { method, caller: caller.clone(), metadata, request: format!("{request:?}") });
            inner.0.clone()
        };
        match mood {
            Mood::Well => {}
            Mood::Refuse(refusal) => return Err(refusal.into()),
            Mood::Fail(status) => return Err(status),
            Mood::Panic => panic!("on purpose"),
            Mood::Hang => std::future::pending().await,
        }
        let caller = caller.unwrap_or_default();
        Ok((request, caller))
    }
}

fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: 1_800_000_000 + seconds, nanos: 0 }
}

fn the_booking() -> booking::Booking {
    let person = |id: &str, name: &str| {
        Some(booking::Person { id: id.into(), name: name.into(), avatar_url: String::new() })
    };
    booking::Booking {
        id: SESSION.into(),
        title: "Algebra".into(),
        status: "in_progress".into(),
        scheduled_at: Some(at(0)),
        duration_minutes: 60,
        opens_at: Some(at(-900)),
        closes_at: Some(at(7200)),
        meeting_url: format!("http://app.test/meeting/{SESSION}"),
        host: person("host-1", "Hanna"),
        guest: person("guest-1", "Gus"),
        room: Some(booking::Room {
            status: "pending".into(),
            room_name: format!("session-{SESSION}"),
            room_sid: String::new(),
        }),
        created_at: Some(at(-90_000)),
        updated_at: Some(at(-80_000)),
        ..booking::Booking::default()
    }
}

fn the_notification() -> booking::Notification {
    booking::Notification {
        id: NOTIFICATION.into(),
        kind: "booking_created".into(),
        payload_json: r#"{"bookingId":"x"}"#.into(),
        created_at: Some(at(0)),
        read_at: None,
    }
}

fn the_room() -> room::Room {
    room::Room {
        id: SESSION.into(),
        status: "active".into(),
        room_name: format!("session-{SESSION}"),
        room_sid: "RM_x".into(),
        generation: 1,
        confirmed_at: Some(at(0)),
    }
}

type Answer<T> = Result<Response<T>, Status>;

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
            next_cursor: "more".into(),
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
            next_cursor: String::new(),
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
}

#[tonic::async_trait]
impl RoomService for Fake {
    async fn create_room(
        &self,
        request: Request<room::CreateRoomRequest>,
    ) -> Answer<room::CreateRoomResponse> {
        let caller = |request: &room::CreateRoomRequest| request.caller.clone();
        self.take("create_room", request, caller).await?;
        Ok(Response::new(room::CreateRoomResponse {
            room: Some(the_room()),
            meeting_url: "http://app.test/meeting".into(),
        }))
    }

    async fn ensure_room(&self, _: Request<room::EnsureRoomRequest>) -> Answer<room::EnsureRoomResponse> {
        Err(Status::unimplemented("not the gateway's"))
    }

    async fn end_room(&self, _: Request<room::EndRoomRequest>) -> Answer<room::EndRoomResponse> {
        Err(Status::unimplemented("not the gateway's"))
    }

    async fn retime_room(&self, _: Request<room::RetimeRoomRequest>) -> Answer<room::RetimeRoomResponse> {
        Err(Status::unimplemented("not the gateway's"))
    }

    async fn get_session_status(
        &self,
        request: Request<room::GetSessionStatusRequest>,
    ) -> Answer<room::GetSessionStatusResponse> {
        let caller = |request: &room::GetSessionStatusRequest| request.caller.clone();
        self.take("get_session_status", request, caller).await?;
        Ok(Response::new(room::GetSessionStatusResponse {
            session_id: SESSION.into(),
            session_status: "scheduled".into(),
            opens_at: Some(at(-900)),
            closes_at: Some(at(7200)),
            room: Some(the_room()),
            participants: vec![room::Participant {
                user_id: "host-1".into(),
                name: "Hanna".into(),
                role: "host".into(),
                status: "joined".into(),
                joined_at: Some(at(0)),
                left_at: None,
            }],
        }))
    }

    async fn kick_participant(
        &self,
        request: Request<room::KickParticipantRequest>,
    ) -> Answer<room::KickParticipantResponse> {
        let caller = |request: &room::KickParticipantRequest| request.caller.clone();
        self.take("kick_participant", request, caller).await?;
        Ok(Response::new(room::KickParticipantResponse {}))
    }

    async fn receive_webhook(
        &self,
        request: Request<room::ReceiveWebhookRequest>,
    ) -> Answer<room::ReceiveWebhookResponse> {
        let caller = |_: &room::ReceiveWebhookRequest| None;
        self.take("receive_webhook", request, caller).await?;
        Ok(Response::new(room::ReceiveWebhookResponse {}))
    }
}

#[tonic::async_trait]
impl TokenService for Fake {
    async fn issue_for_session(
        &self,
        request: Request<token::IssueForSessionRequest>,
    ) -> Answer<token::IssueForSessionResponse> {
        let caller = |request: &token::IssueForSessionRequest| request.caller.clone();
        let (_, caller) = self.take("issue_for_session", request, caller).await?;
        let is_host = caller.user_id == "host-1";
        Ok(Response::new(token::IssueForSessionResponse {
            token: "livekit.token".into(),
            ws_url: "ws://livekit.test".into(),
            room_name: format!("session-{SESSION}"),
            identity: caller.user_id,
            participant_name: caller.name,
            role: if is_host { "host" } else { "guest" }.into(),
            can_record: is_host,
            expires_at: Some(at(3600)),
            title: "Algebra".into(),
            scheduled_at: Some(at(0)),
            opens_at: Some(at(-900)),
            closes_at: Some(at(7200)),
            other_participant: Some(token::Person {
                id: "guest-1".into(),
                name: "Gus".into(),
                avatar_url: String::new(),
            }),
        }))
    }

    async fn issue_for_live_room(
        &self,
        _: Request<token::IssueForLiveRoomRequest>,
    ) -> Answer<token::IssueForLiveRoomResponse> {
        Err(Status::unimplemented("not played yet"))
    }
}
