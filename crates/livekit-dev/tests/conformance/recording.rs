//! Recordings with a worker. Only livekit-dev has workers that a test can hold, move in time and kill.

use std::io::Cursor;

use livekit_api::services::egress::{
    EgressListFilter, EgressListOptions, EgressOutput, RoomCompositeOptions,
};
use livekit_dev::Store;
use livekit_protocol::{
    EgressInfo, EgressStatus, EncodedFileOutput, SegmentedFileOutput, participant_info::Kind,
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    reasons::WORKERS,
    receiver::Receiver,
    target::{Dev, Target, code},
};

struct Studio {
    target: Target,
    folder: TempDir,
}

impl Studio {
    /// A server with a worker that does nothing until a test switches it on. None for a real server.
    async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let target = Target::configured(WORKERS, |config| {
            config.store = Store::RedisLike;
            config.recordings = Some(root);
        })
        .await?;
        let studio = Self { target, folder };
        studio.worker("waits").await;
        Some(studio)
    }

    fn dev(&self) -> Dev<'_> {
        self.target.dev(WORKERS).unwrap()
    }

    async fn worker(&self, worker: &str) {
        self.dev().switch(json!({"worker": worker})).await;
    }

    async fn record(&self, room: &str, output: EgressOutput) -> EgressInfo {
        let options = RoomCompositeOptions::default();
        self.target.egress().start_room_composite_egress(room, vec![output], options).await.unwrap()
    }

    async fn file(&self, room: &str) -> EgressInfo {
        let filepath = self.folder.path().join("a.mp4").to_string_lossy().into_owned();
        self.record(room, EgressOutput::File(EncodedFileOutput { filepath, ..Default::default() })).await
    }

    async fn list(&self, filter: EgressListFilter, active: bool) -> Vec<EgressInfo> {
        let options = EgressListOptions { filter, active, page_token: None };
        self.target.egress().list_egress(options).await.unwrap()
    }

    async fn find(&self, id: &str) -> EgressInfo {
        self.list(EgressListFilter::Egress(id.to_owned()), false).await.remove(0)
    }

    async fn put(&self, id: &str, status: &str) {
        self.dev()
            .post("recordings", json!({"egress_id": id, "status": status, "error": "on purpose"}))
            .await;
    }

    /// Lets the worker take steps until the recording has this status.
    async fn until(&self, id: &str, status: EgressStatus) -> EgressInfo {
        self.worker("works").await;
        for _ in 0..4 {
            let info = self.find(id).await;
            if info.status() == status {
                self.worker("waits").await;
                return info;
            }
            self.dev().advance(1).await;
        }
        panic!("it is {:?}", self.find(id).await.status());
    }
}

#[tokio::test]
async fn recording_passes_its_states_and_leaves_a_playable_file() {
    let Some(studio) = Studio::start().await else { return };
    let room = studio.target.create("recorded").await;
    let started = studio.file(&room.name).await;
    assert_eq!(started.status(), EgressStatus::EgressStarting);
    assert!(started.egress_id.starts_with("EG_") && started.egress_id.len() == 15);
    assert_eq!((started.room_id, started.room_name), (room.sid, room.name));
    let id = &started.egress_id;
    let active = studio.until(id, EgressStatus::EgressActive).await;
    assert!(active.started_at > 1_600_000_000_000_000_000, "nanoseconds");
    studio.dev().advance(10).await;
    let ending = studio.target.egress().stop_egress(id).await.unwrap();
    assert_eq!(ending.status(), EgressStatus::EgressEnding);
    let done = studio.until(id, EgressStatus::EgressComplete).await;
    let file = &done.file_results[0];
    assert!(file.duration >= 10_000_000_000 && done.ended_at - done.started_at == file.duration);
    let bytes = std::fs::read(&file.location).unwrap();
    assert_eq!(i64::try_from(bytes.len()).unwrap(), file.size);
    let size = bytes.len() as u64;
    let mut movie = mp4::Mp4Reader::read_header(Cursor::new(bytes), size).unwrap();
    let track = &movie.tracks()[&1];
    assert_eq!(track.media_type().unwrap(), mp4::MediaType::AAC);
    assert_eq!(track.sample_freq_index().unwrap(), mp4::SampleFreqIndex::Freq48000);
    assert!(track.duration().as_secs() >= 9, "as long as was recorded: {:?}", track.duration());
    let last = track.sample_count();
    let sample = movie.read_sample(1, last).unwrap().unwrap();
    assert_eq!(sample.bytes.len(), 9, "the last sample is where the tables say");
}

#[tokio::test]
async fn each_recording_state_sends_a_webhook_in_order() {
    let Some(studio) = Studio::start().await else { return };
    let room = studio.target.create("states").await.name;
    let mut receiver = Receiver::start().await;
    studio.dev().webhooks_to(&receiver.url).await;
    let id = studio.file(&room).await.egress_id;
    studio.until(&id, EgressStatus::EgressActive).await;
    studio.target.egress().stop_egress(&id).await.unwrap();
    studio.until(&id, EgressStatus::EgressComplete).await;
    studio.dev().webhooks_idle().await;
    let events: Vec<Value> = receiver.pending().iter().map(crate::receiver::Received::json).collect();
    let about = |event: &Value| event["egressInfo"]["egressId"] == json!(id);
    let egress: Vec<(&Value, &Value)> = events
        .iter()
        .filter(|event| about(event))
        .map(|event| (&event["event"], &event["egressInfo"]["status"]))
        .collect();
    assert_eq!(
        egress,
        [
            (&json!("egress_started"), &Value::Null), // zero is left out
            (&json!("egress_updated"), &json!("EGRESS_ACTIVE")),
            (&json!("egress_updated"), &json!("EGRESS_ENDING")),
            (&json!("egress_ended"), &json!("EGRESS_COMPLETE")),
        ]
    );
    let ended = events.iter().rfind(|event| about(event)).unwrap();
    assert_eq!(ended["room"], json!({"sid": ended["egressInfo"]["roomId"], "name": room}));
    assert!(ended["egressInfo"]["endedAt"].is_string(), "64 bits are strings");
    let recorder = events.iter().find(|event| event["event"] == "participant_joined").unwrap();
    assert_eq!(recorder["participant"]["identity"], json!(id));
}

#[tokio::test]
async fn recorder_is_a_participant_that_keeps_no_room_open() {
    let Some(studio) = Studio::start().await else { return };
    let room = studio.target.create("recorder").await.name;
    let id = studio.file(&room).await.egress_id;
    studio.until(&id, EgressStatus::EgressActive).await;
    let rooms = studio.target.rooms();
    let recorder = rooms.list_participants(&room).await.unwrap().remove(0);
    assert_eq!((recorder.identity.as_str(), recorder.kind()), (id.as_str(), Kind::Egress));
    assert!(recorder.permission.unwrap().hidden);
    let listed = rooms.list_rooms(vec![room.clone()]).await.unwrap().remove(0);
    assert!(listed.active_recording && listed.num_participants == 0);
    studio.dev().advance(301).await;
    assert!(rooms.list_rooms(vec![room]).await.unwrap().is_empty(), "the room has ended");
    studio.until(&id, EgressStatus::EgressComplete).await;
}

#[tokio::test]
async fn recordings_are_listed_by_room_by_id_or_active() {
    let Some(studio) = Studio::start().await else { return };
    let (one, other) = (studio.target.create("one").await.name, studio.target.create("other").await.name);
    let (first, second) = (studio.file(&one).await.egress_id, studio.file(&other).await.egress_id);
    studio.put(&second, "EGRESS_FAILED").await;
    let ids = |infos: Vec<EgressInfo>| infos.into_iter().map(|info| info.egress_id).collect::<Vec<_>>();
    assert_eq!(ids(studio.list(EgressListFilter::Room(other), false).await), std::slice::from_ref(&second));
    assert_eq!(ids(studio.list(EgressListFilter::All, true).await), [first]);
    assert_eq!(studio.find(&second).await.error, "on purpose");
    let unknown =
        EgressListOptions { filter: EgressListFilter::Egress("EG_no".into()), ..Default::default() };
    assert_eq!(code(studio.target.egress().list_egress(unknown).await), "not_found");
}

#[tokio::test]
async fn stop_fails_when_ended_and_aborts_when_not_started() {
    let Some(studio) = Studio::start().await else { return };
    let room = studio.target.create("stops").await.name;
    let egress = studio.target.egress();
    assert_eq!(code(egress.stop_egress("EG_no").await), "not_found");
    let id = studio.file(&room).await.egress_id;
    assert_eq!(egress.stop_egress(&id).await.unwrap().status(), EgressStatus::EgressAborted);
    for status in ["EGRESS_COMPLETE", "EGRESS_FAILED", "EGRESS_ABORTED", "EGRESS_LIMIT_REACHED"] {
        studio.put(&id, status).await;
        assert_eq!(code(egress.stop_egress(&id).await), "failed_precondition", "{status}");
    }
}

#[tokio::test]
async fn dead_worker_leaves_its_recordings_active() {
    let Some(studio) = Studio::start().await else { return };
    let room = studio.target.create("dead").await.name;
    let id = studio.file(&room).await.egress_id;
    studio.until(&id, EgressStatus::EgressActive).await;
    studio.worker("dead").await;
    studio.dev().advance(3600).await;
    assert_eq!(studio.find(&id).await.status(), EgressStatus::EgressActive);
    assert!(studio.target.rooms().list_participants(&room).await.unwrap().is_empty());
    assert_eq!(code(studio.target.egress().stop_egress(&id).await), "deadline_exceeded");
    let options = RoomCompositeOptions::default();
    let room = studio.target.create("next").await.name;
    let next = studio.target.egress().start_room_composite_egress(&room, Vec::new(), options).await;
    assert_eq!(code(next), "unavailable", "no worker takes another job");
}

#[tokio::test]
async fn worker_does_not_write_outside_of_its_root() {
    let Some(studio) = Studio::start().await else { return };
    let room = studio.target.create("outside").await.name;
    let filepath = "/etc/recorded.mp4".to_owned();
    let output = EgressOutput::File(EncodedFileOutput { filepath, ..Default::default() });
    let id = studio.record(&room, output).await.egress_id;
    studio.until(&id, EgressStatus::EgressActive).await;
    studio.target.egress().stop_egress(&id).await.unwrap();
    assert!(studio.until(&id, EgressStatus::EgressFailed).await.error.contains("outside"));
}

#[tokio::test]
async fn segments_are_playable_during_and_after_the_recording() {
    let Some(studio) = Studio::start().await else { return };
    let room = studio.target.create("segments").await.name;
    let output = EgressOutput::Segments(SegmentedFileOutput {
        filename_prefix: "show/part".into(),
        playlist_name: "all.m3u8".into(),
        live_playlist_name: "live.m3u8".into(),
        ..Default::default()
    });
    let id = studio.record(&room, output).await.egress_id;
    studio.until(&id, EgressStatus::EgressActive).await;
    studio.worker("works").await;
    studio.dev().advance(2).await;
    let show = studio.folder.path().join("show");
    let playlist = |name: &str| std::fs::read_to_string(show.join(name)).unwrap();
    assert!(playlist("live.m3u8").contains("part_00000.ts") && !playlist("live.m3u8").contains("ENDLIST"));
    studio.target.egress().stop_egress(&id).await.unwrap();
    let done = studio.until(&id, EgressStatus::EgressComplete).await;
    assert!(playlist("all.m3u8").contains("ENDLIST"));
    let segments = &done.segment_results[0];
    assert_eq!((segments.playlist_name.as_str(), segments.segment_count), ("show/all.m3u8", 1));
}

#[tokio::test]
async fn json_has_protocol_names_and_the_original_request() {
    let Some(studio) = Studio::start().await else { return };
    let room = studio.target.create("json").await.name;
    studio.file(&room).await;
    let token = studio.target.token("", &json!({"roomRecord": true}));
    let list = studio.target.request(Method::POST, "/twirp/livekit.Egress/ListEgress");
    let list: Value = list.bearer_auth(token).json(&json!({})).send().await.unwrap().json().await.unwrap();
    let item = &list["items"][0];
    assert_eq!((&item["status"], &item["started_at"]), (&json!("EGRESS_STARTING"), &json!("0")));
    assert_eq!(item["room_composite"]["room_name"], json!(room));
    assert!(item["room_composite"]["file_outputs"][0]["filepath"].as_str().unwrap().ends_with("a.mp4"));
    assert_eq!(item.get("web"), None);
}
