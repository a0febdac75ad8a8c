//! `/api/notifications`: notifications about the caller's bookings and recordings, newest first.

use axum::{Json, extract::State};
use chassis::status::Reason::{InvalidRequest, NotificationNotFound, TooLarge};
use domain::NotificationKind;
use proto::booking::v1 as pb;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::{
    auth::SignedIn,
    clients::Clients,
    error::Rejection,
    extract::{EmptyObject, Id, JsonBody, Query},
    wire::{self, Envelope},
};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notification {
    #[schema(format = Uuid)]
    id: String,
    kind: NotificationKind,
    /// What it is about; its fields depend on the kind.
    #[schema(value_type = Object)]
    payload: serde_json::Value,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    read_at: Option<OffsetDateTime>,
}

impl TryFrom<pb::Notification> for Notification {
    type Error = Rejection;

    fn try_from(notification: pb::Notification) -> Result<Self, Rejection> {
        let payload = serde_json::from_str(&notification.payload_json);
        Ok(Self {
            id: notification.id,
            kind: notification.kind.try_into()?,
            // Stored JSON that cannot be read is a failure of ours, and the caller gets a 500.
            payload: payload.map_err(|_| Rejection::Incomplete("notification.payload_json"))?,
            created_at: wire::time("notification.created_at", notification.created_at)?,
            read_at: wire::time_or_null(notification.read_at),
        })
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListNotifications {
    /// Default: 20.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100)]
    limit: Option<wire::Limit>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Lists the caller's notifications.
///
/// Returns what happened to the caller's bookings and recordings, newest first, page by page. Read-only. Any
/// signed-in person.
#[utoipa::path(get, path = "/api/notifications", operation_id = "listNotifications", tag = "Notifications",
    params(ListNotifications),
    responses((status = 200, body = Envelope<Vec<Notification>>, description = "A page.")),
    extensions(("x-refuses" = json!([InvalidRequest]))))]
pub(crate) async fn list(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Query(query): Query<ListNotifications>,
) -> Result<Json<Envelope<Vec<Notification>>>, Rejection> {
    let request = pb::ListNotificationsRequest {
        caller: Some(caller),
        limit: wire::limit(query.limit),
        cursor: query.cursor,
    };
    let page = clients.booking().list_notifications(request).await?.into_inner();
    let notifications = page.notifications.into_iter().map(Notification::try_from);
    Ok(Envelope::page(notifications.collect::<Result<_, _>>()?, page.next_cursor))
}

/// Marks a notification as read.
///
/// Idempotent: a repeat keeps the first `readAt`. The person whose notification it is.
#[utoipa::path(post, path = "/api/notifications/{notificationId}/read", operation_id = "readNotification",
    tag = "Notifications", params(("notificationId" = uuid::Uuid, Path)),
    responses((status = 200, body = Envelope<Notification>, description = "The notification.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge, NotificationNotFound]))))]
pub(crate) async fn read(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(notification_id): Id,
    _: JsonBody<EmptyObject>,
) -> Result<Json<Envelope<Notification>>, Rejection> {
    let request = pb::MarkNotificationReadRequest { caller: Some(caller), notification_id };
    let answer = clients.booking().mark_notification_read(request).await?.into_inner();
    let notification = answer.notification.ok_or(Rejection::Incomplete("notification"))?;
    Notification::try_from(notification).map(Envelope::new)
}
