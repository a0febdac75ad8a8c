//! Recordings of bookings (`/api/sessions/{sessionId}/recordings`) and of live rooms: the same things in the words of
//! two families ([`bookings`], [`live`]), and the file behind a signed link ([`mod@file`]).

pub(crate) mod bookings;
pub(crate) mod file;
pub(crate) mod live;

use proto::{room::v1 as pb, types::v1::Caller};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    error::Rejection,
    signer::Signer,
    wire::{self, told},
};

const PURPOSE: &str = "greenroom: link to the file of a recording, 1";
/// Seconds. A link that the output itself signs is good for as long.
const LIFETIME: i64 = 3600;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(bookings::start, bookings::list))
        .routes(routes!(bookings::get, bookings::delete))
        .routes(routes!(bookings::stop))
        .routes(routes!(bookings::file))
        .routes(routes!(live::start, live::list))
        .routes(routes!(live::get, live::delete))
        .routes(routes!(live::stop))
        .routes(routes!(live::file))
}

/// Links to files: whoever has one needs no token.
pub(crate) struct Links(Signer);

#[derive(Deserialize, Serialize)]
struct Claims {
    recording: String,
    /// Unix seconds.
    exp: i64,
}

impl Links {
    pub(crate) fn signed_with(secrets: &[SecretString]) -> Self {
        Self(Signer::of(PURPOSE, secrets))
    }

    fn verify(&self, ticket: &str, recording: &str, now: i64) -> bool {
        let claims = self.0.verify::<Claims>(ticket);
        claims.is_some_and(|claims| claims.recording == recording && now < claims.exp)
    }
}

/// Where the file of a recording is, if it has one: the output's own link, or ours below `place`.
fn link(app: &App, place: &str, recording: &pb::Recording) -> Result<Option<String>, Rejection> {
    if !recording.downloadable || !recording.download_url.is_empty() {
        return Ok(told(recording.download_url.clone()));
    }
    let claims = Claims { recording: recording.id.clone(), exp: app.now() + LIFETIME };
    let ticket = app.links().0.sign(&claims).ok_or(Rejection::Incomplete("link"))?;
    Ok(Some(app.link(&format!("{place}/{}/file?ticket={ticket}", recording.id))))
}

/// A recording in the words of a family.
macro_rules! recording {
    ($case:tt) => {
        /// What was recorded, is being recorded, or could not be.
        #[derive(serde::Serialize, utoipa::ToSchema)]
        #[serde(rename_all = $case)]
        pub(crate) struct Recording {
            #[schema(format = Uuid)]
            id: String,
            /// starting · active · ending · complete · failed · aborted
            status: String,
            started_by: String,
            /// Null until it has begun.
            #[serde(with = "time::serde::rfc3339::option")]
            started_at: Option<time::OffsetDateTime>,
            #[serde(with = "time::serde::rfc3339::option")]
            ended_at: Option<time::OffsetDateTime>,
            duration_seconds: Option<f64>,
            size_bytes: Option<i64>,
            /// Where the file is, for an hour, without a token. Null: there is none.
            download_url: Option<String>,
            /// Why it has no file, or a part only.
            error: Option<String>,
        }

        impl Recording {
            fn of(
                app: &crate::app::App,
                place: &str,
                recording: proto::room::v1::Recording,
            ) -> Result<Self, crate::error::Rejection> {
                Ok(Self {
                    download_url: super::link(app, place, &recording)?,
                    id: recording.id,
                    status: recording.status,
                    started_by: recording.started_by,
                    started_at: crate::wire::time_or_null(recording.started_at),
                    ended_at: crate::wire::time_or_null(recording.ended_at),
                    duration_seconds: recording.duration_seconds,
                    size_bytes: recording.size_bytes,
                    error: crate::wire::told(recording.error),
                })
            }
        }
    };
}
use recording;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Default: 20.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100)]
    limit: Option<wire::Limit>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

fn start_request(
    caller: Caller,
    place: pb::RecordingPlace,
    idempotency_key: String,
) -> pb::StartRecordingRequest {
    pb::StartRecordingRequest { caller: Some(caller), place: Some(place), idempotency_key, proof: None }
}

fn list_request(caller: Caller, place: pb::RecordingPlace, page: Page) -> pb::ListRecordingsRequest {
    pb::ListRecordingsRequest {
        caller: Some(caller),
        place: Some(place),
        limit: wire::limit(page.limit),
        cursor: page.cursor.unwrap_or_default(),
    }
}

/// Whatever is asked about one recording of a place.
fn request_about(caller: Caller, place: pb::RecordingPlace, recording_id: String) -> pb::RecordingRequest {
    pb::RecordingRequest { caller: Some(caller), place: Some(place), recording_id, proof: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_for_one_recording_and_for_an_hour() {
        let links = Links::signed_with(&[SecretString::from("a secret")]);
        let ticket = links.0.sign(&Claims { recording: "one".into(), exp: 100 }).unwrap();
        assert!(links.verify(&ticket, "one", 99));
        assert!(!links.verify(&ticket, "one", 100) && !links.verify(&ticket, "two", 99));
        assert!(!Links::signed_with(&[SecretString::from("another")]).verify(&ticket, "one", 99));
        let elsewhere = Signer::of("another purpose", &[SecretString::from("a secret")]);
        let other = elsewhere.sign(&Claims { recording: "one".into(), exp: 100 }).unwrap();
        assert!(!links.verify(&other, "one", 99), "signed for something else");
    }
}
