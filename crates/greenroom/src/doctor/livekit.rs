//! `doctor`'s checks of LiveKit. They use a small Twirp client of their own: livekit-api hides the HTTP status of
//! responses that are not Twirp's, such as the one to a wrong key. Here the status is the cause.

use std::time::Duration;

use chassis::{clock::Clock, config};
use livekit_api::access_token::{AccessToken, VideoGrants};
use reqwest::{Response, StatusCode, header};
use room_lifecycle::{livekit::reason, recordings::output::Output};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use uuid::Uuid;

use super::{Failure, Outcome, Report, Target, addresses, recorder};
use crate::proxy::between;

/// The clock skew that is accepted. Tokens allow a minute, and a larger skew may grow beyond it.
pub const TOLERANCE: time::Duration = time::Duration::seconds(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The answer to a browser that asks for a WebSocket.
pub enum Upgrade {
    Switched,
    /// With this status and reason.
    Refused(u16, String),
}

pub struct Client {
    http: reqwest::Client,
    config: config::LiveKit,
}

impl Client {
    pub fn new(config: &config::LiveKit) -> reqwest::Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().timeout(REQUEST_TIMEOUT).build()?,
            config: config.clone(),
        })
    }

    fn token(&self, identity: &str, grants: VideoGrants) -> Result<String, Failure> {
        let (key, secret) = (&self.config.api_key, self.config.api_secret.expose_secret());
        AccessToken::with_api_key(key, secret)
            .with_identity(identity)
            .with_ttl(Duration::from_mins(1))
            .with_grants(grants)
            .to_jwt()
            .map_err(|error| {
                Failure::new(format!("no token can be signed: {error}"), "check LIVEKIT_API_KEY")
            })
    }

    async fn call(&self, method: &str, body: Value) -> Result<Value, Failure> {
        let service = if method.ends_with("Egress") { "Egress" } else { "RoomService" };
        let grants =
            // All rights that a service may use: a key that lacks one is found here.
            VideoGrants { room_create: true, room_list: true, room_record: true, ..VideoGrants::default() };
        let token = self.token("", grants)?;
        let url = format!("{}/twirp/livekit.{service}/{method}", self.config.url);
        let answer = self.http.post(&url).bearer_auth(token).json(&body).send().await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        match answer.status() {
            StatusCode::OK => answer.json().await.map_err(|error| {
                Failure::new(format!("the answer to {method} cannot be read: {error}"), NOT_LIVEKIT)
            }),
            StatusCode::UNAUTHORIZED => Err(Failure::new(
                format!("LiveKit refuses the API key ({})", text(answer).await),
                "LIVEKIT_API_KEY and LIVEKIT_API_SECRET must be a pair under `keys:` in livekit.yaml",
            )),
            status => Err(Failure::new(
                format!("{method} was answered with {status}: {}", text(answer).await),
                NOT_LIVEKIT,
            )),
        }
    }

    /// Calls `/rtc/validate`. Its status says whether LiveKit accepts a browser with this token.
    async fn validate(&self, room: &str) -> Result<(StatusCode, String), Failure> {
        let token = self.hidden_token(room)?;
        let url = format!("{}/rtc/validate", self.config.url);
        let answer = self.http.get(&url).query(&[("access_token", token)]).send().await;
        // The URL has the token in its query.
        let answer = answer.map_err(|error| self.unreachable(&error.without_url()))?;
        Ok((answer.status(), text(answer).await))
    }

    /// A token of a participant that other participants do not see.
    fn hidden_token(&self, room: &str) -> Result<String, Failure> {
        self.token(
            &format!("doctor-{}", Uuid::new_v4()),
            VideoGrants { room_join: true, room: room.to_owned(), hidden: true, ..VideoGrants::default() },
        )
    }

    /// A token of a participant that may publish.
    pub fn participant_token(&self, room: &str) -> Result<String, Failure> {
        self.token(
            &format!("doctor-{}", Uuid::new_v4()),
            VideoGrants {
                room_join: true,
                room: room.to_owned(),
                can_publish: Some(true),
                ..VideoGrants::default()
            },
        )
    }

    /// Asks for a WebSocket at this `ws` or `wss` address, as a browser that joins the room does.
    pub async fn upgrade(&self, ws_url: &str, room: &str) -> Result<Upgrade, String> {
        let token = self.hidden_token(room).map_err(|failure| failure.cause)?;
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none()) // browsers follow none here
            .build()
            .map_err(|error| innermost(&error))?;
        let request = client
            .get(format!("{}/rtc", ws_url.replacen("ws", "http", 1)))
            .query(&[("access_token", token.as_str()), ("protocol", "15"), ("auto_subscribe", "0")])
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            // A constant key is enough: the answer is not verified.
            .header(header::SEC_WEBSOCKET_KEY, "Z3JlZW5yb29tIGRvY3Rvcg==");
        // The URL has the token in its query.
        match request.send().await.map_err(reqwest::Error::without_url) {
            Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => Ok(Upgrade::Switched),
            Ok(answer) => Ok(Upgrade::Refused(answer.status().as_u16(), text(answer).await)),
            Err(error) if error.is_timeout() => {
                Err(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()))
            }
            Err(error) => Err(innermost(&error)),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = if error.is_timeout() {
            format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())
        } else {
            innermost(error)
        };
        Failure::new(
            format!("LiveKit at {} cannot be reached: {why}", self.config.url),
            "check that LiveKit runs, that LIVEKIT_URL (or LIVEKIT_WS_URL) is right, and that no firewall is between",
        )
    }
}

const NOT_LIVEKIT: &str = "check that LIVEKIT_URL leads to a LiveKit server, and what its log says";

fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The reason in the response, without tokens: a refusal of LiveKit repeats the token that it received.
async fn text(answer: Response) -> String {
    reason(&answer.text().await.unwrap_or_default())
}

/// Checks LiveKit. Returns the name of the test room, or None if LiveKit did not both create and delete it.
pub async fn examine(
    livekit: &Client,
    target: &Target,
    output: Option<&Output>,
    report: &mut Report,
) -> Option<String> {
    let proxy = report.first_failed(&["proxy"]).filter(|_| between(&target.livekit.url).is_some());
    if !report.check("livekit", async { Outcome::from(connect(livekit).await).because_of(proxy) }).await {
        let cause = cause(report);
        report.skip(&["livekit_clock", "livekit_key", "recording", "auto_create", "test_room"], cause);
        report.skip(&OF_THE_ROOM, cause);
        return None;
    }
    // Before the key: a wrong clock may be the reason why the key is refused.
    report.check("livekit_clock", clock(livekit)).await;
    let clock = report.first_failed(&["livekit_clock"]);
    if !report.check("livekit_key", async { Outcome::from(key(livekit).await).because_of(clock) }).await {
        let cause = cause(report);
        report.skip(&["recording", "auto_create", "test_room"], cause);
        report.skip(&OF_THE_ROOM, cause);
        return None;
    }
    // The room comes last among these, so that a run that stops early leaves none.
    report.check("recording", recording(livekit, target.records())).await;
    let room = format!("greenroom-doctor-{}", Uuid::new_v4());
    report.check("auto_create", auto_create(livekit)).await;
    if !report.check("test_room", create(livekit, &room)).await {
        report.skip(&OF_THE_ROOM, "test_room");
        return None;
    }
    // The room is deleted after these, whether they work or not.
    report.check("token", round_trip(livekit, &room)).await;
    let token = report.first_failed(&["token"]);
    report.check("ws_url", async { addresses::ws_url(livekit, target, &room).await.because_of(token) }).await;
    let unusable = report.first_failed(&["token", "recording", "storage"]);
    report.check("recorder", record(livekit, target, output, &room, unusable)).await;
    report.check("test_room_deleted", delete(livekit, &room)).await.then_some(room)
}

/// The checks that need the test room.
const OF_THE_ROOM: [&str; 4] = ["token", "ws_url", "recorder", "test_room_deleted"];

/// The check that explains why LiveKit cannot be used.
pub fn cause(report: &Report) -> &'static str {
    let checks = ["livekit", "livekit_key", "test_room", "test_room_deleted", "livekit_clock", "proxy"];
    report.first_failed(&checks).unwrap_or("livekit")
}

/// Makes the recording of `--deep`. `unusable`: the check that failed and that a recording depends on.
async fn record(
    livekit: &Client,
    target: &Target,
    output: Option<&Output>,
    room: &str,
    unusable: Option<&'static str>,
) -> Outcome {
    if !target.deep {
        return Outcome::Skipped("it takes seconds and a recorder; --deep checks it".to_owned());
    }
    match (output, unusable) {
        (_, Some(cause)) => Outcome::Follows(cause, "not checked".to_owned()),
        (None, None) => {
            Outcome::Skipped("RECORDING_OUTPUT is not set, so nothing can be recorded".to_owned())
        }
        (Some(output), None) => Box::pin(recorder::record(livekit, target, output, room)).await.into(),
    }
}

async fn connect(livekit: &Client) -> Result<&'static str, Failure> {
    let answer =
        livekit.http.get(&livekit.config.url).send().await.map_err(|error| livekit.unreachable(&error))?;
    match answer.status() {
        StatusCode::OK => Ok("Successfully connected to LiveKit server"),
        status => Err(Failure::new(
            format!("{} answers {status}: {}", livekit.config.url, text(answer).await),
            NOT_LIVEKIT,
        )),
    }
}

async fn key(livekit: &Client) -> Result<String, Failure> {
    livekit.call("ListRooms", json!({})).await?;
    Ok(format!("LiveKit accepts the API key {}", livekit.config.api_key))
}

/// Checks recording, which is optional. Whether a recorder runs is known only when a recording starts.
async fn recording(livekit: &Client, records: bool) -> Outcome {
    if !records {
        return Outcome::Skipped("RECORDING_OUTPUT is not set, so nothing can be recorded".to_owned());
    }
    match livekit.call("ListEgress", json!({"active": true})).await {
        Ok(_) => Outcome::Passed("LiveKit has Redis, through which it reaches recorders".to_owned()),
        // LiveKit has no code of its own for this (livekit.md §5).
        Err(failure) if failure.cause.contains("egress not connected") => Outcome::Failed(Failure::new(
            "RECORDING_OUTPUT is set, but LiveKit has no Redis: it reaches no recorder",
            "set the same `redis:` in livekit.yaml and egress.yaml, and restart LiveKit",
        )),
        Err(failure) => Outcome::Failed(failure),
    }
}

async fn create(livekit: &Client, room: &str) -> Result<&'static str, Failure> {
    // A short timeout: if the deletion fails, LiveKit deletes the empty room itself.
    let created = livekit.call("CreateRoom", json!({"name": room, "empty_timeout": 30})).await?;
    match created["sid"].as_str() {
        Some(sid) if !sid.is_empty() => Ok("Test room created successfully!"),
        _ => Err(Failure::new("the room that LiveKit created has no SID", NOT_LIVEKIT)),
    }
}

async fn delete(livekit: &Client, room: &str) -> Result<&'static str, Failure> {
    livekit.call("DeleteRoom", json!({"room": room})).await?;
    Ok("Test room deleted again")
}

/// Checks that a token signed with our secret opens the test room.
async fn round_trip(livekit: &Client, room: &str) -> Result<&'static str, Failure> {
    match livekit.validate(room).await? {
        (StatusCode::OK, _) => Ok("A token signed with the API secret opens the test room"),
        (status, text) => Err(Failure::new(
            format!("LiveKit answers {status} to a token for the test room: {text}"),
            "check that the clocks agree, and that LIVEKIT_URL is one server or one cluster",
        )),
    }
}

/// Checks that `auto_create` is off. With it a join to any name creates a room, and a late join recreates an ended one.
async fn auto_create(livekit: &Client) -> Result<&'static str, Failure> {
    match livekit.validate(&format!("greenroom-doctor-missing-{}", Uuid::new_v4())).await? {
        (StatusCode::NOT_FOUND, _) => Ok("LiveKit creates no rooms by itself (auto_create is off)"),
        (StatusCode::OK, _) => Err(Failure::new(
            "LiveKit would create a missing room when a participant joins it (auto_create is on)",
            "set `room: { auto_create: false }` in livekit.yaml and restart LiveKit",
        )),
        (status, text) => Err(Failure::new(
            format!("LiveKit answers {status} to a token for a room that does not exist: {text}"),
            NOT_LIVEKIT,
        )),
    }
}

async fn clock(livekit: &Client) -> Outcome {
    let answer = match livekit.http.get(&livekit.config.url).send().await {
        Ok(answer) => answer,
        Err(error) => return Outcome::Failed(livekit.unreachable(&error)),
    };
    // LiveKit has no route for its time, but each of its answers has a date.
    let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    // HTTP writes the zone as GMT. RFC 2822 calls that obsolete and still accepts it.
    match date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()) {
        Some(theirs) => compare("LiveKit", theirs).into(),
        None => Outcome::Skipped("LiveKit's answers carry no date".to_owned()),
    }
}

pub fn compare(server: &str, theirs: OffsetDateTime) -> Result<String, Failure> {
    let skew = theirs - Clock::default().now();
    if skew.abs() <= TOLERANCE {
        return Ok(format!("The clock of {server} agrees with this machine's"));
    }
    Err(Failure::new(
        format!("the clock of {server} is {} s off this machine's", skew.whole_seconds()),
        "let NTP set the clocks of all machines",
    ))
}
