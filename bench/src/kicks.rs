//! Kicked guests join again with their old token, which LiveKit accepts. Measures how long until they are removed, with
//! 1,000 open rooms and a guest in each, with LiveKit's webhooks and with all of them lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use crate::{
    fixture::Fixture,
    load::{self, Load, Prepared},
    stack::{Keys, Stack},
    table::Table,
    users::{self, Party, SignIn},
};

const ROOMS: i32 = 1_000;
/// Guests who are kicked in each of the two cases, and how many of them at once.
const KICKED: usize = 200;
const AT_ONCE: usize = 10;
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(30);

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let secret = SignIn::hs256();
    let parties = users::book(&fixture.database.pool, ROOMS).await?;
    let split = Stack::split(&fixture.greenroom, &fixture.shared, Keys::Secret(&secret)).await?;
    let guests: Vec<&Party> = parties.iter().filter(|party| party.user.starts_with("guest-")).collect();
    let stage = Stage { fixture, stack: &split, secret: &secret };
    let connected: Vec<Guest> =
        stream::iter(&guests).map(|guest| stage.admit(guest)).buffer_unordered(AT_ONCE).try_collect().await?;
    let (with, without) = connected.split_at(connected.len() / 2);
    let mut table = Table::new(
        "1,000 open rooms, a guest in each; services in their own processes",
        &["", "kicked", "out at once, p99 ms", "out again, p50 ms", "p99 ms", "wanted"],
    );
    for (name, guests, urls, wanted) in [
        ("with webhooks", with, vec![format!("http://{}/api/v1/livekit/webhook", split.address)], 2_000),
        ("all webhooks lost", without, Vec::new(), 3_000),
    ] {
        stage.send_webhooks_to(&urls).await?;
        let started = Instant::now();
        let took: Vec<(Duration, Duration)> = stream::iter(guests.iter().take(KICKED))
            .map(|guest| stage.kick(guest))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let (first, again): (Vec<_>, Vec<_>) = took.into_iter().unzip();
        let (first, again) = (Load::of(first, 0, started.elapsed()), Load::of(again, 0, started.elapsed()));
        table.row(&[
            name.to_owned(),
            again.count().to_string(),
            format!("{:.0}", first.percentile(99)),
            format!("{:.0}", again.percentile(50)),
            format!("**{:.0}**", again.percentile(99)),
            format!("< {wanted}"),
        ]);
    }
    split.stop().await?;
    Ok(format!("## Kicks\n\n{}", table.finish()))
}

/// A guest in a room, with their token.
struct Guest {
    party: Party,
    room: String,
    token: String,
}

struct Stage<'a> {
    fixture: &'a Fixture,
    stack: &'a Stack,
    secret: &'a SignIn,
}

impl Stage<'_> {
    async fn admit(&self, guest: &Party) -> Result<Guest> {
        let path = format!("/api/sessions/{}/livekit/access-token", guest.booking);
        let answer = self.ask(Prepared::get(path, Some(self.secret.token(&guest.user)?))).await?;
        let text = |field: &str| answer["data"][field].as_str().map(str::to_owned).context("no token");
        let guest = Guest { party: guest.clone(), room: text("roomName")?, token: text("token")? };
        self.join(&guest).await?;
        Ok(guest)
    }

    async fn ask(&self, request: Prepared) -> Result<Value> {
        let (status, answer) = load::once(self.stack.address, &request).await?;
        ensure!(status == StatusCode::OK, "{}: {status} {}", request.path, String::from_utf8_lossy(&answer));
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Calls livekit-dev's own interface.
    async fn dev(&self, method: http::Method, path: &str, body: &Value) -> Result<()> {
        let shared = &self.fixture.shared;
        let basic = STANDARD.encode(format!("{}:{}", shared.livekit_key, shared.livekit_secret));
        let request = Prepared {
            method,
            authorization: Some(format!("Basic {basic}")),
            ..Prepared::post(format!("/_dev/{path}"), None, body.to_string())
        };
        let (status, answer) = load::once(shared.livekit, &request).await?;
        ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    async fn join(&self, guest: &Guest) -> Result<()> {
        self.dev(http::Method::POST, "join", &json!({ "token": guest.token })).await
    }

    async fn send_webhooks_to(&self, urls: &[String]) -> Result<()> {
        self.dev(http::Method::PUT, "webhooks", &json!({ "urls": urls })).await
    }

    /// Kicks the guest and lets them join again. Returns how long they stayed after each of the two.
    async fn kick(&self, guest: &Guest) -> Result<(Duration, Duration)> {
        let host = format!("host-{}", guest.party.booking);
        let path = format!("/api/sessions/{}/livekit/kick", guest.party.booking);
        let body = json!({ "userId": guest.party.user }).to_string();
        self.ask(Prepared::post(path, Some(self.secret.token(&host)?), body)).await?;
        let first = self.until_removed(guest).await?;
        self.join(guest).await?;
        Ok((first, self.until_removed(guest).await?))
    }

    async fn until_removed(&self, guest: &Guest) -> Result<Duration> {
        let shared = &self.fixture.shared;
        let claims = json!({
            "iss": shared.livekit_key, "exp": 4_102_444_800_u64,
            "video": { "roomAdmin": true, "room": guest.room },
        });
        let key = EncodingKey::from_secret(shared.livekit_secret.as_bytes());
        let list = Prepared::post(
            "/twirp/livekit.RoomService/ListParticipants".to_owned(),
            Some(jsonwebtoken::encode(&Header::default(), &claims, &key)?),
            json!({ "room": guest.room }).to_string(),
        );
        let started = Instant::now();
        while started.elapsed() < REMOVAL_TIMEOUT {
            let (status, answer) = load::once(shared.livekit, &list).await?;
            ensure!(status == StatusCode::OK, "livekit-dev answered {status}");
            let answer: Value = serde_json::from_slice(&answer)?;
            let connected = answer["participants"].as_array().is_some_and(|connected| {
                connected.iter().any(|one| one["identity"] == guest.party.user.as_str())
            });
            if !connected {
                return Ok(started.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::bail!("{} is still in {}", guest.party.user, guest.room)
    }
}
