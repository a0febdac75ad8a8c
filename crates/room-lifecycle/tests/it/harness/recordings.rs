//! Recordings: a recorder that waits for the test, and a folder of the test.

use std::{path::Path, sync::Arc};

use domain::{RecordingId, RecordingKind, RecordingStatus, SessionId};
use livekit_api::services::egress::{EgressClient, EgressOutput, RoomCompositeOptions};
use livekit_dev::{Store, Worker};
use livekit_protocol::{EgressInfo, EgressStatus, EncodedFileOutput};
use proto::types::v1::Caller;
use room_lifecycle::{
    Error,
    config::RecordingSettings,
    recordings::{Recording, RecordingScope, StartRequest, settings::OutputSettings, store::find_recording},
};
use sqlx::postgres::PgConnectOptions;

use super::{Booking, Service, World, hosts::person};

impl World {
    /// A world with a recorder and a folder that both sides can read.
    pub async fn recording(connect: PgConnectOptions) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self { folder: Some(folder.clone()), ..Self::recording_below(connect, folder.path()).await }
    }

    /// A world with a recorder that writes below `root`.
    pub async fn recording_below(connect: PgConnectOptions, root: &Path) -> Self {
        let root = root.to_owned();
        let livekit = testkit::livekit_with(|config| {
            config.manual_clock = true;
            config.store = Store::RedisLike;
            config.recordings = Some(root);
            config.webhooks.retry_base = std::time::Duration::from_millis(10);
        })
        .await;
        livekit.server.set_worker(Worker::Waits);
        Self::with_livekit(connect, Arc::new(livekit)).await
    }

    pub(super) fn recording_settings(&self) -> RecordingSettings {
        let output = self.folder.as_ref().map(|folder| OutputSettings::Folder {
            path: folder.path().to_string_lossy().into_owned(),
            read: folder.path().to_owned(),
        });
        RecordingSettings { hls: output.is_some(), output, keep: None }
    }

    /// The file of a recording.
    pub fn file(&self, recording: &Recording) -> std::path::PathBuf {
        self.folder.as_ref().unwrap().path().join(&recording.file)
    }

    /// The recording's row, deleted or not.
    pub async fn recording_row(&self, id: RecordingId) -> Option<Recording> {
        find_recording(&self.pool, id).await.unwrap()
    }

    pub async fn status_of(&self, recording: &Recording) -> RecordingStatus {
        self.recording_row(recording.id).await.unwrap().status
    }

    /// Counts all recordings, deleted or not.
    pub async fn count_recordings(&self) -> i64 {
        sqlx::query_scalar!(r#"select count(*) as "n!" from recordings"#).fetch_one(&self.pool).await.unwrap()
    }

    /// The egresses that run on LiveKit.
    pub fn running(&self) -> Vec<EgressInfo> {
        let over = EgressStatus::EgressComplete as i32;
        self.server().recordings().into_iter().filter(|info| info.status < over).collect()
    }

    /// Sets the egress status on LiveKit.
    pub fn put(&self, recording: &Recording, status: EgressStatus) {
        let id = recording.egress_id.as_deref().unwrap();
        self.server().move_recording(id, status, "as the test said").unwrap();
    }

    /// The recorder works for one step and waits again.
    pub fn work(&self) {
        self.server().set_worker(Worker::Works);
        self.server().work();
        self.server().set_worker(Worker::Waits);
    }

    /// A booking whose room is being recorded.
    pub async fn recorded(&self, rooms: &Service) -> (Booking, Recording) {
        let (booking, _) = self.open_room(rooms).await;
        let recording = record(rooms, &booking).await.unwrap();
        self.work();
        rooms.recordings.watch_recordings().await.unwrap();
        assert_eq!(self.status_of(&recording).await, RecordingStatus::Active);
        (booking, recording)
    }

    /// Does what the loops do: watches all recordings, looks for files, and removes deleted recordings.
    pub async fn recordings_pass(&self, rooms: &Service) -> Result<(), Error> {
        let watched = rooms.recordings.watch_recordings().await;
        let found = rooms.recordings.check_files().await;
        rooms.recordings.remove_recordings().await.and(found).and(watched)
    }

    /// Watches all recordings and looks for the files of completed ones.
    pub async fn follow(&self, rooms: &Service) {
        rooms.recordings.watch_recordings().await.unwrap();
        rooms.recordings.check_files().await.unwrap();
    }

    /// Counts notifications of completed recordings.
    pub async fn announced(&self) -> i64 {
        sqlx::query_scalar!(r#"select count(*) as "n!" from notifications where kind = 'recording_ready'"#)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Asserts that another recording of the room can start, on LiveKit too.
    pub async fn assert_another_can_start(&self, rooms: &Service, booking: &Booking) {
        self.server().set_worker(Worker::Waits);
        let next = record(rooms, booking).await.unwrap();
        assert_eq!(next.status, RecordingStatus::Starting);
        assert!(next.egress_id.is_some());
    }
}

pub fn host(booking: &Booking) -> Caller {
    person(&booking.host)
}

pub const fn scope(booking: &Booking) -> RecordingScope {
    RecordingScope::Session(SessionId(booking.id))
}

pub fn start_request(booking: &Booking) -> StartRequest {
    StartRequest::new(scope(booking), RecordingKind::File, None)
}

pub async fn record(rooms: &Service, booking: &Booking) -> Result<Recording, Error> {
    rooms.recordings.record(&host(booking), &start_request(booking)).await
}

pub async fn stop(rooms: &Service, booking: &Booking, recording: &Recording) -> Recording {
    rooms.recordings.stop_recording(&host(booking), scope(booking), recording.id, None).await.unwrap()
}

impl World {
    /// Starts a recording of a foreign room, as another application on the same LiveKit does.
    pub async fn start_foreign_recording(&self, room: &str) {
        let settings = &self.livekit().settings;
        let secret = secrecy::ExposeSecret::expose_secret(&settings.api_secret);
        let client = EgressClient::with_api_key(&settings.url, &settings.api_key, secret);
        let output = EgressOutput::File(EncodedFileOutput::default());
        client
            .start_room_composite_egress(room, vec![output], RoomCompositeOptions::default())
            .await
            .unwrap();
    }
}
