//! The output of recordings, and the recorder.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use livekit_dev::Worker;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;

use super::{Findings, examine};
use crate::world::World;

/// What a bucket refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Denied {
    #[default]
    Nothing,
    Write,
    WriteAndDelete,
    Read,
    Delete,
}

/// A bucket that answers as S3 does, and checks no signature.
#[derive(Clone, Default)]
struct Bucket(Arc<Mutex<(HashMap<String, Bytes>, Denied)>>);

impl Bucket {
    fn deny(&self, denied: Denied) {
        self.0.lock().unwrap().1 = denied;
    }

    fn objects(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }

    async fn serve(&self) -> String {
        let router = Router::new().fallback(answer).with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }
}

async fn answer(State(bucket): State<Bucket>, request: Request) -> Response {
    let (method, key) = (request.method().clone(), request.uri().path().to_owned());
    let body = axum::body::to_bytes(request.into_body(), 64 * 1024).await.unwrap();
    let (objects, denied) = &mut *bucket.0.lock().unwrap();
    match method {
        Method::PUT if matches!(denied, Denied::Write | Denied::WriteAndDelete) => {
            StatusCode::FORBIDDEN.into_response()
        }
        Method::PUT => {
            objects.insert(key, body);
            [(header::ETAG, "\"one\"")].into_response()
        }
        Method::GET if *denied == Denied::Read => StatusCode::FORBIDDEN.into_response(),
        Method::GET | Method::HEAD => match objects.get(&key) {
            Some(object) => {
                let size = object.len();
                let mut headers = HeaderMap::new();
                let mut set = |name, value: &str| headers.insert(name, value.parse().unwrap());
                set(header::ETAG, "\"one\"");
                set(header::LAST_MODIFIED, "Tue, 01 Dec 2026 00:00:00 GMT");
                set(header::CONTENT_LENGTH, &size.to_string());
                if method == Method::HEAD {
                    return headers.into_response();
                }
                // Our reader asks for the range that is the whole object.
                set(header::CONTENT_RANGE, &format!("bytes 0-{}/{size}", size - 1));
                (StatusCode::PARTIAL_CONTENT, headers, object.clone()).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        },
        // Several objects are deleted by one POST with their keys.
        _ => {
            let text = String::from_utf8(body.to_vec()).unwrap();
            let key = text.split("<Key>").nth(1).and_then(|rest| rest.split("</Key>").next()).unwrap();
            let result = if matches!(denied, Denied::Delete | Denied::WriteAndDelete) {
                format!(
                    "<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
                )
            } else {
                objects.retain(|path, _| !path.ends_with(key));
                format!("<Deleted><Key>{key}</Key></Deleted>")
            };
            format!("<DeleteResult>{result}</DeleteResult>").into_response()
        }
    }
}

#[testkit::test]
async fn bucket_must_let_us_write_read_and_delete(world: World) {
    let bucket = Bucket::default();
    let endpoint = bucket.serve().await;
    let storage = async |endpoint: &str, secret: &str| {
        let settings = [
            ("RECORDING_OUTPUT", "s3://films/of/greenroom"),
            ("S3_ENDPOINT", endpoint),
            ("S3_ACCESS_KEY", "key"),
            ("S3_SECRET_KEY", secret),
            ("API_URL", ""),
        ];
        examine(&world, &[], &settings).await
    };
    storage(&endpoint, "sesame-123").await.assert("storage", "passed", "the bucket films");
    assert_eq!(bucket.objects(), 0, "the object was deleted");
    for (denied, outcome, text) in [
        (Denied::Write, "warning", "may not write"),
        (Denied::WriteAndDelete, "failed", "delete an object"),
        (Denied::Read, "failed", "read an object"),
        (Denied::Delete, "failed", "is still there"),
    ] {
        bucket.deny(denied);
        let found = storage(&endpoint, "sesame-123").await;
        found.assert("storage", outcome, text);
        assert_eq!(bucket.objects(), usize::from(denied == Denied::Delete), "{denied:?}");
        assert!(!found.report.to_string().contains("sesame"), "{:#}", found.report);
    }
    storage("http://127.0.0.1:1", "sesame-123").await.assert("storage", "failed", "write an object");
    storage(&endpoint, "").await.assert("storage", "failed", "S3_SECRET_KEY: is missing");
}

#[testkit::test]
async fn folder_of_recordings_must_be_writable(world: World) {
    let folder = tempfile::tempdir().unwrap();
    let storage = async |output: String| -> Findings {
        examine(&world, &[], &[("RECORDING_OUTPUT", output.as_str()), ("API_URL", "")]).await
    };
    let good = storage(format!("file://{}", folder.path().display())).await;
    good.assert("storage", "passed", "written");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the object was deleted");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let found = storage(format!("file://{}/below", file.display())).await;
    found.assert("storage", "failed", "recorders may not write either");
    storage("file://".to_owned()).await.assert("storage", "failed", "RECORDING_OUTPUT");
}

#[testkit::test]
async fn recorder_is_tried_only_with_deep(connect: PgConnectOptions) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::recording(&connect, folder.path()).await;
    let Some(livekit) = world.stand_in() else { return };
    let output = format!("file://{}", folder.path().display());
    let settings = [("RECORDING_OUTPUT", output.as_str()), ("API_URL", "")];
    examine(&world, &[], &settings).await.assert("recorder", "skipped", "--deep");
    assert_eq!(livekit.calls("StartRoomCompositeEgress"), 0);

    let found = examine(&world, &["--deep"], &settings).await;
    found.assert("recorder", "passed", "deleted again");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "its file was deleted");
    assert!(livekit.rooms().is_empty(), "the test room was deleted");

    livekit.set_worker(Worker::Absent);
    examine(&world, &["--deep"], &settings).await.assert("recorder", "failed", "no recorder took");
    livekit.set_worker(Worker::Works);
    let elsewhere = tempfile::tempdir().unwrap();
    let read = elsewhere.path().to_str().unwrap();
    let found = examine(&world, &["--deep"], &[&settings[..], &[("RECORDING_READ", read)]].concat()).await;
    found.assert("recorder", "failed", "was not found");
    let found = examine(&world, &["--deep"], &[("RECORDING_OUTPUT", "file://"), ("API_URL", "")]).await;
    found.assert_follows("recorder", "storage");
}
