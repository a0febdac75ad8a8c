//! Webhooks as `doctor` sees them: the test room's own ones must arrive in the database. When they do not, one
//! that is signed here tells whether LiveKit does not send, or our side does not take.

use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_STANDARD};
use livekit_api::access_token::AccessToken;
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{Outcome, Patient, Report, Trouble};
use chassis::clock::Clock;

const PATIENCE: Duration = Duration::from_secs(5);

pub async fn examine(
    pool: &PgPool,
    patient: &Patient,
    room: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
    report
        .check("webhooks", async {
            match &patient.api_url {
                Some(api_url) => arrive(pool, patient, api_url, room, &http).await.into(),
                None => Outcome::Skipped("API_URL is not set".to_owned()),
            }
        })
        .await;
    Ok(())
}

async fn arrive(
    pool: &PgPool,
    patient: &Patient,
    api_url: &str,
    room: &str,
    http: &reqwest::Client,
) -> Result<&'static str, Trouble> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match has_event(pool, room).await {
            Ok(true) => return Ok("LiveKit's webhooks arrive"),
            Ok(false) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => {
                return Err(Trouble::new(format!("the database failed: {error}"), "see the log of Postgres"));
            }
        }
    }
    let url = format!("{api_url}/api/v1/livekit/webhook");
    send_own(patient, &url, http).await?;
    Err(Trouble::new(
        format!(
            "LiveKit sent no webhook for the test room within {} s, while {url} takes ours",
            PATIENCE.as_secs()
        ),
        format!("put {url} under `webhook: urls:` in livekit.yaml, with `api_key:` of this deployment"),
    ))
}

/// Sends what LiveKit would send; an answer other than 200 is the cause.
async fn send_own(patient: &Patient, url: &str, http: &reqwest::Client) -> Result<(), Trouble> {
    let body = json!({
        "event": "doctor",
        "id": format!("EV_doctor_{}", Uuid::new_v4()),
        "createdAt": Clock::default().now().unix_timestamp().to_string(),
    })
    .to_string();
    let livekit = &patient.livekit;
    let token = AccessToken::with_api_key(&livekit.api_key, livekit.api_secret.expose_secret())
        .with_ttl(PATIENCE)
        .with_sha256(&BASE64_STANDARD.encode(Sha256::digest(&body)))
        .to_jwt()
        .map_err(|error| Trouble::new(format!("no token can be made: {error}"), "look at LIVEKIT_API_KEY"))?;
    let request = http.post(url).header("content-type", "application/webhook+json");
    let answer = request.header("authorization", token).body(body).send().await.map_err(|_| {
        Trouble::new(
            format!("{url} cannot be reached"),
            "see that the gateway runs, and that API_URL leads to it from here and from LiveKit",
        )
    })?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(Trouble::new(
            format!("{url} answers {status} to a webhook signed with the API key"),
            "see the log of room-lifecycle, and that it has the same LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
        )),
    }
}

async fn has_event(executor: impl PgExecutor<'_>, room: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
               select from livekit_events
               where received_at > app_now() - interval '1 minute' and payload #>> '{room,name}' = $1) as "there!""#,
        room
    )
    .fetch_one(executor)
    .await
}
