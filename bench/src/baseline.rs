//! The baselines: the SELECT of token, behind axum alone or behind axum and tonic, with the same pool settings.
//!
//! Each server is its own process. There is no authentication, no limit, no log and no signature.

use std::{convert::Infallible, env, net::SocketAddr};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
    routing::get,
};
use proto::{
    token::v1::{
        ExplainRequest, ExplainResponse, IssueForLiveRoomRequest, IssueForLiveRoomResponse,
        IssueForNestRequest, IssueForNestResponse, IssueForSessionRequest, IssueForSessionResponse,
        token_service_client::TokenServiceClient,
        token_service_server::{TokenService, TokenServiceServer},
    },
    types::v1::Caller,
};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::Service,
    server::NamedService,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use uuid::Uuid;

pub const LISTEN: &str = "BENCH_LISTEN";
pub const PEER: &str = "BENCH_PEER";

pub fn address(name: &str) -> Result<SocketAddr> {
    Ok(env::var(name).with_context(|| format!("{name} is missing"))?.parse()?)
}

fn pool() -> Result<PgPool> {
    crate::database::service_pool(&env::var("DATABASE_URL")?, Some(token::config::ROLE))
}

struct Store(PgPool);

#[tonic::async_trait]
impl TokenService for Store {
    async fn issue_for_session(
        &self,
        request: Request<IssueForSessionRequest>,
    ) -> Result<Response<IssueForSessionResponse>, Status> {
        let request = request.into_inner();
        let user = request.caller.map(|caller| caller.user_id).unwrap_or_default();
        let session = request.session_id.parse().map_err(|_| Status::invalid_argument("no id"))?;
        let row = token::store::find_join(&self.0, session, &user).await;
        let row = row.map_err(|error| Status::internal(error.to_string()))?;
        let row = row.ok_or_else(|| Status::not_found("no session"))?;
        Ok(Response::new(IssueForSessionResponse {
            room_name: row.room_name.unwrap_or_default(),
            title: row.title,
            ..IssueForSessionResponse::default()
        }))
    }

    async fn issue_for_live_room(
        &self,
        _: Request<IssueForLiveRoomRequest>,
    ) -> Result<Response<IssueForLiveRoomResponse>, Status> {
        Err(only_bookings())
    }

    async fn issue_for_nest(
        &self,
        _: Request<IssueForNestRequest>,
    ) -> Result<Response<IssueForNestResponse>, Status> {
        Err(only_bookings())
    }

    async fn explain(&self, _: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        Err(only_bookings())
    }
}

fn only_bookings() -> Status {
    Status::unimplemented("the baseline serves only bookings")
}

/// tonic → SELECT.
pub async fn store() -> Result<()> {
    serve_grpc(TokenServiceServer::new(Store(pool()?))).await
}

pub async fn serve_grpc<S>(service: S) -> Result<()>
where
    S: Service<http::Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    let listener = TcpListener::bind(address(LISTEN)?).await?;
    let server = Server::builder().add_service(service);
    Ok(server.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))).await?)
}

/// axum → tonic.
pub async fn http() -> Result<()> {
    let endpoint = Endpoint::from_shared(format!("http://{}", address(PEER)?))?.tcp_nodelay(true);
    let client = TokenServiceClient::new(endpoint.connect_lazy());
    serve(Router::new().route("/{session}/{user}", get(over_grpc)).with_state(client)).await
}

/// axum → SELECT.
pub async fn direct() -> Result<()> {
    serve(Router::new().route("/{session}/{user}", get(in_process)).with_state(pool()?)).await
}

pub async fn serve(router: Router) -> Result<()> {
    let listener = TcpListener::bind(address(LISTEN)?).await?;
    Ok(axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))),
        router,
    )
    .await?)
}

async fn over_grpc(
    State(mut client): State<TokenServiceClient<Channel>>,
    Path((session_id, user_id)): Path<(String, String)>,
) -> Result<Json<serde_json::Value>, StatusCode> {
    let caller = Some(Caller { user_id, ..Caller::default() });
    let request = IssueForSessionRequest { caller, session_id, ensure_now: false };
    let answer = client.issue_for_session(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?.into_inner();
    Ok(body(&answer.room_name, &answer.title))
}

async fn in_process(
    State(pool): State<PgPool>,
    Path((session, user)): Path<(Uuid, String)>,
) -> Result<Json<serde_json::Value>, StatusCode> {
    let row = token::store::find_join(&pool, session.into(), &user).await;
    let row = row.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?.ok_or(StatusCode::NOT_FOUND)?;
    Ok(body(row.room_name.as_deref().unwrap_or_default(), &row.title))
}

fn body(room_name: &str, title: &str) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "roomName": room_name, "title": title }))
}
