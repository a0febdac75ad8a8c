//! What to do with an open recording, decided from its row and what LiveKit shows. Pure.

use domain::{RecordingId, RecordingStatus};
use livekit_protocol::{
    EgressInfo, EgressStatus, FileInfo, SegmentsInfo,
    egress_info::{Request, Result as Single},
};
use time::{Duration, OffsetDateTime};

use crate::store::recordings::watch::{End, Open};

/// A start whose answer was lost is on LiveKit by now, or never will be: longer than the call and its flow may take.
const UNKNOWN_FOR: Duration = Duration::seconds(50);
/// A recorder has begun by now, or has not noticed that it cannot.
const STARTING_FOR: Duration = Duration::seconds(60);
/// A recorder that was told to stop does so by now; one that is `ending` may have much to upload, and is asked whether
/// it lives.
const STOPPING_FOR: Duration = Duration::seconds(60);

/// What LiveKit says of one recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub egress_id: String,
    /// None: over, or a state that we do not know.
    pub status: Option<RecordingStatus>,
    pub started_at: Option<OffsetDateTime>,
    pub end: Option<End>,
}

/// What a look for one recording found.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// LiveKit did not answer.
    Unknown,
    /// LiveKit says that it has no recorders at all.
    NoRecorders,
    /// LiveKit says, or lists that may be believed show, that it does not have it; asked at this time.
    Absent(OffsetDateTime),
    /// `abandoned`: its recorder was not in the room in several looks.
    There { seen: Seen, abandoned: bool },
}

#[derive(Clone, Debug, PartialEq)]
pub enum RecordingStep {
    Wait,
    /// Write what LiveKit says.
    Follow(Seen),
    /// Tell LiveKit to stop it.
    Stop {
        egress_id: String,
        then: Then,
    },
    Close(End),
}

/// What follows a stop.
#[derive(Clone, Debug, PartialEq)]
pub enum Then {
    /// Whatever LiveKit says next.
    Look,
    /// It is closed if nobody answered for it.
    CloseIfSilent(&'static str),
    /// It is closed whatever the answer was.
    Close(&'static str),
}

impl End {
    #[must_use]
    pub fn failed(why: &str) -> Self {
        Self {
            status: RecordingStatus::Failed,
            error: Some(why.to_owned()),
            egress_id: None,
            size: None,
            seconds: None,
            started_at: None,
            never_begun: false,
            caller_waits: false,
        }
    }

    /// A start that has left nothing on LiveKit.
    pub(super) fn never_begun(why: &str) -> Self {
        Self { never_begun: true, ..Self::failed(why) }
    }
}

/// The next step of an open recording.
#[must_use]
pub fn decide(open: &Open, sight: Sight) -> RecordingStep {
    let recording = &open.recording;
    let age = open.now - recording.created_at;
    match sight {
        Sight::NoRecorders if recording.egress_id.is_none() => {
            RecordingStep::Close(End::never_begun("LiveKit has no recorders"))
        }
        Sight::NoRecorders => RecordingStep::Close(End::failed("LiveKit has no recorders")),
        Sight::Absent(_) if recording.egress_id.is_some() => {
            RecordingStep::Close(End::failed("LiveKit does not know it any more"))
        }
        Sight::Absent(at) if at - recording.created_at > UNKNOWN_FOR => {
            RecordingStep::Close(End::never_begun("LiveKit has not started it"))
        }
        Sight::Unknown | Sight::Absent(_) => RecordingStep::Wait,
        Sight::There { seen, .. } if seen.end.is_some() => RecordingStep::Follow(seen),
        Sight::There { seen, abandoned } => {
            let stop = |then| RecordingStep::Stop { egress_id: seen.egress_id.clone(), then };
            let asked_for = recording.stop_asked_at.map(|asked| open.now - asked);
            let ending = seen.status == Some(RecordingStatus::Ending);
            if seen.status == Some(RecordingStatus::Starting) && age > STARTING_FOR {
                return stop(Then::Close("the recorder did not begin"));
            }
            if abandoned {
                return stop(Then::CloseIfSilent("the recorder died"));
            }
            match asked_for {
                Some(time) if time > STOPPING_FOR && ending => stop(Then::CloseIfSilent("the recorder died")),
                Some(time) if time > STOPPING_FOR => stop(Then::Close("the recorder did not stop")),
                Some(_) if ending => RecordingStep::Follow(seen),
                Some(_) => stop(Then::Look),
                None if ending || !open.wanted => stop(Then::Look),
                None => RecordingStep::Follow(seen),
            }
        }
    }
}

/// What an info says.
#[must_use]
pub fn seen(info: &EgressInfo) -> Seen {
    let started_at = moment(info.started_at);
    let status = EgressStatus::try_from(info.status).ok();
    let (open, over) = match status {
        Some(EgressStatus::EgressStarting) => (Some(RecordingStatus::Starting), None),
        Some(EgressStatus::EgressActive) => (Some(RecordingStatus::Active), None),
        Some(EgressStatus::EgressEnding) => (Some(RecordingStatus::Ending), None),
        Some(EgressStatus::EgressComplete) => (None, Some(RecordingStatus::Complete)),
        Some(EgressStatus::EgressFailed) => (None, Some(RecordingStatus::Failed)),
        Some(EgressStatus::EgressAborted) => (None, Some(RecordingStatus::Aborted)),
        Some(EgressStatus::EgressLimitReached) => {
            let has_file = file(info).is_some() || segments(info).is_some();
            (None, Some(if has_file { RecordingStatus::Complete } else { RecordingStatus::Failed }))
        }
        None => (None, None),
    };
    let end = over.map(|status| End {
        status,
        error: error(info),
        egress_id: Some(info.egress_id.clone()),
        size: size(info),
        seconds: seconds(info),
        started_at,
        never_begun: false,
        caller_waits: false,
    });
    Seen { egress_id: info.egress_id.clone(), status: open, started_at, end }
}

fn error(info: &EgressInfo) -> Option<String> {
    let limit = info.status() == EgressStatus::EgressLimitReached;
    let text = if info.error.is_empty() && limit { "a limit was reached" } else { &info.error };
    Some(text.replace('\0', "")).filter(|text| !text.is_empty())
}

/// The file that was written; older servers name it in the field for a single result.
#[expect(deprecated, reason = "older servers fill this field only")]
fn file(info: &EgressInfo) -> Option<&FileInfo> {
    match (info.file_results.first(), &info.result) {
        (Some(file), _) | (None, Some(Single::File(file))) => Some(file),
        (None, _) => None,
    }
}

/// The same for segments.
#[expect(deprecated, reason = "older servers fill this field only")]
fn segments(info: &EgressInfo) -> Option<&SegmentsInfo> {
    match (info.segment_results.first(), &info.result) {
        (Some(segments), _) | (None, Some(Single::Segments(segments))) => Some(segments),
        (None, _) => None,
    }
}

fn size(info: &EgressInfo) -> Option<i64> {
    let file = file(info).map(|file| file.size);
    Some(file.or(segments(info).map(|segments| segments.size))?.max(0))
}

/// A number that the database can hold.
pub(super) fn saturated(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn seconds(info: &EgressInfo) -> Option<f64> {
    let file = file(info).map(|file| file.duration);
    let nanoseconds = file.or(segments(info).map(|segments| segments.duration))?;
    Some(Duration::nanoseconds(nanoseconds.max(0)).as_seconds_f64())
}

/// LiveKit stamps recordings in nanoseconds; 0 and times before 1970 are no time.
fn moment(nanoseconds: i64) -> Option<OffsetDateTime> {
    if nanoseconds <= 0 {
        return None;
    }
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanoseconds)).ok()
}

/// The recording whose id is in one of the paths that a request asked for.
#[must_use]
pub fn recording_of(info: &EgressInfo) -> Option<RecordingId> {
    let Some(Request::RoomComposite(request)) = &info.request else { return None };
    let files = request.file_outputs.iter().map(|file| file.filepath.as_str());
    let segments = request.segment_outputs.iter().map(|output| output.filename_prefix.as_str());
    files.chain(segments).find_map(id_in)
}

fn id_in(path: &str) -> Option<RecordingId> {
    path.rsplit('/').find_map(|part| part.split('.').next()?.parse().ok())
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
