//! What handlers share: the clients of the services, and what the gateway keeps between requests. Who is believed
//! ([`believed`]) and how often one may ask ([`counted`]) is decided beside it.

use std::sync::{Arc, atomic::AtomicBool};

use chassis::{
    grpc::MESSAGE_LIMIT,
    service::{Runtime, StartError},
    signed::CalendarLinks,
    transport::Transport,
};
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
use tokio::sync::Semaphore;

use crate::{
    Peers, auth::Auth, config::HttpConfig, extract, intake::Intake, limits::Limiter, recordings::Links,
    shares::Shares, streams::Streams,
};

mod asker;
mod believed;
mod counted;

pub(crate) use self::{
    asker::Asker,
    believed::{Moderator, SignedIn},
    counted::{Address, Anybody, Welcome},
};

/// Cloned for each request: one reference count.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

struct Shared {
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
    streams: Streams,
    calendar_links: CalendarLinks,
    links: Links,
    auth: Auth,
    users: Limiter,
    addresses: Limiter,
    moderators: Limiter,
    ensurers: Limiter,
    diagnoses: Limiter,
    repairs: Limiter,
    webhooks: Intake,
    bodies: Semaphore,
    bodies_of_keys: Semaphore,
    bodies_of_one: Shares,
    /// `X-Forwarded-For` of a peer that is not trusted was logged.
    forwarded_noticed: AtomicBool,
    config: HttpConfig,
    runtime: Runtime,
}

impl App {
    pub(crate) fn start(config: &HttpConfig, peers: Peers, runtime: &Runtime) -> Result<Self, StartError> {
        if config.nip98.bases.is_empty() {
            tracing::warn!("API_URL and PUBLIC_URLS are not set: no signature of a Nostr client is believed");
        }
        let auth = Auth::start(config.auth.clone(), runtime)?;
        let sync = SyncServiceClient::new(peers.sync).max_decoding_message_size(MESSAGE_LIMIT);
        Ok(Self(Arc::new(Shared {
            booking: BookingServiceClient::new(peers.booking).max_decoding_message_size(MESSAGE_LIMIT),
            room: RoomServiceClient::new(peers.room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            live: LiveRoomServiceClient::new(peers.room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            admin: AdminServiceClient::new(peers.room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            diagnosis: DiagnosisServiceClient::new(peers.room.clone())
                .max_decoding_message_size(MESSAGE_LIMIT),
            moderation: ModerationServiceClient::new(peers.room.clone())
                .max_decoding_message_size(MESSAGE_LIMIT),
            seats: SeatServiceClient::new(peers.room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            nests: NestServiceClient::new(peers.room.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            recordings: RecordingServiceClient::new(peers.room).max_decoding_message_size(MESSAGE_LIMIT),
            token: TokenServiceClient::new(peers.token).max_decoding_message_size(MESSAGE_LIMIT),
            streams: Streams::start(&config.streams, sync, runtime),
            calendar_links: CalendarLinks::signed_with(&config.streams.link_secrets),
            links: Links::signed_with(&config.streams.link_secrets),
            auth,
            users: Limiter::new(config.rates.user),
            addresses: Limiter::new(config.rates.anonymous),
            moderators: Limiter::new(config.rates.moderation),
            ensurers: Limiter::new(config.rates.ensure),
            diagnoses: Limiter::new(config.rates.diagnosis),
            repairs: Limiter::new(config.rates.repair),
            webhooks: Intake::new(config.rates.anonymous),
            bodies: Semaphore::new(extract::BODIES),
            bodies_of_keys: Semaphore::new(extract::BODIES_OF_KEYS),
            bodies_of_one: Shares::of(extract::BODIES_OF_ONE),
            forwarded_noticed: AtomicBool::new(false),
            config: config.clone(),
            runtime: runtime.clone(),
        })))
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

    pub(crate) fn admin(&self) -> AdminServiceClient<Transport> {
        self.0.admin.clone()
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

    pub(crate) fn links(&self) -> &Links {
        &self.0.links
    }

    pub(crate) fn token(&self) -> TokenServiceClient<Transport> {
        self.0.token.clone()
    }

    pub(crate) fn diagnosis(&self) -> DiagnosisServiceClient<Transport> {
        self.0.diagnosis.clone()
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.0.streams
    }

    pub(crate) fn calendar_links(&self) -> &CalendarLinks {
        &self.0.calendar_links
    }

    /// Unix seconds of the clock that tokens are judged by.
    pub(crate) fn now(&self) -> i64 {
        self.0.config.auth.clock.now().unix_timestamp()
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    /// A path of ours as clients reach it.
    pub(crate) fn link(&self, path: &str) -> String {
        let base = self.0.config.api_url.as_deref().unwrap_or_default();
        format!("{base}{path}")
    }

    pub(crate) fn webhooks(&self) -> &Intake {
        &self.0.webhooks
    }

    /// Places for bodies that are not small, of people who have signed in.
    pub(crate) fn bodies(&self) -> &Semaphore {
        &self.0.bodies
    }

    /// The same for Nostr keys: anybody has as many as he likes, and must not take the others' places.
    pub(crate) fn bodies_of_keys(&self) -> &Semaphore {
        &self.0.bodies_of_keys
    }
}
