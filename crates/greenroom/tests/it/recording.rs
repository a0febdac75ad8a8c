//! Recordings and streams end to end, from the first request to the file.

use gateway::nostr::sign::Keys;
use livekit_dev::{Code, Fault, Worker};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;

use crate::world::World;

#[testkit::test]
async fn recorded_meeting_gives_both_parties_the_file(connect: PgConnectOptions) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::recording(&connect, folder.path()).await;
    if world.stand_in().is_none() {
        return; // the recorder of a real server is set up elsewhere
    }
    let replica = world.replica().await;
    let session = replica.book("host", "guest", 1).await;
    let path = format!("/api/sessions/{session}/recordings");
    let (status, started) = replica.post("host", &path, json!({})).await;
    assert_eq!(status.as_u16(), 202, "{started}");
    let one = format!("{path}/{}", started["data"]["id"].as_str().unwrap());
    let await_status = async |wanted: &str| {
        testkit::eventually("the recording has the next status", async || {
            let (_, answer) = replica.get("guest", &one).await;
            if answer["data"]["status"] == wanted { Ok(answer) } else { Err(answer) }
        })
        .await
    };
    await_status("active").await;
    let (status, again) = replica.post("host", &path, json!({})).await;
    assert_eq!((status.as_u16(), &again["code"]), (409, &json!("already_recording")));
    replica.post("host", &format!("{one}/stop"), json!({})).await;
    let done = await_status("complete").await;
    let url = done["data"]["downloadUrl"].as_str().unwrap();
    let url = if url.starts_with('/') { format!("{}{url}", replica.url) } else { url.to_owned() };
    let file = Client::new().get(url).send().await.unwrap();
    assert_eq!(
        (file.status().as_u16(), &file.headers()["content-type"]),
        (200, &"video/mp4".parse().unwrap())
    );
    let bytes = file.bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, done["data"]["sizeBytes"].as_u64().unwrap());
    assert_eq!(&bytes[4..8], b"ftyp");
    for user in ["host", "guest"] {
        let (_, answer) = replica.get(user, "/api/notifications").await;
        let kinds: Vec<&str> =
            answer["data"].as_array().unwrap().iter().filter_map(|one| one["kind"].as_str()).collect();
        assert!(kinds.contains(&"recording_ready"), "{user}: {kinds:?}");
    }
}

#[testkit::test]
async fn host_is_notified_when_a_recording_does_not_start(connect: PgConnectOptions) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::recording(&connect, folder.path()).await;
    if world.stand_in().is_none() {
        return;
    }
    let replica = world.replica().await;
    let livekit = world.stand_in().unwrap();
    let session = replica.book("host", "guest", 1).await;
    let path = format!("/api/sessions/{session}/recordings");
    let refuse = Fault::Refuse { code: Code::Unavailable };
    livekit.faults().set_next("StartRoomCompositeEgress", 1, refuse);
    let (status, refused) = replica.post("host", &path, json!({})).await;
    assert_eq!((status.as_u16(), &refused["code"]), (503, &json!("recording_unavailable")), "{refused}");

    livekit.faults().set("StartRoomCompositeEgress", Fault::Hang);
    livekit.set_worker(Worker::Absent);
    let (status, started) = replica.post("host", &path, json!({})).await;
    assert_eq!((status.as_u16(), &started["data"]["status"]), (202, &json!("starting")), "{started}");
    livekit.faults().clear();
    let failures = async |user: &str| {
        let (_, answer) = replica.get(user, "/api/notifications").await;
        let all = answer["data"].as_array().unwrap().clone();
        all.into_iter().filter(|one| one["kind"] == "recording_failed").collect::<Vec<_>>()
    };
    let failed = testkit::eventually("the host is notified", async || {
        let failed = failures("host").await;
        if failed.is_empty() { Err(failed) } else { Ok(failed) }
    })
    .await;
    let payload = &failed[0]["payload"];
    assert_eq!((failed.len(), &payload["recordingId"]), (1, &started["data"]["id"]), "{payload}");
    assert!(failures("guest").await.is_empty());
    livekit.set_worker(Worker::Works);
    let (status, again) = replica.post("host", &path, json!({})).await;
    assert_eq!(status.as_u16(), 202, "{again}");
    assert_eq!(replica.stop().await, 0, "no background task panicked");
}

/// Records as the clients of nests do: start, list until the recording runs, stop, fetch, delete.
#[testkit::test]
async fn nests_client_records_a_nest(connect: PgConnectOptions) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::recording(&connect, folder.path()).await;
    if world.stand_in().is_none() {
        return;
    }
    let replica = world.replica().await;
    let host = Keys::generate();
    let (_, created) = replica.nostr(Some(&host), Method::PUT, "/api/v1/nests", None).await;
    let nest = format!("/api/v1/nests/{}", created["roomId"].as_str().unwrap());
    let path = format!("{nest}/recording");
    let ask = async |method: Method, path: &str| replica.nostr(Some(&host), method, path, None).await;
    assert_eq!(ask(Method::POST, &path).await.0, StatusCode::ACCEPTED);
    let info = async || replica.nostr(None, Method::GET, &format!("{nest}/info"), None).await.1;
    assert_eq!(info().await["recording"], json!(true));
    let (_, listed) = ask(Method::GET, &path).await;
    let one = format!("{path}/{}", listed[0]["id"].as_str().unwrap());
    assert!(
        listed[0]["url"].as_str().unwrap().ends_with(&one) && listed[0].get("stopped").is_none(),
        "{listed}"
    );
    let (status, answer) = ask(Method::GET, &one).await;
    assert_eq!(
        (status.as_u16(), &answer["message"], &answer["error"]),
        (400, &json!("Recording not finished"), &json!(true))
    );

    // A recording that is stopped before it has begun has no file.
    testkit::eventually("the recording has begun", async || {
        let running = world.stand_in().unwrap().recordings();
        running.iter().any(|info| info.started_at != 0).then_some(())
    })
    .await;
    assert_eq!(ask(Method::PATCH, &one).await.0, StatusCode::ACCEPTED);
    let again = replica.nostr(Some(&host), Method::PATCH, &one, Some(&json!({}))).await;
    assert_eq!(
        (again.0.as_u16(), &again.1["message"], &again.1["error"]),
        (400, &json!("Already stopped"), &json!(true))
    );
    let stopped = testkit::eventually("the recording has ended", async || {
        let listed = ask(Method::GET, &path).await.1;
        listed[0]["stopped"].as_i64().ok_or(listed)
    })
    .await;
    assert!(stopped >= listed[0]["started"].as_i64().unwrap());
    let header = replica.sign(&host, &Method::GET, &one, None);
    let url = format!("{}{one}", replica.url);
    let file = Client::new().get(url).header("authorization", header).send().await.unwrap();
    assert_eq!(
        (file.status(), &file.headers()["content-type"]),
        (StatusCode::OK, &"audio/mp4".parse().unwrap())
    );
    assert_eq!(&file.bytes().await.unwrap()[4..8], b"ftyp");
    assert_eq!(info().await["recording"], json!(false));
    assert_eq!(ask(Method::DELETE, &one).await.0, StatusCode::ACCEPTED);
    assert_eq!(ask(Method::GET, &path).await, (StatusCode::OK, json!([])));
    assert_eq!(replica.stop().await, 0, "no background task panicked");
}

/// Fetches what a player fetches: the playlist at the given endpoint, and a segment of it.
#[testkit::test]
async fn nest_is_played_over_hls_when_requested(connect: PgConnectOptions) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::recording(&connect, folder.path()).await;
    world.services.room.recordings.hls = true;
    if world.stand_in().is_none() {
        return;
    }
    let replica = world.replica().await;
    let host = Keys::generate();
    let wanted = json!({"hls_stream": true});
    let (_, created) = replica.nostr(Some(&host), Method::PUT, "/api/v1/nests", Some(&wanted)).await;
    let path = format!("/api/v1/live/{}/live.m3u8", created["roomId"].as_str().unwrap());
    assert!(created["endpoints"][1].as_str().unwrap().ends_with(&path), "{created}");
    let get = async |path: &str| Client::new().get(format!("{}{path}", replica.url)).send().await.unwrap();
    assert_eq!(get(&path).await.status(), StatusCode::NOT_FOUND, "the nest has no participants");
    world.stand_in().unwrap().join(created["token"].as_str().unwrap()).unwrap();
    let playlist = testkit::eventually("the nest is streamed", async || {
        let answer = get(&path).await;
        if answer.status() == StatusCode::OK {
            Ok(answer.text().await.unwrap())
        } else {
            Err(answer.status())
        }
    })
    .await;
    let segment =
        playlist.lines().find(|line| !line.is_empty() && !line.starts_with('#')).expect("a segment");
    let segment = get(&path.replace("live.m3u8", segment)).await;
    assert_eq!(
        (segment.status(), &segment.headers()["content-type"]),
        (StatusCode::OK, &"video/mp2t".parse().unwrap())
    );
    let (_, info) = replica
        .nostr(
            None,
            Method::GET,
            &format!("/api/v1/nests/{}/info", created["roomId"].as_str().unwrap()),
            None,
        )
        .await;
    assert_eq!(info["recording"], Value::Bool(false), "a stream is no recording");
}
