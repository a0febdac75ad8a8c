//! Twirp calls of our own, for cases where livekit-api keeps too much of an answer, hides it or panics.

use std::time::Duration;

use chassis::config;
use livekit_api::access_token::{AccessToken, VideoGrants};
use prost::Message;
use reqwest::{Client, Response, StatusCode, Url, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::LiveKitError;

/// The most bytes of a refusal that are read.
const MAX_REFUSAL_BYTES: usize = 1024 * 1024;

#[derive(Clone, Debug)]
pub struct Twirp {
    http: Client,
    url: String,
    key: String,
    secret: SecretString,
}

impl Twirp {
    pub fn new(config: &config::LiveKit, timeout: Duration) -> reqwest::Result<Self> {
        // reqwest panics without a default provider. An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self {
            http,
            url: config.url.clone(),
            key: config.api_key.clone(),
            secret: config.api_secret.clone(),
        })
    }

    /// Calls a method of RoomService. `Ok` is an answer with status 200; its body has not been read yet.
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

/// Reads the Twirp error of a refusal.
async fn refused(mut answer: Response) -> LiveKitError {
    #[derive(Deserialize)]
    struct Refusal {
        code: String,
        #[serde(default)]
        msg: String,
    }
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await
        && text.len() < MAX_REFUSAL_BYTES
    {
        text.extend_from_slice(&chunk);
    }
    match (serde_json::from_slice::<Refusal>(&text), answer.status()) {
        (Ok(Refusal { code, msg }), _) => LiveKitError::twirp(code, &msg),
        // LiveKit verifies the token before Twirp sees the request, and answers without a Twirp error.
        (Err(_), StatusCode::UNAUTHORIZED) => LiveKitError::key_refused(&String::from_utf8_lossy(&text)),
        (Err(_), status) => LiveKitError::Unreadable(format!("the HTTP status is {status}")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes the error by value")]
pub(super) fn unknown(why: impl ToString) -> LiveKitError {
    LiveKitError::Unknown(why.to_string())
}
