//! What the operations of `/api/v1/nests` can refuse with.

use chassis::status::Reason::{self, InvalidRequest, LivekitUnavailable, RoomFull, RoomNotFound, TooLarge};

pub(super) fn reasons(operation: &str) -> Option<&'static [Reason]> {
    Some(match operation {
        "createNest" | "setNestPermissions" => &[InvalidRequest, TooLarge, RoomNotFound, LivekitUnavailable],
        "getNestToken" => &[InvalidRequest, TooLarge, RoomNotFound, RoomFull, LivekitUnavailable],
        "getNestGuestToken" => &[RoomNotFound, LivekitUnavailable],
        "getNestInfo" | "getNestStream" => &[RoomNotFound],
        "endNest" => &[InvalidRequest, TooLarge, RoomNotFound],
        _ => return None,
    })
}
