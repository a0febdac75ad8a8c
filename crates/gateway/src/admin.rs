//! `/api/v1/admin`: routes for operators. They require the admin claim.

use axum::{
    Json,
    extract::{FromRef, FromRequestParts, State},
};
use chassis::status::Reason::{InvalidRequest, NotAdmin};
use chassis::status::{Reason, Refusal};
use domain::{DeliveryChannel, DeliveryState, SessionId};
use http::request::Parts;
use proto::{booking::v1 as pb, types::v1::Caller};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Auth,
    clients::Clients,
    error::Rejection,
    extract::Query,
    wire::{self, Envelope},
};

mod rooms;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(notifications))
        .routes(routes!(rooms::stuck))
        .routes(routes!(rooms::orphans))
        .routes(routes!(rooms::drift))
        .routes(routes!(rooms::events))
}

/// A person with the admin claim.
pub(crate) struct Admin(pub(crate) Caller);

impl<S> FromRequestParts<S> for Admin
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let caller = Auth::from_ref(state).sign_in(parts).await?;
        if caller.is_admin {
            Ok(Self(caller))
        } else {
            Err(Refusal::new(Reason::NotAdmin, "Only administrators see this.").into())
        }
    }
}

/// A notification that was not delivered over a channel, or not yet.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivery {
    #[schema(format = Uuid)]
    id: String,
    #[schema(format = Uuid)]
    notification_id: String,
    /// Also kinds that no release of the gateway knows.
    #[schema(value_type = domain::NotificationKind)]
    kind: String,
    channel: DeliveryChannel,
    /// `dead` (given up), `pending` (to be sent) or `waiting` (no address of the user is known).
    state: DeliveryState,
    /// Null: for the admins.
    user_id: Option<String>,
    #[schema(value_type = Option<SessionId>)]
    booking_id: Option<String>,
    attempts: i32,
    last_error: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// The next attempt of a pending one. Of a waiting one, the end of the booking: it is dropped then.
    #[serde(with = "time::serde::rfc3339")]
    due_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    dead_at: Option<OffsetDateTime>,
}

impl TryFrom<pb::Delivery> for Delivery {
    type Error = Rejection;

    fn try_from(delivery: pb::Delivery) -> Result<Self, Rejection> {
        Ok(Self {
            id: delivery.id,
            notification_id: delivery.notification_id,
            kind: delivery.kind,
            channel: delivery.channel.try_into()?,
            state: delivery.state.try_into()?,
            user_id: delivery.user_id,
            booking_id: delivery.booking_id,
            attempts: delivery.attempts,
            last_error: delivery.last_error,
            created_at: wire::time("delivery.created_at", delivery.created_at)?,
            due_at: wire::time("delivery.due_at", delivery.due_at)?,
            dead_at: wire::time_or_null(delivery.dead_at),
        })
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListDeliveries {
    /// Given up (default), to be sent, or waiting for the address of the user.
    #[param(inline)]
    state: Option<DeliveryState>,
    /// Default: 20.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100)]
    limit: Option<wire::Limit>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Lists notifications that were not delivered.
///
/// Returns deliveries of one state with their last error, newest first, page by page. Read-only. Admins only.
#[utoipa::path(get, path = "/api/v1/admin/notifications", operation_id = "listDeliveries", tag = "Operation",
    params(ListDeliveries), responses((status = 200, body = Envelope<Vec<Delivery>>, description = "A page.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotAdmin]))))]
pub(crate) async fn notifications(
    State(clients): State<Clients>,
    Admin(caller): Admin,
    Query(query): Query<ListDeliveries>,
) -> Result<Json<Envelope<Vec<Delivery>>>, Rejection> {
    let request = pb::ListDeliveriesRequest {
        caller: Some(caller),
        state: query.state.map(Into::into),
        limit: wire::limit(query.limit),
        cursor: query.cursor,
    };
    let page = clients.booking().list_deliveries(request).await?.into_inner();
    let deliveries = page.deliveries.into_iter().map(Delivery::try_from);
    Ok(Envelope::page(deliveries.collect::<Result<_, _>>()?, page.next_cursor))
}
