//! Seats in the live room: all participants except the host wait.

use domain::{LobbyStatus, SeatRole};
use proto::room::v1::{self as room, seat_service_server::SeatService};
use tonic::{Request, Response};

use super::{Answer, Fake, LIVE_SESSION, at};

pub(super) fn seat(role: SeatRole, lobby_status: LobbyStatus) -> room::Seat {
    room::Seat { role: role.into(), lobby_status: lobby_status.into() }
}

#[tonic::async_trait]
impl SeatService for Fake {
    async fn join(&self, request: Request<room::SeatRequest>) -> Answer<room::JoinResponse> {
        let (_, caller) = self.take("join", request, |request| request.caller.clone()).await?;
        let seat = if caller.user_id == "host-1" {
            seat(SeatRole::Host, LobbyStatus::Admitted)
        } else {
            seat(SeatRole::Guest, LobbyStatus::Waiting)
        };
        Ok(Response::new(room::JoinResponse { seat: Some(seat), session_id: LIVE_SESSION.into() }))
    }

    async fn leave(&self, request: Request<room::SeatRequest>) -> Answer<room::SeatResponse> {
        self.take("leave", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::SeatResponse { seat: None }))
    }

    async fn disconnect(&self, request: Request<room::SeatRequest>) -> Answer<room::SeatResponse> {
        self.take("disconnect", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::SeatResponse { seat: Some(seat(SeatRole::Guest, LobbyStatus::Admitted)) }))
    }

    async fn list_lobby(&self, request: Request<room::ListLobbyRequest>) -> Answer<room::ListLobbyResponse> {
        self.take("list_lobby", request, |request| request.caller.clone()).await?;
        let waiting = room::Waiting {
            user_id: "guest-1".into(),
            name: "Gus".into(),
            avatar_url: None,
            waiting_since: Some(at(0)),
        };
        Ok(Response::new(room::ListLobbyResponse { waiting: vec![waiting], next_cursor: None }))
    }

    async fn admit(&self, request: Request<room::AdmitRequest>) -> Answer<room::SeatResponse> {
        self.take("admit", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::SeatResponse { seat: Some(seat(SeatRole::Guest, LobbyStatus::Admitted)) }))
    }

    async fn admit_all(&self, request: Request<room::SeatRequest>) -> Answer<room::AdmitAllResponse> {
        self.take("admit_all", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::AdmitAllResponse { admitted: 3, still_waiting: 1 }))
    }

    async fn reject(&self, request: Request<room::AdmitRequest>) -> Answer<room::SeatResponse> {
        self.take("reject", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::SeatResponse { seat: Some(seat(SeatRole::Guest, LobbyStatus::Rejected)) }))
    }
}
