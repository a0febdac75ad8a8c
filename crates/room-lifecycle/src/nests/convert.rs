//! Converts a nest to its gRPC message, and to the metadata of its room on LiveKit.

use domain::NestId;
use proto::room::v1 as pb;
use serde::Serialize;
use uuid::Uuid;

use super::{
    NestError, link,
    store::{self, Nest},
};
use crate::{error::Error, rooms::Rooms};

/// The metadata of an open nest, without the fields that mark its room as ours.
#[derive(Serialize)]
struct Info {
    host: String,
    speakers: Vec<String>,
    admins: Vec<String>,
    link: String,
    recording: bool,
}

#[derive(Serialize)]
struct Metadata {
    deployment: Uuid,
    nest_id: NestId,
    #[serde(flatten)]
    info: Option<Info>,
}

impl Rooms {
    pub(super) fn nest_message(&self, nest: Nest) -> Result<pb::Nest, NestError> {
        let link = link::encode(nest.id, &nest.host, self.nest_kind)?;
        Ok(pb::Nest {
            id: nest.id.to_string(),
            host: nest.host,
            speakers: nest.speakers,
            admins: nest.admins,
            relays: nest.relays,
            hls_stream: nest.hls_stream,
            link,
            recording: nest.recording,
            streamed: nest.hls_stream && self.streams,
        })
    }

    /// The metadata of a nest's room. Clients read it instead of our API.
    pub(crate) async fn nest_metadata(&self, nest: NestId) -> Result<String, Error> {
        let info = match store::find_nest(&self.pool, nest).await? {
            Some(found) => Some(Info {
                link: link::encode(nest, &found.host, self.nest_kind).map_err(NestError::from)?,
                host: found.host,
                speakers: found.speakers,
                admins: found.admins,
                recording: found.recording,
            }),
            None => None, // it ended a moment ago
        };
        let metadata = Metadata { deployment: self.deployment, nest_id: nest, info };
        Ok(serde_json::to_value(metadata).unwrap_or_default().to_string())
    }
}
