//! What the operations of `/api/v1/live` can refuse with.

use chassis::status::Reason::{
    self, Banned, IdempotencyKeyReused, InvalidRequest, Kicked, LivekitUnavailable, MeetingStarted, NotHost,
    NotParticipant, Rejected, RoomFull, RoomNotActive, RoomNotFound, RoomNotIdle, TooLarge, WaitingInLobby,
};

pub(super) fn reasons(operation: &str) -> Option<&'static [Reason]> {
    Some(match operation {
        "getMyLiveRoom" | "createStreamTicket" => &[],
        "saveMyLiveRoom" => &[InvalidRequest, TooLarge],
        "patchLiveRoom" | "banFromLiveRoom" | "unbanFromLiveRoom" => {
            &[InvalidRequest, TooLarge, NotHost, RoomNotFound]
        }
        "getLiveRoom"
        | "getLiveRoomState"
        | "listLiveSessions"
        | "leaveLiveRoom"
        | "disconnectFromLiveRoom" => &[InvalidRequest, RoomNotFound],
        "goLive" => &[InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotIdle, IdempotencyKeyReused],
        "startLiveSession" | "openLobby" | "markHostPresent" | "markHostAbsent" => {
            &[InvalidRequest, NotHost, RoomNotFound, RoomNotActive]
        }
        "endLiveSession" | "resetLiveRoom" | "listLobby" | "getLiveSummary" => {
            &[InvalidRequest, NotHost, RoomNotFound]
        }
        "cancelLiveSession" => &[InvalidRequest, NotHost, RoomNotFound, MeetingStarted],
        "joinLiveRoom" => &[InvalidRequest, Kicked, Banned, Rejected, RoomNotFound, RoomNotActive, RoomFull],
        "getLiveAccessToken" => &[
            InvalidRequest,
            NotParticipant,
            Kicked,
            Banned,
            WaitingInLobby,
            Rejected,
            RoomNotFound,
            RoomNotActive,
            RoomFull,
            LivekitUnavailable,
        ],
        "admitFromLobby" => &[InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotActive, RoomFull],
        "rejectFromLobby" => &[InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotActive],
        "admitAllFromLobby" => &[InvalidRequest, NotHost, RoomNotFound, RoomNotActive],
        "promoteInLiveRoom" | "demoteInLiveRoom" | "kickFromLiveRoom" => {
            &[InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotActive]
        }
        "muteInLiveRoom" => {
            &[InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotActive, LivekitUnavailable]
        }
        "raiseHand" => &[InvalidRequest, TooLarge, NotParticipant, RoomNotFound, RoomNotActive],
        "listStreams" | "watchStreams" => &[InvalidRequest],
        _ => return None,
    })
}
