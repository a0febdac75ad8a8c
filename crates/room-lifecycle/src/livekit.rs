//! The one place that talks to LiveKit, through livekit-api (but [`listing`] and [`probe`]).
//!
//! What it promises is how a failure may be read: `NotFound` is LiveKit's own word, everything else but a success
//! is *unknown*: an error or a timeout is never absence, and a call that failed may have had its effect. Several
//! clients, because the crate has one timeout per client: reads 2 s, writes 4 s (LiveKit itself gives up a node after
//! 3.00 s, and says so), recorders longer ([`egress`]). Nor is every answer the truth: [`deletion`].

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
use futures::FutureExt;
use livekit_api::services::{
    egress::EgressClient,
    room::{CreateRoomOptions, RoomClient, UpdateParticipantOptions},
};
use livekit_protocol::{ParticipantInfo, ParticipantPermission, Room};
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use tracing::{Instrument, Span, field};

pub use self::failure::{LiveKitError, reason};
use crate::lanes;

const READ: Duration = Duration::from_secs(2);
const WRITE: Duration = Duration::from_secs(4);

/// What a room is made with. Times in whole seconds.
#[derive(Clone, Debug)]
pub struct Blueprint {
    pub name: String,
    pub metadata: String,
    pub max_participants: u32,
    /// Both of LiveKit's timers: they are the safety net, passes delete rooms.
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
            read: rooms(READ),
            write: rooms(WRITE),
            egress: recorders(egress::WRITE),
            egress_start: recorders(egress::START),
            egress_read: recorders(READ),
            lister: listing::Lister::new(config, READ)?,
            prober: twirp::Twirp::new(config, probe::TIMEOUT)?,
            probes: Arc::new(Semaphore::new(probe::AT_ONCE)),
            signal: signal::Signal::new(config, deletion::ATTEMPT)?,
            may_delete: Arc::new(AtomicBool::new(false)),
        })
    }

    pub(crate) fn may_delete(&self) -> bool {
        self.may_delete.load(Ordering::Relaxed)
    }

    /// Turns deletion on or off; off until the deployment was checked.
    pub fn allow_deletion(&self, allowed: bool) {
        self.may_delete.store(allowed, Ordering::Relaxed);
        metrics::gauge!("greenroom_livekit_deletion_allowed").set(if allowed { 1.0 } else { 0.0 });
    }

    /// Makes a room; called again for a living one: that room, unchanged (livekit.md §1.3).
    pub async fn create_room(&self, blueprint: Blueprint) -> Result<Room, LiveKitError> {
        let options = CreateRoomOptions {
            empty_timeout: blueprint.timeout,
            departure_timeout: blueprint.timeout,
            max_participants: blueprint.max_participants,
            metadata: blueprint.metadata,
            ..CreateRoomOptions::default()
        };
        self.call("CreateRoom", Box::pin(self.write.create_room(&blueprint.name, options))).await
    }

    /// Whether LiveKit answers and accepts our key.
    pub async fn check(&self) -> Result<(), LiveKitError> {
        timed("ListRooms", Box::pin(self.lister.check())).await
    }

    /// Makes a call through livekit-api. It hides the status of an answer that is not Twirp's; whether LiveKit refuses
    /// our key is then found out by a call of our own.
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

    /// Passes every room to `each` while the answer arrives. After an error some were missing.
    pub async fn list_all_rooms(&self, each: impl FnMut(listing::Summary)) -> Result<(), LiveKitError> {
        timed("ListRooms", Box::pin(self.lister.list(each))).await
    }

    /// The rooms of these names that exist; all rooms, kept as a whole, when `names` is empty.
    pub async fn list_rooms(&self, names: Vec<String>) -> Result<Vec<Room>, LiveKitError> {
        self.call("ListRooms", Box::pin(self.read.list_rooms(names))).await
    }

    /// Who is in a room; nobody in a room that LiveKit does not know.
    pub async fn list_participants(&self, room: &str) -> Result<Vec<ParticipantInfo>, LiveKitError> {
        self.call("ListParticipants", Box::pin(self.read.list_participants(room))).await
    }

    pub async fn remove_participant(&self, room: &str, identity: &str) -> Result<(), LiveKitError> {
        self.call("RemoveParticipant", Box::pin(self.write.remove_participant(room, identity))).await
    }

    /// Replaces all that a participant may do; tracks that he may no longer publish end.
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

    /// Mutes or unmutes a track. False: it is gone, or this LiveKit lets nobody unmute others (livekit.md §1.2).
    pub async fn mute_track(
        &self,
        room: &str,
        identity: &str,
        track_sid: &str,
        muted: bool,
    ) -> Result<bool, LiveKitError> {
        let call = Box::pin(self.write.mute_published_track(room, identity, track_sid, muted));
        // Of a track that is gone LiveKit's answer has none, and livekit-api panics over that.
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

/// Measures a call and runs it in a client span. Boxed, because livekit-api's futures have 24 KiB each.
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
        telemetry::changed();
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
