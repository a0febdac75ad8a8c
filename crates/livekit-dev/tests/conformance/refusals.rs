//! Requests that a recording worker refuses. A real server without a worker refuses none of them.

use livekit_dev::Store;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    reasons::REFUSALS_OF_WORKERS,
    target::{Target, fresh},
};

async fn recording() -> Option<(Target, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let target = Target::configured(REFUSALS_OF_WORKERS, |config| {
        config.store = Store::RedisLike;
        config.recordings = Some(root);
    })
    .await?;
    target.dev(REFUSALS_OF_WORKERS)?.switch(json!({"worker": "waits"})).await;
    Some((target, folder))
}

async fn call(target: &Target, method: &str, body: &Value) -> (StatusCode, Value) {
    target.call("Egress", method, &json!({"roomRecord": true}), body).await
}

/// A valid request with these fields changed.
fn with(mut request: Value, changes: &Value) -> Value {
    for (field, value) in changes.as_object().unwrap() {
        request[field] = value.clone();
    }
    request
}

async fn refuses(target: &Target, method: &str, right: &Value, wrong: &[(Value, &str)]) {
    let (status, answer) = call(target, method, right).await;
    assert_eq!(status, StatusCode::OK, "{method}: {answer}");
    assert_eq!((&answer["status"], &answer["started_at"]), (&json!("EGRESS_STARTING"), &json!("0")));
    for (changes, why) in wrong {
        let (status, error) = call(target, method, &with(right.clone(), changes)).await;
        assert_eq!(
            (status, &error["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_argument")),
            "{changes}"
        );
        assert_eq!(error["msg"], format!("twirp error unknown: {why}"), "{method} {changes}");
    }
}

fn field(name: &str) -> String {
    format!("request has missing or invalid field: {name}")
}

#[tokio::test]
async fn recording_of_a_room_needs_valid_outputs() {
    let Some((target, _folder)) = recording().await else { return };
    let room = target.create("composite").await.name;
    let right = json!({"room_name": room, "file_outputs": [{"filepath": "a.mp4"}]});
    let wrong = [
        (json!({"file_outputs": []}), &*field("output")),
        (json!({"file_outputs": [{}, {}]}), &field("multiple file outputs")),
        (json!({"segment_outputs": [{}, {}]}), &field("multiple segmented file outputs")),
        (json!({"audio_only": true, "video_only": true}), &field("audio_only and video_only")),
        (json!({"audio_only": true, "image_outputs": [{}]}), &field("audio_only images")),
        (json!({"custom_base_url": "ftp://x"}), &field("template base url")),
        (json!({"advanced": {"width": 15}}), &field("width")),
        (json!({"room_name": ""}), &field("token or api key/secret")),
        (json!({"stream_outputs": [{}]}), &field("stream protocol")),
        (json!({"file_outputs": [], "stream_outputs": [{"protocol": "RTMP"}]}), &field("stream url")),
        (json!({"stream_outputs": [{"urls": ["ftp://x"]}]}), "invalid url ftp://x: invalid protocol"),
        (
            json!({"stream_outputs": [{"protocol": "SRT", "urls": ["rtmp://x/a/b"]}]}),
            "invalid url rtmp://x/a/b: invalid scheme",
        ),
    ];
    refuses(&target, "StartRoomCompositeEgress", &right, &wrong).await;
    let missing = json!({"room_name": fresh("no")});
    assert_eq!(
        call(&target, "StartRoomCompositeEgress", &missing).await.0,
        StatusCode::NOT_FOUND,
        "the room is checked first"
    );
    let older = json!({"room_name": room, "file": {"filepath": "b.mp4"}});
    assert_eq!(call(&target, "StartRoomCompositeEgress", &older).await.0, StatusCode::OK);
}

#[tokio::test]
async fn recording_needs_a_valid_source() {
    let Some((target, _folder)) = recording().await else { return };
    let room = target.create("parts").await.name;
    let files = json!([{"filepath": "a.mp4"}]);
    let web = json!({"url": "https://example.com", "file_outputs": files});
    let wrong = [
        (json!({"url": ""}), &*field("web url")),
        (json!({"url": "example.com"}), &field("web url")),
        (json!({"audio_only": true, "video_only": true}), &field("audio_only and video_only")),
        (json!({"file_outputs": []}), &field("output")),
    ];
    refuses(&target, "StartWebEgress", &web, &wrong).await;
    let participant = json!({"room_name": room, "identity": "ann", "file_outputs": files});
    let wrong =
        [(json!({"identity": ""}), &*field("identity")), (json!({"file_outputs": []}), &field("output"))];
    refuses(&target, "StartParticipantEgress", &participant, &wrong).await;
    let tracks = json!({"room_name": room, "audio_track_id": "TR_a", "file_outputs": files});
    let wrong = [
        (json!({"audio_track_id": ""}), &*field("audio_track_id or video_track_id")),
        (json!({"file_outputs": []}), &field("output")),
    ];
    refuses(&target, "StartTrackCompositeEgress", &tracks, &wrong).await;
    let track = json!({"room_name": room, "track_id": "TR_a", "file": {"filepath": "a"}});
    let wrong = [(json!({"track_id": ""}), &*field("track_id")), (json!({"file": null}), &field("output"))];
    refuses(&target, "StartTrackEgress", &track, &wrong).await;
    let newest = json!({"room_name": room, "template": {}, "outputs": [{"file": {"filepath": "a"}}]});
    let wrong = [
        (json!({"template": null}), &*field("source")),
        (json!({"outputs": []}), &field("output")),
        (json!({"outputs": [{}]}), &field("output config")),
        (json!({"outputs": [{"file": {}}, {"file": {}}]}), &field("multiple file outputs")),
        (json!({"template": {"audio_only": true, "video_only": true}}), &field("audio_only and video_only")),
    ];
    refuses(&target, "StartEgress", &newest, &wrong).await;
}

#[tokio::test]
async fn only_running_streams_can_be_updated() {
    let Some((target, _folder)) = recording().await else { return };
    let dev = target.dev(REFUSALS_OF_WORKERS).unwrap();
    let room = target.create("streams").await.name;
    let start = json!({"room_name": room, "stream_outputs": [{"urls": ["rtmp://example.com/live/key"]}]});
    let (_, streaming) = call(&target, "StartRoomCompositeEgress", &start).await;
    let id = &streaming["egress_id"];
    let update = |url: &str| json!({"egress_id": id, "add_output_urls": [url]});
    assert_eq!(call(&target, "UpdateStream", &update("rtmp://example.com/live/two")).await.0, StatusCode::OK);
    let (status, error) = call(&target, "UpdateStream", &update("srt://example.com")).await;
    assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_argument")));
    dev.post("recordings", json!({"egress_id": id, "status": "EGRESS_COMPLETE"})).await;
    let (status, error) = call(&target, "UpdateStream", &update("rtmp://example.com/live/two")).await;
    assert_eq!((status, &error["code"]), (StatusCode::PRECONDITION_FAILED, &json!("failed_precondition")));
    assert_eq!(error["msg"], "egress with status EGRESS_COMPLETE cannot be updated");
    let (status, _) = call(&target, "UpdateStream", &json!({"egress_id": "EG_no"})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let start = json!({"room_name": room, "file_outputs": [{"filepath": "a.mp4"}]});
    let (_, file) = call(&target, "StartRoomCompositeEgress", &start).await;
    let update = json!({"egress_id": file["egress_id"], "add_output_urls": ["rtmp://example.com/live/key"]});
    let (status, error) = call(&target, "UpdateStream", &update).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(error["msg"], "twirp error unknown: UpdateStream called on non-streaming egress");
}

#[tokio::test]
async fn layout_can_be_updated_only_while_it_records() {
    let Some((target, _folder)) = recording().await else { return };
    let dev = target.dev(REFUSALS_OF_WORKERS).unwrap();
    let room = target.create("layout").await.name;
    let start = json!({"room_name": room, "file_outputs": [{"filepath": "a.mp4"}]});
    let (_, info) = call(&target, "StartRoomCompositeEgress", &start).await;
    let update = json!({"egress_id": info["egress_id"], "layout": "speaker"});
    let absent = json!("twirp error unknown: participant does not exist");
    let (status, error) = call(&target, "UpdateLayout", &update).await;
    assert_eq!((status, &error["msg"]), (StatusCode::NOT_FOUND, &absent), "the recording has not started");
    dev.post("recordings", json!({"egress_id": info["egress_id"], "status": "EGRESS_ACTIVE"})).await;
    assert_eq!(call(&target, "UpdateLayout", &update).await.0, StatusCode::OK);
    let recorder = target.rooms().get_participant(&room, info["egress_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(recorder.metadata, r#"{"layout":"speaker"}"#);
    dev.post("recordings", json!({"egress_id": info["egress_id"], "status": "EGRESS_COMPLETE"})).await;
    let (status, error) = call(&target, "UpdateLayout", &update).await;
    assert_eq!((status, &error["msg"]), (StatusCode::NOT_FOUND, &absent), "the recording has ended");
}

#[tokio::test]
async fn recording_of_a_web_page_is_in_no_room() {
    let Some((target, _folder)) = recording().await else { return };
    let dev = target.dev(REFUSALS_OF_WORKERS).unwrap();
    let unnamed = json!({"name": ""});
    target.json("CreateRoom", &json!({"roomCreate": true}), &unnamed).await;
    let web = json!({"url": "https://example.com", "file_outputs": [{"filepath": "a.mp4"}]});
    let (_, info) = call(&target, "StartWebEgress", &web).await;
    dev.post("recordings", json!({"egress_id": info["egress_id"], "status": "EGRESS_ACTIVE"})).await;
    let room = target.rooms().list_rooms(Vec::new()).await.unwrap().remove(0);
    assert!(room.name.is_empty() && !room.active_recording);
}
