//! Moderation of the live room.

use domain::{LobbyStatus, SeatRole};
use proto::room::v1::{self as room, moderation_service_server::ModerationService};
use tonic::{Request, Response};

use super::{Answer, Fake, at, seats::seat};

#[tonic::async_trait]
impl ModerationService for Fake {
    async fn promote(&self, request: Request<room::ModerateRequest>) -> Answer<room::SeatResponse> {
        self.take("promote", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::SeatResponse { seat: Some(seat(SeatRole::Speaker, LobbyStatus::Admitted)) }))
    }

    async fn demote(&self, request: Request<room::ModerateRequest>) -> Answer<room::SeatResponse> {
        self.take("demote", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::SeatResponse { seat: Some(seat(SeatRole::Guest, LobbyStatus::Admitted)) }))
    }

    async fn mute(&self, request: Request<room::MuteRequest>) -> Answer<room::MuteResponse> {
        self.take("mute", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::MuteResponse { changed: true }))
    }

    async fn kick(&self, request: Request<room::ModerateRequest>) -> Answer<room::KickResponse> {
        self.take("kick", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::KickResponse {}))
    }

    async fn ban(&self, request: Request<room::BanRequest>) -> Answer<room::BanResponse> {
        self.take("ban", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::BanResponse {}))
    }

    async fn unban(&self, request: Request<room::ModerateRequest>) -> Answer<room::BanResponse> {
        self.take("unban", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::BanResponse {}))
    }

    async fn raise_hand(&self, request: Request<room::RaiseHandRequest>) -> Answer<room::SeatResponse> {
        self.take("raise_hand", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::SeatResponse { seat: Some(seat(SeatRole::Guest, LobbyStatus::Admitted)) }))
    }

    async fn get_summary(
        &self,
        request: Request<room::GetSummaryRequest>,
    ) -> Answer<room::GetSummaryResponse> {
        self.take("get_summary", request, |request| request.caller.clone()).await?;
        let gus = room::SeatedPerson {
            user_id: "guest-1".into(),
            name: "Gus".into(),
            role: SeatRole::Guest.into(),
            lobby_status: LobbyStatus::Admitted.into(),
            in_room: true,
            joined_at: Some(at(0)),
            hand_raised_at: Some(at(60)),
            ..room::SeatedPerson::default()
        };
        Ok(Response::new(room::GetSummaryResponse {
            room: Some(super::live::the_room()),
            session: Some(super::live::the_session()),
            counts: Some(room::Counts {
                lobby_waiting: 2,
                in_room: 1,
                max_participants: 100,
                host_present: true,
            }),
            peak_viewers: 5,
            hands_raised: 1,
            people: vec![gus],
            next_cursor: Some("more".into()),
        }))
    }
}
