//! The one place that calls LiveKit, through livekit-api (except [`listing`] and [`probe`]).
//!
//! It defines what a failure means. `NotFound` is LiveKit's own answer. Any other failure is *unknown*: an error or a
//! timeout never means absence, and a failed call may have had its effect. There are several clients, because the
//! crate has one timeout for each client. Reads have 2 s, and writes 4 s: LiveKit waits 3.00 s for a node before it
//! answers with an error. Recorders have longer ([`egress`]). Some answers of LiveKit are wrong: see [`deletion`].

mod deletion;
pub mod egress;
mod failure;
pub mod listing;
pub mod probe;
mod signal;
mod twirp;

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chassis::{config, telemetry};
use domain::Source;
use futures::FutureExt;
use livekit_api::services::{
    egress::EgressClient,
    room::{CreateRoomOptions, RoomClient, UpdateParticipantOptions},
};
use livekit_protocol::{ParticipantInfo, ParticipantPermission, Room, TrackSource, participant_info};
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use tracing::{Instrument, Span, field};

pub use self::failure::{LiveKitError, reason};
use crate::lanes;

const READ_TIMEOUT: Duration = Duration::from_secs(2);
const WRITE_TIMEOUT: Duration = Duration::from_secs(4);

/// The options to create a room with. Times in whole seconds.
#[derive(Clone, Debug)]
pub struct RoomOptions {
    pub name: String,
    pub metadata: String,
    pub max_participants: u32,
    /// Both of LiveKit's timers. They are a safety net: passes delete rooms.
    pub timeout: u32,
}

#[derive(Clone, Debug)]
pub struct LiveKit {
    read: Arc<RoomClient>,
    write: Arc<RoomClient>,
    egress: Arc<EgressClient>,
    egress_start: Arc<EgressClient>,
    egress_read: Arc<EgressClient>,
    lister: listing::Lister,
    prober: twirp::Twirp,
    probes: Arc<Semaphore>,
    signal: signal::Signal,
    may_delete: Arc<AtomicBool>,
}

impl LiveKit {
    pub fn new(config: &config::LiveKit) -> reqwest::Result<Self> {
        let secret = config.api_secret.expose_secret();
        let rooms = |timeout| {
            let client = RoomClient::with_api_key(&config.url, &config.api_key, secret);
            Arc::new(client.with_failover(false).with_request_timeout(timeout))
        };
        let recorders = |timeout| {
            let client = EgressClient::with_api_key(&config.url, &config.api_key, secret);
            Arc::new(client.with_failover(false).with_request_timeout(timeout))
        };
        Ok(Self {
            read: rooms(READ_TIMEOUT),
            write: rooms(WRITE_TIMEOUT),
            egress: recorders(egress::WRITE_TIMEOUT),
            egress_start: recorders(egress::START_TIMEOUT),
            egress_read: recorders(READ_TIMEOUT),
            lister: listing::Lister::new(config, READ_TIMEOUT)?,
            prober: twirp::Twirp::new(config, probe::TIMEOUT)?,
            probes: Arc::new(Semaphore::new(probe::AT_ONCE)),
            signal: signal::Signal::new(config, deletion::ATTEMPT_TIMEOUT)?,
            may_delete: Arc::new(AtomicBool::new(false)),
        })
    }

    pub(crate) fn may_delete(&self) -> bool {
        self.may_delete.load(Ordering::Relaxed)
    }

    /// Turns deletion on or off. It is off until the deployment was checked.
    pub fn allow_deletion(&self, allowed: bool) {
        self.may_delete.store(allowed, Ordering::Relaxed);
        metrics::gauge!("greenroom_livekit_deletion_allowed").set(if allowed { 1.0 } else { 0.0 });
    }

    /// Creates a room, or returns the existing one of this name unchanged. Idempotent (livekit.md §1.3).
    pub async fn create_room(&self, room_options: RoomOptions) -> Result<Room, LiveKitError> {
        let options = CreateRoomOptions {
            empty_timeout: room_options.timeout,
            departure_timeout: room_options.timeout,
            max_participants: room_options.max_participants,
            metadata: room_options.metadata,
            ..CreateRoomOptions::default()
        };
        self.call("CreateRoom", Box::pin(self.write.create_room(&room_options.name, options))).await
    }

    /// Whether LiveKit answers and accepts our key.
    pub async fn check(&self) -> Result<(), LiveKitError> {
        timed("ListRooms", Box::pin(self.lister.check())).await
    }

    /// Makes a call through livekit-api. The crate hides the HTTP status of an answer that is not Twirp's: a call of
    /// our own then finds out whether LiveKit refuses our key.
    async fn call<T, E>(
        &self,
        method: &'static str,
        call: Pin<Box<impl Future<Output = Result<T, E>>>>,
    ) -> Result<T, LiveKitError>
    where
        LiveKitError: From<E>,
    {
        let named = async {
            match call.await.map_err(LiveKitError::from) {
                Err(unreadable @ LiveKitError::Unreadable(_)) => match Box::pin(self.lister.check()).await {
                    Err(refused @ LiveKitError::KeyRefused(_)) => Err(refused),
                    Ok(()) | Err(_) => Err(unreadable),
                },
                outcome => outcome,
            }
        };
        timed::<T, LiveKitError>(method, Box::pin(named)).await
    }

    /// Passes every room to `each` while the answer arrives. After an error some rooms are missing.
    pub async fn list_all_rooms(&self, each: impl FnMut(listing::Summary)) -> Result<(), LiveKitError> {
        timed("ListRooms", Box::pin(self.lister.list(each))).await
    }

    /// Lists the existing rooms of these names. If `names` is empty: all rooms, with the whole answer in memory.
    pub async fn list_rooms(&self, names: Vec<String>) -> Result<Vec<Room>, LiveKitError> {
        self.call("ListRooms", Box::pin(self.read.list_rooms(names))).await
    }

    /// Lists the participants of a room. Empty if LiveKit does not know the room.
    pub async fn list_participants(&self, room: &str) -> Result<Vec<ParticipantInfo>, LiveKitError> {
        self.call("ListParticipants", Box::pin(self.read.list_participants(room))).await
    }

    pub async fn remove_participant(&self, room: &str, identity: &str) -> Result<(), LiveKitError> {
        self.call("RemoveParticipant", Box::pin(self.write.remove_participant(room, identity))).await
    }

    /// Replaces the permissions of a participant. Tracks that they may no longer publish end.
    pub async fn set_permission(
        &self,
        room: &str,
        identity: &str,
        permission: ParticipantPermission,
    ) -> Result<(), LiveKitError> {
        let options =
            UpdateParticipantOptions { permission: Some(permission), ..UpdateParticipantOptions::default() };
        self.call("UpdateParticipant", Box::pin(self.write.update_participant(room, identity, options)))
            .await
            .map(drop)
    }

    /// Mutes or unmutes a track. False: it does not exist, or this LiveKit does not allow unmuting (livekit.md §1.2).
    pub async fn mute_track(
        &self,
        room: &str,
        identity: &str,
        track_sid: &str,
        muted: bool,
    ) -> Result<bool, LiveKitError> {
        let call = Box::pin(self.write.mute_published_track(room, identity, track_sid, muted));
        // For a missing track LiveKit answers without a track, and livekit-api panics.
        match AssertUnwindSafe(self.call("MutePublishedTrack", call)).catch_unwind().await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(LiveKitError::Refused { code, .. })) if code == "failed_precondition" => Ok(false),
            Ok(Err(LiveKitError::NotFound)) | Err(_) => Ok(false),
            Ok(Err(error)) => Err(error),
        }
    }

    pub async fn update_metadata(&self, room: &str, metadata: &str) -> Result<(), LiveKitError> {
        self.call("UpdateRoomMetadata", Box::pin(self.write.update_room_metadata(room, metadata)))
            .await
            .map(drop)
    }
}

/// Runs a call in a client span and measures it. Boxed, because a future of livekit-api has 24 KiB.
async fn timed<T, E>(
    method: &'static str,
    call: Pin<Box<impl Future<Output = Result<T, E>>>>,
) -> Result<T, LiveKitError>
where
    LiveKitError: From<E>,
{
    let started = Instant::now();
    let span = telemetry::client(|| span(method));
    let outcome = lanes::waiting(call.instrument(span.clone())).await.map_err(LiveKitError::from);
    if !method.starts_with("List") && method != "UpdateSubscriptions" {
        telemetry::mark_pass_changed();
    }
    if let Err(error) = &outcome {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", error.kind());
    }
    let result = match &outcome {
        Ok(_) => "ok",
        Err(LiveKitError::NotFound) => "not_found",
        Err(_) => "failed",
    };
    metrics::histogram!("greenroom_livekit_call_seconds", "method" => method, "result" => result)
        .record(started.elapsed());
    outcome
}

fn span(method: &'static str) -> Span {
    let service = if method.ends_with("Egress") { "livekit.Egress" } else { "livekit.RoomService" };
    tracing::debug_span!(
        "livekit", otel.name = %format_args!("{service}/{method}"), otel.kind = "client", rpc.system = "twirp",
        rpc.service = service, rpc.method = method, error.type = field::Empty, otel.status_code = field::Empty,
    )
}

/// Whether a participant is a user or a guest: not a recorder, not an agent.
pub(crate) fn is_standard(one: &ParticipantInfo) -> bool {
    one.kind == participant_info::Kind::Standard as i32 && !one.identity.starts_with("EG_")
}

pub(crate) fn is_active(one: &ParticipantInfo) -> bool {
    one.state == participant_info::State::Active as i32
}

pub(crate) const fn track_source(source: Source) -> TrackSource {
    match source {
        Source::Camera => TrackSource::Camera,
        Source::Microphone => TrackSource::Microphone,
        Source::ScreenShare => TrackSource::ScreenShare,
        Source::ScreenShareAudio => TrackSource::ScreenShareAudio,
    }
}
