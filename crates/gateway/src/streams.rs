//! `/api/v1/live/streams`: the listing of live rooms, and every change of it as server-sent events.
//!
//! A row has all columns of the legacy table `community_live_streams`. Readers are signed-in users and, by a setting,
//! all clients.

use axum::{Json, extract::State};
use chassis::status::Reason::InvalidRequest;
use domain::{StreamStatus, field};
use proto::sync::v1 as pb;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{reader::ListingReader, row::StreamRow};
use crate::{
    app::App,
    clients::Clients,
    error::Rejection,
    extract::{self, Query},
    wire,
};

pub(crate) mod catch_up;
mod events;
mod feed;
mod listener_limits;
mod reader;
mod row;
pub(crate) mod state;
mod ticket;
mod ticket_signer;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(events::watch)).routes(routes!(ticket::create))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListStreams {
    #[param(inline)]
    status: Option<StreamStatus>,
    /// Searched for in title, description and tags, without regard to case; `%` and `_` have no special meaning. A text
    /// of fewer than 3 characters is compared with the beginning of titles only.
    #[param(value_type = Option<String>, max_length = 100)]
    q: Option<Search>,
    /// Default: 20.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100)]
    limit: Option<wire::Limit>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A cleaned search text.
struct Search(String);

impl<'de> Deserialize<'de> for Search {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The same check as the service's, so that the message names the parameter of the URL.
        let line = field::maybe_line("q", &text, 100);
        line.map(Self).map_err(|refusal| D::Error::custom(extract::ours(&refusal.message)))
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct StreamPage {
    /// Always true.
    ok: bool,
    streams: Vec<StreamRow>,
    /// The cursor of the next page. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Lists the live rooms.
///
/// Latest start first, page by page. Read-only. Any signed-in person; without a token only where the operator has
/// made the listing public.
#[utoipa::path(get, path = "/api/v1/live/streams", operation_id = "listStreams", tag = "Listing",
    params(ListStreams), responses((status = 200, body = StreamPage, description = "A page.")),
    extensions(("x-refuses" = json!([InvalidRequest]))))]
pub(crate) async fn list(
    State(clients): State<Clients>,
    ListingReader(caller): ListingReader,
    Query(query): Query<ListStreams>,
) -> Result<Json<StreamPage>, Rejection> {
    let request = pb::ListStreamsRequest {
        caller,
        status: query.status.map(Into::into),
        query: query.q.map(|Search(text)| text),
        limit: wire::limit(query.limit),
        cursor: query.cursor,
    };
    let page = clients.sync().list_streams(request).await?.into_inner();
    let streams = page.streams.into_iter().map(StreamRow::try_from).collect::<Result<_, _>>()?;
    Ok(Json(StreamPage { ok: true, streams, next_cursor: page.next_cursor }))
}
