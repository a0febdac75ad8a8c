//! The one place that talks to LiveKit, through livekit-api (but [`listing`]).
//!
//! What it promises is how a failure may be read: `NotFound` is LiveKit's own word, everything else but a success
//! is *unknown*: an error or a timeout is never absence, and a call that failed may have had its effect. Several
//! clients, because the crate has one timeout per client: reads 2 s, writes 3 s, recorders 25 s ([`egress`]).

pub mod egress;
pub mod listing;

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
    ServerError, ServiceError,
    egress::EgressClient,
    room::{CreateRoomOptions, RoomClient, UpdateParticipantOptions},
};
use livekit_protocol::{ParticipantInfo, ParticipantPermission, Room};
use secrecy::ExposeSecret;
use tracing::{Instrument, Span, field};

use crate::lanes;

const READ: Duration = Duration::from_secs(2);
const WRITE: Duration = Duration::from_secs(3);
const EGRESS: Duration = Duration::from_secs(25);

/// Why LiveKit did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LiveKitError {
    /// LiveKit says that it does not have this room or participant.
    #[error("LiveKit does not know it")]
    NotFound,
    /// LiveKit refused with another Twirp code.
    #[error("LiveKit refused: {code}: {text}")]
    Refused { code: String, text: String },
    /// No answer, or one that cannot be read (livekit-api hides the status of answers that are not Twirp's, a
    /// wrong key's among them): nothing is known about the effect.
    #[error("LiveKit did not answer: {0}")]
    Unknown(String),
    /// Deletion is off: this database was made for another LiveKit, or is a copy (`greenroom repair adopt`).
    #[error(
        "deleting and stopping are off: this database is not the one that this deployment was set up with"
    )]
    NotOurs,
}

impl From<ServiceError> for LiveKitError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Twirp(ServerError::Twirp(twirp)) => match twirp.code.as_str() {
                "not_found" => Self::NotFound,
                _ => Self::Refused { code: twirp.code, text: twirp.msg },
            },
            error => Self::Unknown(error.to_string()),
        }
    }
}

impl LiveKitError {
    /// For spans: Twirp's code, or that there was none.
    fn kind(&self) -> &str {
        match self {
            Self::NotFound => "not_found",
            Self::Refused { code, .. } => code,
            Self::Unknown(_) => "no_answer",
            Self::NotOurs => "not_ours",
        }
    }
}

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
    egress_read: Arc<EgressClient>,
    lister: listing::Lister,
    may_delete: Arc<AtomicBool>,
}

impl LiveKit {
    pub fn new(config: &config::LiveKit) -> reqwest::Result<Self> {
        let secret = config.api_secret.expose_secret();
        let rooms = |timeout| {
            let client = RoomClient::with_api_key(&config.url, &config.api_key, secret);
            Arc::new(client.with_failover(false).with_request_timeout(timeout))
        };
        let egress = |timeout| {
            let client = EgressClient::with_api_key(&config.url, &config.api_key, secret);
            Arc::new(client.with_failover(false).with_request_timeout(timeout))
        };
        Ok(Self {
            read: rooms(READ),
            write: rooms(WRITE),
            egress: egress(EGRESS),
            egress_read: egress(READ),
            lister: listing::Lister::new(config, READ)?,
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
        timed("CreateRoom", Box::pin(self.write.create_room(&blueprint.name, options))).await
    }

    /// Passes every room to `each` while the answer arrives. After an error some were missing.
    pub async fn list_all_rooms(&self, each: impl FnMut(listing::Summary)) -> Result<(), LiveKitError> {
        timed("ListRooms", Box::pin(self.lister.list(each))).await
    }

    /// The rooms of these names that exist; all rooms, kept as a whole, when `names` is empty.
    pub async fn list_rooms(&self, names: Vec<String>) -> Result<Vec<Room>, LiveKitError> {
        timed("ListRooms", Box::pin(self.read.list_rooms(names))).await
    }

    /// Who is in a room; nobody in a room that LiveKit does not know.
    pub async fn list_participants(&self, room: &str) -> Result<Vec<ParticipantInfo>, LiveKitError> {
        timed("ListParticipants", Box::pin(self.read.list_participants(room))).await
    }

    /// Deletes a room whose name was retired by a committed row; `Ok` when it is gone, whoever did it.
    ///
    /// A room that only LiveKit's store knows (its node died) answers 500: it is made again, then deleted
    /// (livekit.md §2).
    pub async fn delete_room(&self, name: &str) -> Result<(), LiveKitError> {
        if !self.may_delete() {
            return Err(LiveKitError::NotOurs);
        }
        match self.try_delete(name).await {
            Err(LiveKitError::Refused { code, .. }) if code == "unknown" => {
                timed("CreateRoom", Box::pin(self.write.create_room(name, CreateRoomOptions::default())))
                    .await?;
                self.try_delete(name).await
            }
            outcome => outcome,
        }
    }

    async fn try_delete(&self, name: &str) -> Result<(), LiveKitError> {
        match timed("DeleteRoom", Box::pin(self.write.delete_room(name))).await {
            Err(LiveKitError::NotFound) => Ok(()),
            outcome => outcome,
        }
    }

    pub async fn remove_participant(&self, room: &str, identity: &str) -> Result<(), LiveKitError> {
        timed("RemoveParticipant", Box::pin(self.write.remove_participant(room, identity))).await
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
        timed("UpdateParticipant", Box::pin(self.write.update_participant(room, identity, options)))
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
        match AssertUnwindSafe(timed("MutePublishedTrack", call)).catch_unwind().await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(LiveKitError::Refused { code, .. })) if code == "failed_precondition" => Ok(false),
            Ok(Err(LiveKitError::NotFound)) | Err(_) => Ok(false),
            Ok(Err(error)) => Err(error),
        }
    }

    pub async fn update_metadata(&self, room: &str, metadata: &str) -> Result<(), LiveKitError> {
        timed("UpdateRoomMetadata", Box::pin(self.write.update_room_metadata(room, metadata))).await.map(drop)
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
    if !method.starts_with("List") {
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
