//! The gRPC interface: the listing in pages, the change feed, and the status of the alignment.

use chassis::{
    grpc::{page_request, timestamp},
    status::Fields,
};
use domain::{
    field::{maybe_line, maybe_one_of},
    page::fetch_limit,
};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use proto::sync::v1::{
    GetStatusRequest, GetStatusResponse, ListStreamsRequest, ListStreamsResponse, StreamEvent,
    WatchStreamsRequest, sync_service_server::SyncService,
};
use tonic::{Request, Response, Status};

use crate::{
    Listing,
    catch_up::watch,
    convert,
    error::Error,
    store::{self, Filter, Search},
    viewer::Viewer,
};

#[tonic::async_trait]
impl SyncService for Listing {
    async fn list_streams(
        &self,
        request: Request<ListStreamsRequest>,
    ) -> Result<Response<ListStreamsResponse>, Status> {
        let request = request.into_inner();
        let viewer = Viewer::of(request.caller)?;
        let mut wrong = Fields::default();
        let (limit, after) = wrong.check(page_request(request.limit, request.cursor.as_deref()));
        let filter = Filter {
            status: wrong.check(maybe_one_of("status", request.status)),
            search: Search::of(&wrong.check(maybe_line(
                "q",
                request.query.as_deref().unwrap_or_default(),
                100,
            ))),
            after,
        };
        wrong.finish()?;
        // Searches, and pages for members of groups, may read many rows to find few that the viewer may see. Few of
        // them run at the same time, so that other pages and the marks get their connections.
        let is_long = filter.search.is_some() || (!viewer.is_admin && !viewer.groups.is_empty());
        // None only for a closed semaphore, and this one is never closed.
        let _permit = if is_long { self.searches.acquire().await.ok() } else { None };
        let rows = store::list_streams(&self.pool, viewer.reader(), &filter, fetch_limit(limit)).await;
        Ok(Response::new(convert::streams(rows.map_err(Error::from)?, limit, &viewer)))
    }

    type WatchStreamsStream = BoxStream<'static, Result<StreamEvent, Status>>;

    async fn watch_streams(
        &self,
        request: Request<WatchStreamsRequest>,
    ) -> Result<Response<Self::WatchStreamsStream>, Status> {
        let request = request.into_inner();
        let viewer = Viewer::of(request.caller)?;
        let stopping = self.lifecycle.stopping().clone();
        let events = watch(self.pool.clone(), &self.feed, viewer, request.after_version, stopping).await?;
        Ok(Response::new(events.map_err(Status::from).boxed()))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let waiting = store::find_waiting(&self.pool).await.map_err(Error::from)?;
        let last = self.last_comparison();
        Ok(Response::new(GetStatusResponse {
            dirty: waiting.dirty,
            set_aside: waiting.set_aside,
            lag_seconds: waiting.lag,
            drift: last.map_or(0, |last| i64::try_from(last.compared.marked).unwrap_or(i64::MAX)),
            compared_at: last.map(|last| timestamp(last.at)),
        }))
    }
}
