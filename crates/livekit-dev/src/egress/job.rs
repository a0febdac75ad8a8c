//! What the six ways to start a recording have in common.

use livekit_protocol::{
    EgressSourceType, ParticipantEgressRequest, RoomCompositeEgressRequest, StartEgressRequest,
    TrackCompositeEgressRequest, TrackEgressRequest, WebEgressRequest, egress_info::Request, output,
    track_egress_request,
};

use super::{
    check::{Check, Encoded},
    output::Output,
};

/// A request to record something.
pub(super) trait Job: Check {
    /// Empty for a web page.
    fn room_name(&self) -> &str;
    fn output(&self) -> Output;
    fn source(&self) -> EgressSourceType;
    /// As the recording's info shows it.
    fn request(&self) -> Request;
}

/// A file before segments; what else there is, is not written.
fn first(request: &impl Encoded) -> Output {
    let outputs = request.outputs();
    match (outputs.files.first(), outputs.segments.first()) {
        (Some(path), _) => Output::file(path),
        (None, Some(segments)) => Output::segments(segments),
        (None, None) => Output::Elsewhere,
    }
}

macro_rules! jobs {
    ($($message:ident: $request:ident, $source:ident;)*) => {
        $(impl Job for $message {
            fn room_name(&self) -> &str {
                &self.room_name
            }

            fn output(&self) -> Output {
                first(self)
            }

            fn source(&self) -> EgressSourceType {
                EgressSourceType::$source
            }

            fn request(&self) -> Request {
                Request::$request(self.clone())
            }
        })*
    };
}

jobs! {
    RoomCompositeEgressRequest: RoomComposite, Web;
    ParticipantEgressRequest: Participant, Sdk;
    TrackCompositeEgressRequest: TrackComposite, Sdk;
}

impl Job for WebEgressRequest {
    fn room_name(&self) -> &'static str {
        ""
    }

    fn output(&self) -> Output {
        first(self)
    }

    fn source(&self) -> EgressSourceType {
        EgressSourceType::Web
    }

    fn request(&self) -> Request {
        Request::Web(self.clone())
    }
}

impl Job for TrackEgressRequest {
    fn room_name(&self) -> &str {
        &self.room_name
    }

    fn output(&self) -> Output {
        match &self.output {
            Some(track_egress_request::Output::File(file)) => Output::file(&file.filepath),
            Some(track_egress_request::Output::WebsocketUrl(_)) | None => Output::Elsewhere,
        }
    }

    fn source(&self) -> EgressSourceType {
        EgressSourceType::Sdk
    }

    fn request(&self) -> Request {
        Request::Track(self.clone())
    }
}

impl Job for StartEgressRequest {
    fn room_name(&self) -> &str {
        &self.room_name
    }

    fn output(&self) -> Output {
        match self.outputs.first().and_then(|output| output.config.as_ref()) {
            Some(output::Config::File(file)) => Output::file(&file.filepath),
            Some(output::Config::Segments(segments)) => Output::segments(segments),
            Some(output::Config::Stream(_) | output::Config::Images(_)) | None => Output::Elsewhere,
        }
    }

    fn source(&self) -> EgressSourceType {
        EgressSourceType::Web
    }

    fn request(&self) -> Request {
        Request::Egress(self.clone())
    }
}
