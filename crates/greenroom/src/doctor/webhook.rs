//! `doctor`'s check of webhooks: those of the test room must arrive in the database. When they do not, `doctor` sends
//! one that it signs itself. The result shows whether LiveKit does not send, or our side does not accept.

use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_STANDARD};
use livekit_api::access_token::AccessToken;
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{Failure, Outcome, Report, Target};
use chassis::clock::Clock;

const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);

pub async fn examine(pool: &PgPool, target: &Target, room: &str, report: &mut Report) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().timeout(WEBHOOK_TIMEOUT).build()?;
    // Webhooks take this way.
    let way = report.first_failed(&["api_url", "services"]);
    report
        .check("webhooks", async {
            match &target.api_url {
                Some(api_url) => {
                    Outcome::from(arrive(pool, target, api_url, room, &http).await).because_of(way)
                }
                None => Outcome::Skipped("API_URL is not set".to_owned()),
            }
        })
        .await;
    Ok(())
}

async fn arrive(
    pool: &PgPool,
    target: &Target,
    api_url: &str,
    room: &str,
    http: &reqwest::Client,
) -> Result<&'static str, Failure> {
    let begun = Instant::now();
    while begun.elapsed() < WEBHOOK_TIMEOUT {
        match has_event(pool, room).await {
            Ok(true) => return Ok("LiveKit's webhooks arrive"),
            Ok(false) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => {
                return Err(Failure::new(format!("the database failed: {error}"), "see the log of Postgres"));
            }
        }
    }
    // Nothing came, so the own webhook shows which side is at fault.
    let url = format!("{api_url}/api/v1/livekit/webhook");
    send_own(target, &url, http).await?;
    Err(Failure::new(
        format!(
            "LiveKit sent no webhook for the test room within {} s, while {url} accepts ours",
            WEBHOOK_TIMEOUT.as_secs()
        ),
        format!("put {url} under `webhook: urls:` in livekit.yaml, with `api_key:` of this deployment"),
    ))
}

/// Sends a webhook as LiveKit does. An answer other than 200 is the cause.
async fn send_own(target: &Target, url: &str, http: &reqwest::Client) -> Result<(), Failure> {
    let body = json!({
        // An event that LiveKit does not send: it is stored, and changes no room.
        "event": "doctor",
        "id": format!("EV_doctor_{}", Uuid::new_v4()),
        "createdAt": Clock::default().now().unix_timestamp().to_string(),
    })
    .to_string();
    let livekit = &target.livekit;
    let token = AccessToken::with_api_key(&livekit.api_key, livekit.api_secret.expose_secret())
        .with_ttl(WEBHOOK_TIMEOUT)
        .with_sha256(&BASE64_STANDARD.encode(Sha256::digest(&body)))
        .to_jwt()
        .map_err(|error| Failure::new(format!("no token can be signed: {error}"), "check LIVEKIT_API_KEY"))?;
    let request = http.post(url).header("content-type", "application/webhook+json");
    let answer = request.header("authorization", token).body(body).send().await.map_err(|_| {
        Failure::new(
            format!("{url} cannot be reached"),
            "check that the gateway runs, and that API_URL leads to it from here and from LiveKit",
        )
    })?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(Failure::new(
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
