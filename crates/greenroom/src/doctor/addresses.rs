//! `doctor`'s checks of the addresses that clients are given: LiveKit's for browsers, and the gateway's.

use std::time::Duration;

use chassis::chain::chain;
use serde_json::Value;

use super::{
    Failure, FailureKind, Outcome, Report, Target,
    livekit::{self, Upgrade},
};
use crate::proxy::between;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const ONLY_CLIENTS: &str = "; with --inside this is only a warning, because clients may still reach it";

/// Checks `LIVEKIT_WS_URL`: a browser must get a WebSocket there, of the server that has the test room.
pub async fn ws_url(livekit: &livekit::Client, target: &Target, room: &str) -> Outcome {
    let url = &target.livekit.ws_url;
    let outcome: Outcome = match livekit.upgrade(url, room).await {
        Ok(Upgrade::Switched) => Ok(format!("Browsers reach LiveKit at {url}")),
        Ok(Upgrade::Refused(status, text)) => Err(refused(url, status, &text)),
        Err(why) => Err(Failure::new(
            format!("{url}, which browsers use, cannot be reached: {why}{}", hint(target)),
            "check LIVEKIT_WS_URL, its DNS name and certificate, and the proxy in front of LiveKit",
        )
        .of(FailureKind::Unreachable)),
    }
    .into();
    outcome.warning_if(target.inside, FailureKind::Unreachable)
}

fn refused(url: &str, status: u16, text: &str) -> Failure {
    match status {
        401 => Failure::new(
            format!("{url}, which browsers use, refuses a token that LIVEKIT_URL accepts ({text})"),
            "LIVEKIT_WS_URL and LIVEKIT_URL must lead to the same LiveKit server or cluster",
        ),
        404 => Failure::new(
            format!("{url}, which browsers use, does not have the room that was created at LIVEKIT_URL"),
            "LIVEKIT_WS_URL and LIVEKIT_URL must lead to the same LiveKit server or cluster, without another path",
        ),
        status => Failure::new(
            format!("{url}, which browsers use, answers {status} to a WebSocket"),
            "check that LIVEKIT_WS_URL leads to LiveKit, and that the proxy in front of it lets WebSockets through",
        ),
    }
}

fn hint(target: &Target) -> &'static str {
    if target.inside { "" } else { ONLY_CLIENTS }
}

/// Checks `API_URL` and `PUBLIC_URLS`: each must lead to a gateway.
pub async fn examine_api(target: &Target, report: &mut Report) -> anyhow::Result<()> {
    let http = client()?;
    let is_proxied = target.api_url.as_deref().and_then(between).is_some();
    let proxy = report.first_failed(&["proxy"]).filter(|_| is_proxied);
    report.check("api_url", async { api_urls(&http, target).await.because_of(proxy) }).await;
    Ok(())
}

/// A client for the gateway's routes.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(ANSWER_TIMEOUT).build()
}

async fn api_urls(http: &reqwest::Client, target: &Target) -> Outcome {
    let urls: Vec<&String> = target.api_url.iter().chain(&target.public_urls).collect();
    if urls.is_empty() {
        return Outcome::Skipped("API_URL is not set".to_owned());
    }
    let mut unreachable = None;
    for url in &urls {
        match readiness(http, url).await {
            Ok(_) => {}
            // A wrong answer is worse than none: it is reported first.
            Err(failure) if failure.kind == FailureKind::Unreachable => {
                unreachable.get_or_insert(failure);
            }
            Err(failure) => return Outcome::Failed(failure),
        }
    }
    match unreachable {
        None => {
            let urls: Vec<&str> = urls.iter().map(|url| url.as_str()).collect();
            Outcome::Passed(format!("Clients reach the gateway at {}", urls.join(", ")))
        }
        Some(mut failure) => {
            failure.cause.push_str(hint(target));
            Outcome::Failed(failure).warning_if(target.inside, FailureKind::Unreachable)
        }
    }
}

/// The body of `/readyz` of the gateway at this address.
pub async fn readiness(http: &reqwest::Client, base: &str) -> Result<Value, Failure> {
    let url = format!("{base}/readyz");
    let answer = http.get(&url).send().await.map_err(|error| {
        Failure::new(
            format!("the gateway at {base} cannot be reached: {}", chain(&error.without_url())),
            "check that the gateway runs, API_URL and PUBLIC_URLS, their DNS names and certificates, and the proxy",
        )
        .of(FailureKind::Unreachable)
    })?;
    let status = answer.status();
    let body = answer.json::<Value>().await.unwrap_or_default();
    if body["dependencies"].is_object() {
        return Ok(body);
    }
    Err(Failure::new(
        format!("{url} answers {status}, and not as a gateway of Greenroom does"),
        "check that API_URL and PUBLIC_URLS lead to the gateway, without a path that the proxy does not remove",
    ))
}
