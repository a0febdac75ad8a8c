//! What the operations of `/api/v1/nests` can refuse with.

use chassis::status::Reason::{
    self, AlreadyRecording, InvalidRequest, LivekitUnavailable, RecordingNotFinished, RecordingNotFound,
    RecordingStopped, RecordingUnavailable, RoomFull, RoomNotActive, RoomNotFound, TooLarge,
};

pub(super) fn reasons(operation: &str) -> Option<&'static [Reason]> {
    Some(match operation {
        "createNest" | "setNestPermissions" => &[InvalidRequest, TooLarge, RoomNotFound, LivekitUnavailable],
        "getNestToken" => &[InvalidRequest, TooLarge, RoomNotFound, RoomFull, LivekitUnavailable],
        "getNestGuestToken" => &[RoomNotFound, LivekitUnavailable],
        "getNestInfo" => &[RoomNotFound],
        "getNestStream" => &[RoomNotFound, RecordingUnavailable],
        "startNestRecording" => &[
            InvalidRequest,
            TooLarge,
            RoomNotFound,
            RoomNotActive,
            AlreadyRecording,
            LivekitUnavailable,
            RecordingUnavailable,
        ],
        "stopNestRecording" => &[
            InvalidRequest,
            TooLarge,
            RoomNotFound,
            RecordingNotFound,
            RecordingStopped,
            LivekitUnavailable,
            RecordingUnavailable,
        ],
        "deleteNestRecording" => &[
            InvalidRequest,
            TooLarge,
            RoomNotFound,
            RecordingNotFound,
            LivekitUnavailable,
            RecordingUnavailable,
        ],
        "listNestRecordings" => &[InvalidRequest, TooLarge, RoomNotFound, RecordingUnavailable],
        "getNestRecording" => &[
            InvalidRequest,
            TooLarge,
            RoomNotFound,
            RecordingNotFound,
            RecordingNotFinished,
            RecordingUnavailable,
        ],
        "endNest" => &[InvalidRequest, TooLarge, RoomNotFound],
        _ => return None,
    })
}
