//! Twirp calls of our own, where livekit-api keeps too much of an answer, hides it or panics over it.

use std::time::Duration;

use chassis::config;
use livekit_api::access_token::{AccessToken, VideoGrants};
use prost::Message;
use reqwest::{Client, Response, StatusCode, Url, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::LiveKitError;

/// The longest text of a refusal that is read.
const LONGEST_REFUSAL: usize = 1024 * 1024;

#[derive(Clone, Debug)]
pub struct Twirp {
    http: Client,
    url: String,
    key: String,
    secret: SecretString,
}

impl Twirp {
    pub fn new(config: &config::LiveKit, timeout: Duration) -> reqwest::Result<Self> {
        // reqwest panics without a default; an error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self {
            http,
            url: config.url.clone(),
            key: config.api_key.clone(),
            secret: config.api_secret.clone(),
        })
    }

    /// Calls a method of RoomService. `Ok` is an answer with status 200 whose body is still to be read.
    pub async fn call(
        &self,
        method: &str,
        grants: VideoGrants,
        request: &impl Message,
    ) -> Result<Response, LiveKitError> {
        let mut url: Url = self.url.parse().map_err(unknown)?;
        url.set_path(&format!("/twirp/livekit.RoomService/{method}"));
        let token = AccessToken::with_api_key(&self.key, self.secret.expose_secret()).with_grants(grants);
        let call = self.http.post(url).bearer_auth(token.to_jwt().map_err(unknown)?);
        let call = call.header(header::CONTENT_TYPE, "application/protobuf").body(request.encode_to_vec());
        let answer = call.send().await?;
        if answer.status() == StatusCode::OK { Ok(answer) } else { Err(refused(answer).await) }
    }
}

/// Why LiveKit refused, as Twirp says it.
async fn refused(mut answer: Response) -> LiveKitError {
    #[derive(Deserialize)]
    struct Refusal {
        code: String,
        #[serde(default)]
        msg: String,
    }
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await
        && text.len() < LONGEST_REFUSAL
    {
        text.extend_from_slice(&chunk);
    }
    match (serde_json::from_slice::<Refusal>(&text), answer.status()) {
        (Ok(Refusal { code, msg }), _) => LiveKitError::twirp(code, &msg),
        // LiveKit verifies the token before Twirp has the request.
        (Err(_), StatusCode::UNAUTHORIZED) => LiveKitError::key_refused(&String::from_utf8_lossy(&text)),
        (Err(_), status) => LiveKitError::Unreadable(format!("its status is {status}")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
pub(super) fn unknown(why: impl ToString) -> LiveKitError {
    LiveKitError::Unknown(why.to_string())
}
