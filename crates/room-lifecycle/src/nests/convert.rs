//! Converts a nest to its gRPC message.

use proto::room::v1 as pb;

use super::{Nests, link, store::Nest};
use crate::error::Error;

impl Nests {
    pub(super) fn nest_message(&self, nest: Nest) -> Result<pb::Nest, Error> {
        let link = link::encode(nest.id, &nest.host, self.rooms.kinds.nest_link)?;
        Ok(pb::Nest {
            id: nest.id.to_string(),
            host: nest.host,
            speakers: nest.speakers,
            admins: nest.admins,
            relays: nest.relays,
            hls_stream: nest.hls_stream,
            link,
            recording: nest.recording,
            streamed: nest.hls_stream && self.hls,
        })
    }
}
