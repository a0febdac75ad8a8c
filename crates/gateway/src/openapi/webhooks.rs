//! The webhooks that Greenroom sends to the back end of the product (docs/notifications.md, "Webhooks").

use serde_json::{Value, json};
use time::OffsetDateTime;
use utoipa::ToSchema;

use domain::NotificationKind;

/// An event that is sent to `NOTIFY_WEBHOOK_URL`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that the booking service writes")]
pub(super) struct WebhookEvent {
    r#type: NotificationKind,
    /// When the event happened.
    timestamp: OffsetDateTime,
    data: WebhookData,
}

/// The facts of an event. Every event has `notificationId` and `userId`; the other fields depend on its type.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes a body that the booking service writes")]
struct WebhookData {
    #[schema(format = Uuid)]
    notification_id: String,
    /// The user who is notified. Null: the admins.
    #[schema(required = true)]
    user_id: Option<String>,
    #[schema(format = Uuid)]
    booking_id: Option<String>,
    /// `recording_ready`, `recording_failed`: the live room, if it is not a booking's recording.
    #[schema(format = Uuid)]
    live_room_id: Option<String>,
    title: Option<String>,
    scheduled_at: Option<OffsetDateTime>,
    duration_minutes: Option<i32>,
    /// The IANA zone of the booking, if it has one.
    time_zone: Option<String>,
    meeting_url: Option<String>,
    /// The version of the booking: each change raises it.
    sequence: Option<i32>,
    /// `booking_rescheduled`, `booking_changed`: the new description, if it changed.
    description: Option<String>,
    /// `booking_rescheduled`, `booking_changed`: what the change replaced. A field that did not change is absent.
    previous: Option<PreviousBooking>,
    /// `booking_cancelled`.
    cancel_reason: Option<String>,
    /// `reminder`.
    minutes_before: Option<i32>,
    /// `room_failed`: why.
    code: Option<String>,
    /// `mail_undeliverable`: the guest that no mail reaches.
    guest_id: Option<String>,
    /// `mail_undeliverable`: the kind of the mail.
    kind: Option<String>,
    /// `recording_ready`, `recording_failed`.
    #[schema(format = Uuid)]
    recording_id: Option<String>,
    /// `recording_ready`.
    duration_seconds: Option<f64>,
    /// `recording_failed`: why.
    error: Option<String>,
}

/// What a change of a booking replaced.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes a body that the booking service writes")]
struct PreviousBooking {
    scheduled_at: Option<OffsetDateTime>,
    duration_minutes: Option<i32>,
    title: Option<String>,
    description: Option<String>,
}

/// The section `webhooks`: one event for each notification of a user.
pub(super) fn section() -> Value {
    let header = |name: &str, description: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": description,
            "schema": {"type": "string"}
        })
    };
    json!({"notification": {"post": {
        "operationId": "sendNotification",
        "tags": ["Notifications"],
        "summary": "Sends a notification to the product's own back end",
        "description": "Sent to `NOTIFY_WEBHOOK_URL`, signed as standard-webhooks specifies. Any 2xx within 5 s confirms; \
            anything else is retried for 72 h with the same `webhook-id`, after the time of `Retry-After` if there is \
            one. At least once: drop repeats by `webhook-id`. In order within a booking.",
        "security": [],
        "parameters": [
            header("webhook-id", "The same for each repeat of the event."),
            header("webhook-timestamp", "Unix seconds of this attempt."),
            header("webhook-signature", "`v1,<base64>`: HMAC-SHA256 of `<webhook-id>.<webhook-timestamp>.<body>`. Two \
                signatures while the secret is replaced.")
        ],
        "requestBody": {"required": true, "content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/WebhookEvent"},
            "example": {
                "type": "booking_created",
                "timestamp": "2026-08-04T12:00:00.123456Z",
                "data": {
                    "notificationId": "0198f3a2-4c1e-7d10-9a3b-5e6f708192a3",
                    "userId": "ada",
                    "bookingId": "0198f3a2-4c1e-7d10-9a3b-5e6f708192a4",
                    "title": "Algebra",
                    "scheduledAt": "2026-08-05T14:30:00.000000Z",
                    "durationMinutes": 45,
                    "sequence": 0,
                    "meetingUrl": "https://app.example.org/meet/0198f3a2-4c1e-7d10-9a3b-5e6f708192a4"
                }
            }
        }}},
        "responses": {
            "2XX": {"description": "The event is confirmed."},
            "4XX": {"description": "The event is retried."}
        }
    }}})
}
