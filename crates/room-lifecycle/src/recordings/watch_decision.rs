//! Decides the next step of an open recording from its row and from what LiveKit shows. Pure.

use domain::{RecordingId, RecordingStatus};
use livekit_protocol::{
    EgressInfo, EgressStatus, FileInfo, SegmentsInfo,
    egress_info::{Request, Result as Single},
};
use time::{Duration, OffsetDateTime};

use super::{
    policy::{LOST_START_TIMEOUT, RECORDER_START_TIMEOUT, RECORDER_STOP_TIMEOUT},
    store::watch::{End, Open},
};

/// What LiveKit says of one recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub egress_id: String,
    /// `None`: over, or a status that we do not know.
    pub status: Option<RecordingStatus>,
    pub started_at: Option<OffsetDateTime>,
    pub end: Option<End>,
}

/// What a check of one recording found.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// LiveKit did not answer.
    Unknown,
    /// LiveKit says that it has no recorders at all.
    NoRecorders,
    /// LiveKit does not have it, by its answer or by reliable lists. The time is that of the question.
    Absent(OffsetDateTime),
    /// `abandoned`: several checks did not find its recorder in the room.
    Present { observed: Observed, abandoned: bool },
}

#[derive(Clone, Debug, PartialEq)]
pub enum RecordingStep {
    Wait,
    /// Write what LiveKit says.
    Follow(Observed),
    /// Ask LiveKit to stop it.
    Stop {
        egress_id: String,
        then: Then,
    },
    Close(End),
}

/// What follows a stop.
#[derive(Clone, Debug, PartialEq)]
pub enum Then {
    /// The recording follows what LiveKit says next.
    Follow,
    /// The recording is closed if no recorder answered.
    CloseIfSilent(&'static str),
    /// The recording is closed whatever the answer was.
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

    /// The end of a start that left nothing on LiveKit.
    pub(super) fn never_begun(why: &str) -> Self {
        Self { never_begun: true, ..Self::failed(why) }
    }
}

/// Decides the next step of an open recording.
#[must_use]
pub fn decide(open: &Open, observation: Observation) -> RecordingStep {
    let recording = &open.recording;
    let age = open.now - recording.created_at;
    match observation {
        Observation::NoRecorders if recording.egress_id.is_none() => {
            RecordingStep::Close(End::never_begun("LiveKit has no recorders"))
        }
        Observation::NoRecorders => RecordingStep::Close(End::failed("LiveKit has no recorders")),
        Observation::Absent(_) if recording.egress_id.is_some() => {
            RecordingStep::Close(End::failed("LiveKit does not know it any more"))
        }
        // A start may still be on its way to the recorder, so absence counts only after a while.
        Observation::Absent(at) if at - recording.created_at > LOST_START_TIMEOUT => {
            RecordingStep::Close(End::never_begun("LiveKit has not started it"))
        }
        Observation::Unknown | Observation::Absent(_) => RecordingStep::Wait,
        // The end first: what LiveKit has ended needs no stop.
        Observation::Present { observed, .. } if observed.end.is_some() => RecordingStep::Follow(observed),
        Observation::Present { observed, abandoned } => {
            let stop = |then| RecordingStep::Stop { egress_id: observed.egress_id.clone(), then };
            let stop_age = recording.stop_asked_at.map(|asked| open.now - asked);
            let ending = observed.status == Some(RecordingStatus::Ending);
            if observed.status == Some(RecordingStatus::Starting) && age > RECORDER_START_TIMEOUT {
                return stop(Then::Close("the recorder did not begin"));
            }
            if abandoned {
                return stop(Then::CloseIfSilent("the recorder died"));
            }
            match stop_age {
                Some(time) if time > RECORDER_STOP_TIMEOUT && ending => {
                    stop(Then::CloseIfSilent("the recorder died"))
                }
                Some(time) if time > RECORDER_STOP_TIMEOUT => stop(Then::Close("the recorder did not stop")),
                Some(_) if ending => RecordingStep::Follow(observed),
                Some(_) => stop(Then::Follow),
                None if ending || !open.wanted => stop(Then::Follow),
                None => RecordingStep::Follow(observed),
            }
        }
    }
}

/// Converts LiveKit's info of a recording.
#[must_use]
pub fn observed(info: &EgressInfo) -> Observed {
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
    Observed { egress_id: info.egress_id.clone(), status: open, started_at, end }
}

fn error(info: &EgressInfo) -> Option<String> {
    let limit = info.status() == EgressStatus::EgressLimitReached;
    let text = if info.error.is_empty() && limit { "a limit was reached" } else { &info.error };
    Some(text.replace('\0', "")).filter(|text| !text.is_empty())
}

/// The written file. Older servers send it in the field for a single result.
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

/// Converts a size to a number that the database can hold.
pub(super) fn saturated(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn seconds(info: &EgressInfo) -> Option<f64> {
    let file = file(info).map(|file| file.duration);
    let nanoseconds = file.or(segments(info).map(|segments| segments.duration))?;
    Some(Duration::nanoseconds(nanoseconds.max(0)).as_seconds_f64())
}

/// Converts LiveKit's time in nanoseconds. `None`: 0, or a time before 1970.
fn moment(nanoseconds: i64) -> Option<OffsetDateTime> {
    if nanoseconds <= 0 {
        return None;
    }
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanoseconds)).ok()
}

/// The recording whose id is in one of the paths of the request.
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
#[path = "watch_decision_tests.rs"]
mod tests;
