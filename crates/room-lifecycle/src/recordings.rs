//! Recording (I11): a room has at most one open recording. Every open recording is closed at some time, whatever
//! happens to it on LiveKit.
//!
//! As everywhere, the intent is committed first ([`start`]). The path of the file contains the recording's id, so that
//! a recording on LiveKit is found even if LiveKit's answer was lost. The watch compares the open recordings with what
//! LiveKit lists ([`watch`]), and [`watch_decision`] decides the next step. An end is written once. A complete recording is
//! announced when its file was found ([`files`]).

mod error;
pub mod files;
mod grpc;
pub mod output;
mod permissions;
pub(crate) mod policy;
pub mod probe;
mod read;
mod remove;
pub mod settings;
mod start;
mod stop;
pub mod store;
mod streams;
pub(crate) mod watch;
pub mod watch_decision;

use std::sync::{Arc, Mutex};

use chassis::reconcile::Nudge;
use domain::RecordingId;

pub use self::store::{Recording, RecordingScope};
pub use self::{error::RecordingError, start::StartRequest};
use self::{output::Output, settings::RecordingSettings};
use crate::{error::Error, rooms::Rooms};

/// Recordings and streams, on top of the core.
#[derive(Clone, Debug)]
pub struct Recordings {
    rooms: Rooms,
    /// None: recording is off.
    output: Option<Output>,
    /// None: recordings are kept for ever.
    keep: Option<time::Duration>,
    /// Whether nests that request it are streamed.
    hls: bool,
    /// What the checks of this process have missed.
    missing: Arc<Mutex<watch::Missing>>,
    pub(crate) nudges: Nudges,
}

/// What wakes the loops of recordings before their period is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nudges {
    pub files: Nudge,
    pub removals: Nudge,
}

impl Recordings {
    pub fn new(rooms: Rooms, settings: &RecordingSettings) -> Result<Self, Error> {
        Ok(Self {
            rooms,
            output: settings.output.as_ref().map(Output::new).transpose()?,
            keep: settings.keep,
            hls: settings.has_streams(),
            missing: Arc::default(),
            nudges: Nudges::default(),
        })
    }

    /// One of the scope's recordings that are not deleted.
    async fn recording_of(&self, scope: RecordingScope, id: RecordingId) -> Result<Recording, Error> {
        let found = store::list_recordings(&self.rooms.pool, scope, Some(id), None, 1).await?.pop();
        Ok(found.ok_or(RecordingError::NoRecording)?)
    }
}
