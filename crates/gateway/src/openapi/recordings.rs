//! What the operations of recordings can refuse with, in both families.

use chassis::status::Reason::{
    self, AlreadyRecording, IdempotencyKeyReused, InvalidRequest, InvalidSessionId, LivekitUnavailable,
    MeetingEnded, NotHost, NotParticipant, RecordingNotFound, RecordingUnavailable, RoomNotActive,
    RoomNotFound, SessionCancelled, SessionNotFound, TooLarge,
};

pub(super) fn reasons(operation: &str) -> Option<&'static [Reason]> {
    Some(match operation {
        "startRecording" => &[
            InvalidRequest,
            TooLarge,
            InvalidSessionId,
            NotHost,
            NotParticipant,
            SessionNotFound,
            RoomNotActive,
            AlreadyRecording,
            IdempotencyKeyReused,
            MeetingEnded,
            SessionCancelled,
            LivekitUnavailable,
            RecordingUnavailable,
        ],
        "stopRecording" | "deleteRecording" => &[
            InvalidRequest,
            TooLarge,
            InvalidSessionId,
            NotHost,
            NotParticipant,
            SessionNotFound,
            RecordingNotFound,
            LivekitUnavailable,
            RecordingUnavailable,
        ],
        "listRecordings" | "getRecording" => &[
            InvalidRequest,
            InvalidSessionId,
            NotParticipant,
            SessionNotFound,
            RecordingNotFound,
            RecordingUnavailable,
        ],
        "getRecordingFile" => &[InvalidRequest, InvalidSessionId, RecordingNotFound, RecordingUnavailable],
        "startLiveRecording" => &[
            InvalidRequest,
            NotHost,
            RoomNotFound,
            RoomNotActive,
            AlreadyRecording,
            IdempotencyKeyReused,
            LivekitUnavailable,
            RecordingUnavailable,
        ],
        "stopLiveRecording" | "deleteLiveRecording" => &[
            InvalidRequest,
            NotHost,
            RoomNotFound,
            RecordingNotFound,
            LivekitUnavailable,
            RecordingUnavailable,
        ],
        "listLiveRecordings" | "getLiveRecording" => {
            &[InvalidRequest, NotHost, RoomNotFound, RecordingNotFound, RecordingUnavailable]
        }
        "getLiveRecordingFile" => &[InvalidRequest, RecordingNotFound, RecordingUnavailable],
        _ => return None,
    })
}
