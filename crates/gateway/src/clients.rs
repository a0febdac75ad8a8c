//! The gRPC clients of the services behind the gateway.

use std::sync::Arc;

use chassis::{grpc::MESSAGE_LIMIT, transport::Transport};
use proto::{
    booking::v1::booking_service_client::BookingServiceClient,
    room::v1::{
        admin_service_client::AdminServiceClient, diagnosis_service_client::DiagnosisServiceClient,
        live_room_service_client::LiveRoomServiceClient, moderation_service_client::ModerationServiceClient,
        nest_service_client::NestServiceClient, recording_service_client::RecordingServiceClient,
        room_service_client::RoomServiceClient, seat_service_client::SeatServiceClient,
    },
    sync::v1::sync_service_client::SyncServiceClient,
    token::v1::token_service_client::TokenServiceClient,
};
use tonic::transport::Endpoint;

use crate::config::Config;

/// The services behind the gateway.
#[derive(Clone)]
pub struct Peers {
    pub booking: Transport,
    pub room: Transport,
    pub token: Transport,
    pub sync: Transport,
}

impl Peers {
    /// Opens channels to the addresses of the settings.
    #[must_use]
    pub fn at(config: &Config) -> Self {
        let to = |endpoint: &Endpoint| Transport::to(endpoint.clone(), &config.internal.tokens);
        Self {
            booking: to(&config.peers.booking),
            room: to(&config.peers.room),
            token: to(&config.peers.token),
            sync: to(&config.peers.sync),
        }
    }
}

/// One client for each gRPC service. A clone costs one reference count.
#[derive(Clone)]
pub(crate) struct Clients(Arc<Each>);

struct Each {
    booking: BookingServiceClient<Transport>,
    room: RoomServiceClient<Transport>,
    live: LiveRoomServiceClient<Transport>,
    seats: SeatServiceClient<Transport>,
    moderation: ModerationServiceClient<Transport>,
    nests: NestServiceClient<Transport>,
    recordings: RecordingServiceClient<Transport>,
    token: TokenServiceClient<Transport>,
    diagnosis: DiagnosisServiceClient<Transport>,
    admin: AdminServiceClient<Transport>,
    sync: SyncServiceClient<Transport>,
}

impl Clients {
    pub(crate) fn new(peers: Peers) -> Self {
        let Peers { booking, room, token, sync } = peers;
        Self(Arc::new(Each {
            booking: BookingServiceClient::new(booking).max_decoding_message_size(MESSAGE_LIMIT),
            room: RoomServiceClient::new(room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            live: LiveRoomServiceClient::new(room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            seats: SeatServiceClient::new(room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            moderation: ModerationServiceClient::new(room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            nests: NestServiceClient::new(room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            diagnosis: DiagnosisServiceClient::new(room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            admin: AdminServiceClient::new(room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            recordings: RecordingServiceClient::new(room).max_decoding_message_size(MESSAGE_LIMIT),
            token: TokenServiceClient::new(token).max_decoding_message_size(MESSAGE_LIMIT),
            sync: SyncServiceClient::new(sync).max_decoding_message_size(MESSAGE_LIMIT),
        }))
    }

    pub(crate) fn booking(&self) -> BookingServiceClient<Transport> {
        self.0.booking.clone()
    }

    pub(crate) fn room(&self) -> RoomServiceClient<Transport> {
        self.0.room.clone()
    }

    pub(crate) fn live(&self) -> LiveRoomServiceClient<Transport> {
        self.0.live.clone()
    }

    pub(crate) fn seats(&self) -> SeatServiceClient<Transport> {
        self.0.seats.clone()
    }

    pub(crate) fn moderation(&self) -> ModerationServiceClient<Transport> {
        self.0.moderation.clone()
    }

    pub(crate) fn nests(&self) -> NestServiceClient<Transport> {
        self.0.nests.clone()
    }

    pub(crate) fn recordings(&self) -> RecordingServiceClient<Transport> {
        self.0.recordings.clone()
    }

    pub(crate) fn token(&self) -> TokenServiceClient<Transport> {
        self.0.token.clone()
    }

    pub(crate) fn diagnosis(&self) -> DiagnosisServiceClient<Transport> {
        self.0.diagnosis.clone()
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Transport> {
        self.0.admin.clone()
    }

    pub(crate) fn sync(&self) -> SyncServiceClient<Transport> {
        self.0.sync.clone()
    }
}
