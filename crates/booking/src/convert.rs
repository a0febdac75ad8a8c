//! Converts rows to protobuf.

use chassis::grpc::timestamp;
use domain::{DeliveryState, NotificationKind, Owner, RoomStatus, field::non_empty};
use proto::{booking::v1 as pb, room::v1::Room};

use crate::store::{Booking, Delivery, Notification};

pub fn booking(row: Booking) -> pb::Booking {
    pb::Booking {
        room: room(&row),
        id: row.id.to_string(),
        title: row.title,
        description: row.description,
        status: row.status.into(),
        scheduled_at: Some(timestamp(row.scheduled_at)),
        duration_minutes: row.duration_minutes,
        time_zone: row.time_zone,
        opens_at: Some(timestamp(row.opens_at)),
        closes_at: Some(timestamp(row.closes_at)),
        meeting_url: row.meeting_url,
        host: Some(person(row.host_id, row.host_name, row.host_avatar)),
        guest: Some(person(row.guest_id, row.guest_name, row.guest_avatar)),
        cancelled_at: row.cancelled_at.map(timestamp),
        cancel_reason: non_empty(row.cancel_reason),
        created_at: Some(timestamp(row.created_at)),
        updated_at: Some(timestamp(row.updated_at)),
        link_version: row.link_version,
    }
}

fn person(id: String, name: String, avatar: String) -> pb::Person {
    pb::Person { id, name, avatar_url: non_empty(avatar) }
}

/// Sets a booking's room from the response of room-lifecycle, which is newer than the row.
pub fn set_room(booking: &mut Booking, room: Option<Room>) {
    let Some(room) = room else { return };
    let Ok(status) = room.status.try_into().inspect_err(|error| {
        tracing::error!(%error, session.id = %booking.id, "room-lifecycle answered with an unknown status");
    }) else {
        return;
    };
    booking.room_status = Some(status);
    booking.room_name = Some(room.room_name);
    booking.room_sid = room.room_sid;
}

/// Returns the room of a booking. An open booking without a record has a pending room with its future name, until
/// room-lifecycle has written the intent.
fn room(row: &Booking) -> Option<pb::Room> {
    match (row.room_status, &row.room_name) {
        (Some(status), Some(name)) => {
            Some(pb::Room { status: status.into(), room_name: name.clone(), room_sid: row.room_sid.clone() })
        }
        _ if row.status.is_open() && !row.is_overdue() => Some(pb::Room {
            status: RoomStatus::Pending.into(),
            room_name: Owner::Session(row.id).room_name(1),
            room_sid: None,
        }),
        _ => None,
    }
}

/// Converts a notification. None: this version does not know its kind. The other rows of the page can still be read.
pub fn notification(row: Notification) -> Option<pb::Notification> {
    let kind: NotificationKind = row
        .kind
        .parse()
        .inspect_err(|_| {
            tracing::error!(notification.id = %row.id, kind = row.kind, "notification of an unknown kind was skipped");
        })
        .ok()?;
    Some(pb::Notification {
        id: row.id.to_string(),
        kind: kind.into(),
        payload_json: row.payload,
        created_at: Some(timestamp(row.created_at)),
        read_at: row.read_at.map(timestamp),
    })
}

pub fn delivery(row: Delivery, state: DeliveryState) -> pb::Delivery {
    pb::Delivery {
        id: row.id.to_string(),
        notification_id: row.notification_id.to_string(),
        kind: row.kind,
        channel: row.channel.into(),
        state: state.into(),
        user_id: row.user_id,
        booking_id: row.session_id.map(|id| id.to_string()),
        attempts: row.attempts,
        last_error: row.last_error,
        created_at: Some(timestamp(row.created_at)),
        due_at: Some(timestamp(row.due_at)),
        dead_at: row.dead_at.map(timestamp),
    }
}
