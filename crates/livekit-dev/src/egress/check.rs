//! What a worker refuses before it takes a job. The names of what is wrong are the worker's own.

use super::streams;
use livekit_protocol::{
    EncodingOptions, ParticipantEgressRequest, RoomCompositeEgressRequest, SegmentedFileOutput,
    StartEgressRequest, StreamOutput, StreamProtocol, TrackCompositeEgressRequest, TrackEgressRequest,
    WebEgressRequest, output, start_egress_request as start, track_egress_request,
};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    #[error("request has missing or invalid field: {0}")]
    Field(&'static str),
    #[error("invalid url {url}: {reason}")]
    Url { url: String, reason: &'static str },
}

impl Wrong {
    pub(super) fn url(url: &str, reason: &'static str) -> Self {
        Self::Url { url: url.to_owned(), reason }
    }
}

/// A worker that has no room has no token for it either.
const ROOM: &str = "token or api key/secret";

/// All outputs that a request names.
#[derive(Default)]
pub(super) struct Outputs<'a> {
    /// Their paths.
    pub files: Vec<&'a str>,
    pub streams: Vec<&'a StreamOutput>,
    pub segments: Vec<&'a SegmentedFileOutput>,
    images: usize,
}

pub(super) trait Encoded {
    fn outputs(&self) -> Outputs<'_>;
}

pub(super) trait Check {
    fn check(&self) -> Result<(), Wrong>;
}

macro_rules! encoded {
    ($request:ident) => {
        impl Encoded for $request {
            fn outputs(&self) -> Outputs<'_> {
                Outputs {
                    files: self.file_outputs.iter().map(|file| file.filepath.as_str()).collect(),
                    streams: self.stream_outputs.iter().collect(),
                    segments: self.segment_outputs.iter().collect(),
                    images: self.image_outputs.len(),
                }
            }
        }
    };
    // Older requests have an output in a field of its own, which counts when the list of its kind is empty.
    ($request:ident, $module:ident) => {
        impl Encoded for $request {
            #[expect(deprecated, reason = "workers still read it")]
            fn outputs(&self) -> Outputs<'_> {
                use livekit_protocol::$module::Output;

                let mut outputs = Outputs {
                    files: self.file_outputs.iter().map(|file| file.filepath.as_str()).collect(),
                    streams: self.stream_outputs.iter().collect(),
                    segments: self.segment_outputs.iter().collect(),
                    images: self.image_outputs.len(),
                };
                match &self.output {
                    Some(Output::File(file)) if outputs.files.is_empty() => {
                        outputs.files.push(&file.filepath)
                    }
                    Some(Output::Stream(stream)) if outputs.streams.is_empty() => {
                        outputs.streams.push(stream)
                    }
                    Some(Output::Segments(segments)) if outputs.segments.is_empty() => {
                        outputs.segments.push(segments);
                    }
                    _ => {}
                }
                outputs
            }
        }
    };
}

encoded!(RoomCompositeEgressRequest, room_composite_egress_request);
encoded!(WebEgressRequest, web_egress_request);
encoded!(TrackCompositeEgressRequest, track_composite_egress_request);
encoded!(ParticipantEgressRequest);

pub(super) fn streams_of(request: &impl Encoded) -> Vec<&StreamOutput> {
    request.outputs().streams
}

macro_rules! options {
    ($module:ident, $request:ident) => {{
        use livekit_protocol::$module::Options;

        match &$request.options {
            Some(Options::Advanced(options)) => check_encoding(options),
            Some(Options::Preset(_)) | None => Ok(()),
        }
    }};
}

impl Check for RoomCompositeEgressRequest {
    fn check(&self) -> Result<(), Wrong> {
        check_page(&self.custom_base_url)?;
        check_kinds(self.audio_only, self.video_only)?;
        options!(room_composite_egress_request, self)?;
        // Images need a picture, so audio alone cannot have them.
        self.outputs().check(!self.audio_only)?;
        require(&self.room_name, ROOM)
    }
}

impl Check for WebEgressRequest {
    fn check(&self) -> Result<(), Wrong> {
        check_url(&self.url, "web url")?;
        check_kinds(self.audio_only, self.video_only)?;
        options!(web_egress_request, self)?;
        self.outputs().check(!self.audio_only)
    }
}

impl Check for ParticipantEgressRequest {
    fn check(&self) -> Result<(), Wrong> {
        require(&self.identity, "identity")?;
        options!(participant_egress_request, self)?;
        self.outputs().check(true)?;
        require(&self.room_name, ROOM)
    }
}

impl Check for TrackCompositeEgressRequest {
    fn check(&self) -> Result<(), Wrong> {
        // One of the two is enough; the error names both.
        if self.audio_track_id.is_empty() {
            require(&self.video_track_id, "audio_track_id or video_track_id")?;
        }
        options!(track_composite_egress_request, self)?;
        let video = !self.video_track_id.is_empty();
        self.outputs().check(video)?;
        require(&self.room_name, ROOM)
    }
}

impl Check for TrackEgressRequest {
    fn check(&self) -> Result<(), Wrong> {
        require(&self.track_id, "track_id")?;
        match &self.output {
            Some(track_egress_request::Output::File(_)) => {}
            Some(track_egress_request::Output::WebsocketUrl(url)) => {
                streams::check_url(url, StreamProtocol::Websocket)?;
            }
            None => return Err(Wrong::Field("output")),
        }
        require(&self.room_name, ROOM)
    }
}

impl Check for StartEgressRequest {
    fn check(&self) -> Result<(), Wrong> {
        if let Some(start::Encoding::Advanced(options)) = &self.encoding {
            check_encoding(options)?;
        }
        let video = match &self.source {
            Some(start::Source::Template(page)) => {
                check_page(&page.custom_base_url)?;
                check_kinds(page.audio_only, page.video_only)?;
                !page.audio_only
            }
            Some(start::Source::Web(page)) => {
                check_url(&page.url, "web url")?;
                check_kinds(page.audio_only, page.video_only)?;
                !page.audio_only
            }
            Some(start::Source::Media(media)) => {
                let audio =
                    media.audio.as_ref().is_some_and(|audio| audio.capture_all || !audio.routes.is_empty());
                (audio || media.video.is_some()).then_some(()).ok_or(Wrong::Field("audio or video"))?;
                media.video.is_some()
            }
            None => return Err(Wrong::Field("source")),
        };
        new_outputs(self)?.check(video)?;
        // A web page is recorded without a room.
        if matches!(self.source, Some(start::Source::Web(_))) {
            Ok(())
        } else {
            require(&self.room_name, ROOM)
        }
    }
}

/// The newest request has one list of all outputs.
fn new_outputs(request: &StartEgressRequest) -> Result<Outputs<'_>, Wrong> {
    let mut outputs = Outputs::default();
    for output in &request.outputs {
        match &output.config {
            Some(output::Config::File(file)) => outputs.files.push(&file.filepath),
            Some(output::Config::Stream(stream)) => outputs.streams.push(stream),
            Some(output::Config::Segments(segments)) => outputs.segments.push(segments),
            Some(output::Config::Images(_)) => outputs.images += 1,
            None => return Err(Wrong::Field("output config")),
        }
    }
    Ok(outputs)
}

impl Outputs<'_> {
    fn check(&self, video: bool) -> Result<(), Wrong> {
        one(self.files.len(), "multiple file outputs")?;
        one(self.streams.len(), "multiple stream outputs")?;
        for stream in &self.streams {
            streams::check(stream)?;
        }
        one(self.segments.len(), "multiple segmented file outputs")?;
        for segments in &self.segments {
            check_playlists(segments)?;
        }
        if self.images > 0 && !video {
            return Err(Wrong::Field("audio_only images"));
        }
        let urls: usize = self.streams.iter().map(|stream| stream.urls.len()).sum();
        match self.files.len() + self.segments.len() + self.images + urls {
            0 if self.streams.is_empty() => Err(Wrong::Field("output")),
            // A stream output without an address has an error of its own.
            0 => Err(Wrong::Field("stream url")),
            _ => Ok(()),
        }
    }
}

fn one(count: usize, wrong: &'static str) -> Result<(), Wrong> {
    if count <= 1 { Ok(()) } else { Err(Wrong::Field(wrong)) }
}

/// A playlist of what is live lies beside the whole one, and is not the same file.
fn check_playlists(segments: &SegmentedFileOutput) -> Result<(), Wrong> {
    let folder = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default();
    let (whole, live) = (&segments.playlist_name, &segments.live_playlist_name);
    // No folder means: beside the other playlist.
    if !folder(live).is_empty() && folder(live) != folder(whole) {
        return Err(Wrong::Field("live_playlist_name must be in same directory as playlist_name"));
    }
    if !live.is_empty() && live == whole {
        return Err(Wrong::Field("live_playlist_name cannot be identical to playlist_name"));
    }
    Ok(())
}

fn check_encoding(options: &EncodingOptions) -> Result<(), Wrong> {
    // 0 is the worker's default. The encoder needs even numbers.
    let size = |pixels: i32| pixels <= 0 || (pixels >= 16 && pixels % 2 == 0);
    for (right, field) in [
        (size(options.width), "width"),
        (size(options.height), "height"),
        (matches!(options.depth, 0 | 8 | 16 | 24), "depth"),
    ] {
        right.then_some(()).ok_or(Wrong::Field(field))?;
    }
    Ok(())
}

/// An empty address is the template of the worker.
fn check_page(url: &str) -> Result<(), Wrong> {
    if url.is_empty() { Ok(()) } else { check_url(url, "template base url") }
}

fn check_url(url: &str, wrong: &'static str) -> Result<(), Wrong> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    let right = matches!(scheme.as_deref(), Some("http" | "https"));
    right.then_some(()).ok_or(Wrong::Field(wrong))
}

fn check_kinds(audio_only: bool, video_only: bool) -> Result<(), Wrong> {
    if audio_only && video_only { Err(Wrong::Field("audio_only and video_only")) } else { Ok(()) }
}

fn require(text: &str, wrong: &'static str) -> Result<(), Wrong> {
    if text.is_empty() { Err(Wrong::Field(wrong)) } else { Ok(()) }
}
