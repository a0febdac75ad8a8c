//! Recordings of bookings and of live rooms. One set of handlers serves both; the answers of the two families differ in
//! shape ([`bookings`], [`live`]). A signed link opens the file of a recording ([`mod@file`]).

pub(crate) mod bookings;
pub(crate) mod file;
pub(crate) mod live;

use axum::{Json, extract::FromRef, response::Response};
use http::StatusCode;
use proto::{room::v1 as pb, types::v1::Caller};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::file::FileRequest;
use crate::{app::App, clients::Clients, error::Rejection, links::Links, wire};

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

/// The kind of what is recorded, a booking or a live room, and the shape of its answers.
pub(crate) trait RecordingFamily {
    type Answer: Serialize;
    type Page: Serialize;

    fn place(owner_id: String) -> pb::RecordingPlace;

    /// The path of the recordings of a booking or live room.
    fn path(owner_id: &str) -> String;

    fn answer(recording: pb::Recording, download_url: Option<String>) -> Result<Self::Answer, Rejection>;

    fn page(
        recordings: Vec<(pb::Recording, Option<String>)>,
        next_cursor: Option<String>,
    ) -> Result<Self::Page, Rejection>;
}

type AnswerOf<F> = Result<(StatusCode, Json<<F as RecordingFamily>::Answer>), Rejection>;

/// The handlers of both families.
#[derive(Clone)]
pub(crate) struct Recordings {
    clients: Clients,
    links: Links,
}

impl FromRef<App> for Recordings {
    fn from_ref(app: &App) -> Self {
        Self { clients: Clients::from_ref(app), links: Links::from_ref(app) }
    }
}

impl Recordings {
    async fn start<F: RecordingFamily>(
        &self,
        caller: Caller,
        owner_id: String,
        idempotency_key: Option<String>,
    ) -> AnswerOf<F> {
        let path = F::path(&owner_id);
        let request = pb::StartRecordingRequest {
            caller: Some(caller),
            place: Some(F::place(owner_id)),
            idempotency_key,
            proof: None,
        };
        let started = self.clients.recordings().start_recording(request).await?.into_inner();
        self.answer::<F>(StatusCode::ACCEPTED, &path, started)
    }

    async fn stop<F: RecordingFamily>(
        &self,
        caller: Caller,
        owner_id: String,
        recording_id: String,
    ) -> AnswerOf<F> {
        let path = F::path(&owner_id);
        let request = request::<F>(caller, owner_id, recording_id);
        let stopped = self.clients.recordings().stop_recording(request).await?.into_inner();
        self.answer::<F>(StatusCode::ACCEPTED, &path, stopped)
    }

    async fn get<F: RecordingFamily>(
        &self,
        caller: Caller,
        owner_id: String,
        recording_id: String,
    ) -> AnswerOf<F> {
        let path = F::path(&owner_id);
        let request = request::<F>(caller, owner_id, recording_id);
        let found = self.clients.recordings().get_recording(request).await?.into_inner();
        self.answer::<F>(StatusCode::OK, &path, found)
    }

    async fn list<F: RecordingFamily>(
        &self,
        caller: Caller,
        owner_id: String,
        page: PageQuery,
    ) -> Result<Json<F::Page>, Rejection> {
        let path = F::path(&owner_id);
        let request = pb::ListRecordingsRequest {
            caller: Some(caller),
            place: Some(F::place(owner_id)),
            limit: wire::limit(page.limit),
            cursor: page.cursor,
        };
        let page = self.clients.recordings().list_recordings(request).await?.into_inner();
        let with_url = |recording| {
            let url = self.download_url(&path, &recording)?;
            Ok::<_, Rejection>((recording, url))
        };
        let recordings = page.recordings.into_iter().map(with_url).collect::<Result<_, _>>()?;
        F::page(recordings, page.next_cursor).map(Json)
    }

    async fn delete<F: RecordingFamily>(
        &self,
        caller: Caller,
        owner_id: String,
        recording_id: String,
    ) -> Result<StatusCode, Rejection> {
        let request = request::<F>(caller, owner_id, recording_id);
        self.clients.recordings().delete_recording(request).await?;
        Ok(StatusCode::NO_CONTENT)
    }

    async fn file(&self, request: FileRequest) -> Result<Response, Rejection> {
        file::respond(&self.clients, request).await
    }

    fn answer<F: RecordingFamily>(
        &self,
        status: StatusCode,
        path: &str,
        answer: pb::RecordingResponse,
    ) -> AnswerOf<F> {
        let recording = answer.recording.ok_or(Rejection::Incomplete("recording"))?;
        let download_url = self.download_url(path, &recording)?;
        Ok((status, Json(F::answer(recording, download_url)?)))
    }

    /// Returns the URL of the file, if there is one: the link of the storage, or a signed link of ours below `path`.
    fn download_url(&self, path: &str, recording: &pb::Recording) -> Result<Option<String>, Rejection> {
        // The link of the storage is preferred: its bytes need not pass through us.
        if !recording.downloadable || recording.download_url.is_some() {
            return Ok(recording.download_url.clone());
        }
        let ticket = self.links.sign_file(recording.id.clone()).ok_or(Rejection::Incomplete("link"))?;
        Ok(Some(self.links.url(&format!("{path}/{}/file?ticket={ticket}", recording.id))))
    }
}

fn request<F: RecordingFamily>(
    caller: Caller,
    owner_id: String,
    recording_id: String,
) -> pb::RecordingRequest {
    pb::RecordingRequest { caller: Some(caller), place: Some(F::place(owner_id)), recording_id, proof: None }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Default: 20.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100)]
    limit: Option<wire::Limit>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}
