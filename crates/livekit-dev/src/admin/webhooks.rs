//! Where webhooks go, which faults they meet, and what became of them.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};

use crate::{ArmedMishap, Delivery, LiveKitDev, Order};

#[derive(Serialize)]
pub(super) struct Report {
    urls: Vec<String>,
    chaos: Vec<ArmedMishap>,
    deliveries: Vec<Delivery>,
}

#[derive(Deserialize)]
pub(super) struct Urls {
    urls: Vec<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Release {
    #[serde(default)]
    order: Order,
}

pub(super) async fn get(State(server): State<LiveKitDev>) -> Json<Report> {
    let webhooks = server.webhooks();
    let chaos = webhooks.with_chaos(|chaos| chaos.list());
    Json(Report { urls: webhooks.urls(), chaos, deliveries: webhooks.deliveries() })
}

pub(super) async fn set_urls(State(server): State<LiveKitDev>, Json(body): Json<Urls>) -> StatusCode {
    server.set_webhook_urls(body.urls);
    StatusCode::NO_CONTENT
}

pub(super) async fn arm(State(server): State<LiveKitDev>, Json(armed): Json<ArmedMishap>) -> StatusCode {
    server.arm_mishap(armed);
    StatusCode::NO_CONTENT
}

pub(super) async fn clear(State(server): State<LiveKitDev>) -> StatusCode {
    server.clear_mishaps();
    StatusCode::NO_CONTENT
}

pub(super) async fn hold(State(server): State<LiveKitDev>) -> StatusCode {
    server.hold_webhooks();
    StatusCode::NO_CONTENT
}

pub(super) async fn release(State(server): State<LiveKitDev>, body: Option<Json<Release>>) -> StatusCode {
    let Json(Release { order }) = body.unwrap_or_default();
    server.release_webhooks(order);
    StatusCode::NO_CONTENT
}

/// Answers when all queues are empty.
pub(super) async fn idle(State(server): State<LiveKitDev>) -> StatusCode {
    // A stop must not wait for queues whose receiver does not answer.
    match server.stopping().run_until_cancelled(server.webhooks_idle()).await {
        Some(()) => StatusCode::NO_CONTENT,
        None => StatusCode::SERVICE_UNAVAILABLE,
    }
}
