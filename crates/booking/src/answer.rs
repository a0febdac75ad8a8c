//! Rows as the interface tells them.

use chassis::grpc::timestamp;
use domain::{Owner, RoomStatus};
use proto::booking::v1 as pb;

use crate::store::{Booking, Delivery, DeliveryState, Notification};

pub fn booking(row: Booking) -> pb::Booking {
    pb::Booking {
        room: room(&row),
        id: row.id.to_string(),
        title: row.title,
        description: row.description,
        status: row.status.as_str().to_owned(),
        scheduled_at: Some(timestamp(row.scheduled_at)),
        duration_minutes: row.duration_minutes,
        opens_at: Some(timestamp(row.opens_at)),
        closes_at: Some(timestamp(row.closes_at)),
        meeting_url: row.meeting_url,
        host: Some(pb::Person { id: row.host_id, name: row.host_name, avatar_url: row.host_avatar }),
        guest: Some(pb::Person { id: row.guest_id, name: row.guest_name, avatar_url: row.guest_avatar }),
        cancelled_at: row.cancelled_at.map(timestamp),
        cancel_reason: row.cancel_reason,
        created_at: Some(timestamp(row.created_at)),
        updated_at: Some(timestamp(row.updated_at)),
        link_version: row.link_version,
    }
}

/// A booking that can still be held has a room, on record or not: until room-lifecycle has written its intent, it
/// is pending under the name that it will get.
fn room(row: &Booking) -> Option<pb::Room> {
    match (&row.room_status, &row.room_name) {
        (Some(status), Some(name)) => Some(pb::Room {
            status: status.clone(),
            room_name: name.clone(),
            room_sid: row.room_sid.clone().unwrap_or_default(),
        }),
        _ if row.status.is_open() && !row.is_overdue() => Some(pb::Room {
            status: RoomStatus::Pending.as_str().to_owned(),
            room_name: Owner::Session(row.id).room_name(1),
            room_sid: String::new(),
        }),
        _ => None,
    }
}

pub fn notification(row: Notification) -> pb::Notification {
    pb::Notification {
        id: row.id.to_string(),
        kind: row.kind,
        payload_json: row.payload,
        created_at: Some(timestamp(row.created_at)),
        read_at: row.read_at.map(timestamp),
    }
}

pub fn delivery(row: Delivery, state: DeliveryState) -> pb::Delivery {
    pb::Delivery {
        id: row.id.to_string(),
        notification_id: row.notification_id.to_string(),
        kind: row.kind,
        channel: row.channel,
        state: state.as_str().to_owned(),
        user_id: row.user_id.unwrap_or_default(),
        booking_id: row.session_id.map(|id| id.to_string()).unwrap_or_default(),
        attempts: row.attempts,
        last_error: row.last_error.unwrap_or_default(),
        created_at: Some(timestamp(row.created_at)),
        due_at: Some(timestamp(row.due_at)),
        dead_at: row.dead_at.map(timestamp),
    }
}
