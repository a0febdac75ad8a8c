//! The HTTP gateway: JSON for web clients, gRPC to the services behind it.
//!
//! It stores nothing except caches, and it decides nothing about bookings or rooms. It authenticates callers
//! ([`auth`]), limits their rates ([`limits`]), validates requests, and words refusals ([`error`]). Each resource has
//! one file with its JSON shapes, handlers and conversions.

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;
use chassis::{
    service::{Runtime, StartError},
    transport::Transport,
};
use http::header;
use serde_json::Value;
use tokio::net::TcpListener;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    app::App,
    auth::cookie::CookieAuth,
    edge::{CaughtLayer, EdgeLayer},
    error::Rejection,
    limits::AddressRateLimited,
};

mod address;
mod admin;
mod app;
mod auth;
mod bookings;
mod calendar;
mod clients;
pub mod config;
mod connections;
mod cors;
mod diagnostics;
mod edge;
mod error;
mod extract;
mod family;
mod health;
pub mod identity;
mod intake;
mod limits;
mod links;
mod listen;
mod live;
pub mod local;
mod me;
pub mod meters;
mod nests;
pub mod nostr;
mod notifications;
mod openapi;
mod principal;
mod rate;
mod recordings;
mod sessions;
mod shares;
mod signer;
mod streams;
mod webhook;
mod wire;

pub use address::TrustedProxies;
pub use auth::claim_paths::{AdminClaim, GroupsClaim};
pub use clients::Peers;
pub use config::{Args, Config, HttpArgs, HttpConfig};
pub use listen::listen;
pub use rate::Rate;

/// The names of the services behind a gateway in its readiness report.
pub const SERVICES: [&str; 4] = ["booking", "room-lifecycle", "token", "sync"];

/// Returns all routes, ready to serve. Starts to watch the health of the peers and, unless `AUTH_HS256_SECRET` is set,
/// to fetch the key set.
pub fn start(config: &HttpConfig, peers: Peers, runtime: &Runtime) -> Result<Router, StartError> {
    chassis::telemetry::meters::describe(meters::METERS, meters::TASKS);
    // The order of the names is that of the peers.
    for (name, peer) in SERVICES.into_iter().zip([&peers.booking, &peers.room, &peers.token, &peers.sync]) {
        watch(name, peer, runtime);
    }
    let app = App::start(config, peers, runtime)?;
    let (router, nests, document) = routes();
    let cookie = config.cookie.as_ref().map(CookieAuth::name);
    let document = openapi::finish(document, config.api_url.as_deref(), cookie);
    // Counted too, although it needs no sign-in: the document is large.
    let documentation = documentation(document)?.layer(from_fn_with_state(app.clone(), count));
    let router = router
        .route("/webhooks/livekit", post(webhook::receive))
        .fallback(async |_: AddressRateLimited| Rejection::NoRoute)
        .method_not_allowed_fallback(no_method)
        .with_state(app.clone())
        .merge(documentation);
    // Innermost: it sees each answer of these routes, and none of nests, which read no cookie.
    let router = match &config.cookie {
        Some(cookie) => router.layer(from_fn_with_state(cookie.clone(), auth::cookie::keep_private)),
        None => router,
    };
    let cors = if config.cookie.is_some() { config.cors.layer_with_cookie() } else { config.cors.layer() };
    let router = match cors {
        // The order from outside in: the edge logs preflights, CORS covers the answer of a panic.
        Some(cors) => router.layer((EdgeLayer, cors, CaughtLayer)),
        None => router.layer((EdgeLayer, CaughtLayer)),
    };
    // Merged after the layer of the others: nests have a CORS of their own.
    let nests = nests.method_not_allowed_fallback(no_method).with_state(app);
    Ok(router.merge(nests.layer((EdgeLayer, cors::of_nests(&config.cors), CaughtLayer))))
}

/// Returns the OpenAPI document of a gateway that clients reach at `api_url`.
///
/// # Errors
/// Never, unless a schema cannot be written as JSON.
pub fn openapi(api_url: Option<&str>) -> Result<Value, serde_json::Error> {
    let (_, _, document) = routes();
    openapi::finish(document, api_url, None)
}

/// Returns the routes, the routes of nests, and the OpenAPI document of both. Nests are separate because any web page
/// may call them.
fn routes() -> (Router<App>, Router<App>, utoipa::openapi::OpenApi) {
    let (router, mut document) = api().split_for_parts();
    let (nests, of_nests) = nests::routes().split_for_parts();
    document.merge(of_nests);
    (router, nests, document)
}

async fn no_method(_: AddressRateLimited) -> Rejection {
    Rejection::NoMethod
}

fn api() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(bookings::create, bookings::list))
        .routes(routes!(bookings::get, bookings::patch))
        .routes(routes!(bookings::cancel))
        .routes(routes!(calendar::get))
        .routes(routes!(me::get, me::patch))
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::read))
        .routes(routes!(sessions::create_room))
        .routes(routes!(sessions::access_token))
        .routes(routes!(sessions::end_room))
        .routes(routes!(sessions::status))
        .routes(routes!(sessions::kick))
        .merge(recordings::routes())
        .merge(live::routes())
        .merge(streams::routes())
        .routes(routes!(diagnostics::diagnose))
        .routes(routes!(diagnostics::repair))
        .merge(admin::routes())
        .routes(routes!(webhook::receive))
        .routes(routes!(health::health))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
}

/// Returns the routes of `/openapi.json`, which is serialized once, and of `/docs`. The page is part of this binary.
fn documentation(document: Result<Value, serde_json::Error>) -> Result<Router, StartError> {
    let wrong = |error| StartError::Setting(format!("the OpenAPI document: {error}"));
    let json = Bytes::from(document.map_err(wrong)?.to_string());
    let answer = move || {
        let headers = [(header::CONTENT_TYPE, "application/json")];
        std::future::ready((headers, json.clone()))
    };
    let page = SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from("/openapi.json"));
    Ok(Router::from(page).route("/openapi.json", get(answer)))
}

/// Takes a rate-limit token of the request's address before the request is served.
async fn count(_: AddressRateLimited, request: Request, next: Next) -> Response {
    next.run(request).await
}

/// Serves a gateway with these settings until the process stops.
pub async fn serve(config: Config, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    let router = start(&config.http, Peers::at(&config), runtime)?;
    listen(router, listener, &config.http, runtime).await
}

/// Watches the health of a service. The gateway serves while it is down: most routes need one service, and no route
/// needs all.
fn watch(name: &'static str, peer: &Transport, runtime: &Runtime) {
    let client = HealthClient::new(peer.clone());
    runtime.readiness.watch(&runtime.lifecycle, name, false, move || {
        let mut client = client.clone();
        async move {
            let answer = client.check(HealthCheckRequest::default()).await?;
            match answer.into_inner().status() {
                ServingStatus::Serving => Ok(()),
                status => Err(tonic::Status::unavailable(status.as_str_name())),
            }
        }
    });
}
