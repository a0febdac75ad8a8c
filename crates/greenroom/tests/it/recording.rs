//! A booking that is recorded, from the first request to the file.

use reqwest::Client;
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::world::World;

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_meeting_is_recorded_and_both_parties_get_the_file(_: PgPoolOptions, connect: PgConnectOptions) {
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
    let seen = async |wanted: &str| {
        testkit::eventually("the recording moves on", async || {
            let (_, told) = replica.get("guest", &one).await;
            if told["data"]["status"] == wanted { Ok(told) } else { Err(told) }
        })
        .await
    };
    seen("active").await;
    let (status, again) = replica.post("host", &path, json!({})).await;
    assert_eq!((status.as_u16(), &again["code"]), (409, &json!("already_recording")));
    replica.post("host", &format!("{one}/stop"), json!({})).await;
    let done = seen("complete").await;
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
    for person in ["host", "guest"] {
        let (_, told) = replica.get(person, "/api/notifications").await;
        let kinds: Vec<&str> =
            told["data"].as_array().unwrap().iter().filter_map(|one| one["kind"].as_str()).collect();
        assert!(kinds.contains(&"recording_ready"), "{person}: {kinds:?}");
    }
}
