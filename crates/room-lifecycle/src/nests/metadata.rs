//! The metadata of a nest's room on LiveKit.

use domain::NestId;
use serde::Serialize;
use uuid::Uuid;

use super::{NestError, link, store};
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

/// The metadata of a nest's room. Clients read it instead of our API.
pub(crate) async fn metadata(rooms: &Rooms, nest: NestId) -> Result<String, Error> {
    let info = match store::find_nest(&rooms.pool, nest).await? {
        Some(found) => Some(Info {
            link: link::encode(nest, &found.host, rooms.kinds.nest_link).map_err(NestError::from)?,
            host: found.host,
            speakers: found.speakers,
            admins: found.admins,
            recording: found.recording,
        }),
        None => None, // it ended a moment ago
    };
    let metadata = Metadata { deployment: rooms.deployment, nest_id: nest, info };
    Ok(serde_json::to_value(metadata).unwrap_or_default().to_string())
}
