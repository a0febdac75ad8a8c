//! What handlers share: the clients of the services, who is believed, and how often one may ask.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::FromRequestParts;
use chassis::{
    grpc::MESSAGE_LIMIT,
    service::{Runtime, StartError},
    signed::CalendarLinks,
    status::{Reason, Refusal},
    transport::Transport,
};
use http::request::Parts;
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
    types::v1::Caller,
};
use tokio::sync::Semaphore;

use crate::{
    Peers,
    auth::{self, Auth, Refused},
    config::HttpConfig,
    error::Rejection,
    extract,
    intake::Intake,
    limits::Limiter,
    nostr::{self, nip98::Verified},
    recordings::Links,
    streams::Streams,
};

mod asker;

pub(crate) use asker::Asker;

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

    /// One more look at LiveKit that this person asks for.
    pub(crate) fn look_again(&self, caller: &Caller) -> Result<(), Rejection> {
        self.0.ensurers.take(&caller.user_id, Instant::now()).map_err(too_often)
    }

    pub(crate) fn client_address(&self, parts: &Parts) -> IpAddr {
        self.0.config.trusted_proxies.client(&parts.extensions, &parts.headers)
    }

    /// Counts a request of nobody in particular against its address.
    pub(crate) fn count_address(&self, parts: &Parts) -> Result<(), Rejection> {
        self.count_at(self.client_address(parts))
    }

    pub(crate) fn count_at(&self, address: IpAddr) -> Result<(), Rejection> {
        self.0.addresses.take(address, Instant::now()).map_err(too_often)
    }

    fn count_person(&self, caller: Caller) -> Result<Caller, Rejection> {
        let taken = self.0.users.take(&caller.user_id, Instant::now());
        taken.map(|()| caller).map_err(too_often)
    }

    fn refuse(&self, parts: &Parts, reason: &'static str, why: &'static str) -> Rejection {
        if let Err(too_often) = self.count_address(parts) {
            return too_often;
        }
        metrics::counter!("greenroom_sign_ins_refused_total", "reason" => reason).increment(1);
        Refusal::new(Reason::Unauthenticated, why).into()
    }

    /// Whose key signed this request.
    pub(crate) fn verify_signed(&self, parts: &Parts) -> Result<Verified, Rejection> {
        match nostr::judge(parts, &self.0.config.nip98, self.now()) {
            Ok(verified) => {
                // A key of its own: a `sub` may look like a public key.
                let taken = self.0.users.take(("nostr", &verified.public_key), Instant::now());
                taken.map(|()| verified).map_err(too_often)
            }
            Err(refused) => {
                self.count_address(parts)?;
                Err(nostr::unauthenticated(refused))
            }
        }
    }

    /// One more change that a key wants: counted beside those of people, whose `sub` may look like a key.
    pub(crate) fn count_moderation(&self, public_key: &str) -> Result<(), Rejection> {
        self.0.moderators.take(("nostr", public_key), Instant::now()).map_err(too_often)
    }

    /// The person of a ticket or a link (`what`); none: it is not good, and `why` says so.
    pub(crate) fn believe(
        &self,
        bearer: Option<Caller>,
        parts: &Parts,
        what: &'static str,
        why: &'static str,
    ) -> Result<Caller, Rejection> {
        match bearer {
            Some(caller) => self.count_person(caller),
            None => Err(self.refuse(parts, what, why)),
        }
    }

    /// Whoever has a link is nobody in particular; a bad one counts as a failed sign-in.
    pub(crate) fn believe_link(&self, is_good: bool, parts: &Parts) -> Result<(), Rejection> {
        if is_good {
            return self.count_address(parts);
        }
        Err(self.refuse(parts, "link", "The link is not good, or not any more; read the recording again."))
    }

    pub(crate) async fn sign_in(&self, parts: &Parts) -> Result<Caller, Rejection> {
        let verified = match auth::bearer(&parts.headers) {
            Ok(token) => self.0.auth.verify(token).await,
            Err(refused) => Err(refused),
        };
        match verified {
            Ok(caller) => self.count_person(caller),
            Err(Refused::NoKeys) => Err(Refusal::unavailable(Reason::ServiceUnavailable, 2).into()),
            Err(refused) => Err(self.refuse(parts, reason(refused), unauthenticated(refused))),
        }
    }
}

fn unauthenticated(refused: Refused) -> &'static str {
    match refused {
        Refused::Missing => "Send a token as `Authorization: Bearer …`.",
        Refused::Expired => "The token has expired; sign in again.",
        Refused::NotYetValid => "The token is not valid yet; the clocks may be apart.",
        Refused::Malformed
        | Refused::UnknownKey
        | Refused::Signature
        | Refused::Issuer
        | Refused::Audience
        | Refused::Subject
        | Refused::NoKeys => "The token is not accepted here; sign in again.",
    }
}

fn reason(refused: Refused) -> &'static str {
    match refused {
        Refused::Missing => "missing",
        Refused::Malformed => "malformed",
        Refused::UnknownKey => "unknown_key",
        Refused::Signature => "signature",
        Refused::Issuer => "issuer",
        Refused::Audience => "audience",
        Refused::Expired => "expired",
        Refused::NotYetValid => "not_yet_valid",
        Refused::Subject => "subject",
        Refused::NoKeys => "no_keys",
    }
}

fn too_often(missing: Duration) -> Rejection {
    let seconds = missing.as_secs() + u64::from(missing.subsec_nanos() > 0);
    Refusal::new(Reason::RateLimited, "Too many requests; wait a moment before the next one.")
        .with("retry_after", seconds.max(1).to_string())
        .into()
}

/// The person of a verified token. A request without one counts against its address.
pub(crate) struct SignedIn(pub(crate) Caller);

impl FromRequestParts<App> for SignedIn {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        app.sign_in(parts).await.map(Self)
    }
}

/// A person about to moderate: far fewer requests per second.
pub(crate) struct Moderator(pub(crate) Caller);

impl FromRequestParts<App> for Moderator {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        let caller = app.sign_in(parts).await?;
        let taken = app.0.moderators.take(&caller.user_id, Instant::now());
        taken.map(|()| Self(caller)).map_err(too_often)
    }
}

/// Anybody, counted by address.
pub(crate) struct Anybody;

impl FromRequestParts<App> for Anybody {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        app.count_address(parts).map(|()| Self)
    }
}

/// Where a request comes from, which costs nothing yet.
pub(crate) struct Address(pub(crate) IpAddr);

impl FromRequestParts<App> for Address {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        Ok(Self(app.client_address(parts)))
    }
}

/// An address that has a request left, looked at before anything that costs us more; nothing is counted.
pub(crate) struct Welcome;

impl FromRequestParts<App> for Welcome {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        let address = app.client_address(parts);
        app.0.addresses.has(address, Instant::now()).map(|()| Self).map_err(too_often)
    }
}
