//! Recordings in a bucket on a server that checks signatures, and on one that does not answer.

use std::time::Duration;

use chassis::status::{Reason, Refusal};
use domain::RecordingStatus;
use proto::room::v1::{
    RecordingPlace, RecordingRequest, recording_place::Place, recording_service_server::RecordingService,
};
use reqwest::StatusCode;
use room_lifecycle::{
    Config,
    recordings::{Recording, settings::OutputSettings},
};
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tonic::Request;

use crate::{
    harness::{
        Booking, Replica, World,
        bucket::{Bucket, settings},
        recordings::{host, record, scope, stop},
    },
    recording_files::read,
};

/// The read times out after 6 s. A slow machine may take longer, but less than the library's own 30 s per request.
const READ_TIMEOUT: Duration = Duration::from_secs(25);

fn into(output: OutputSettings) -> impl FnOnce(&mut Config) {
    |config| {
        config.recordings.output = Some(output);
        config.recordings.hls = true;
    }
}

async fn replica(world: &World, output: OutputSettings) -> Replica {
    world.rooms_with(into(output)).await
}

/// A complete recording whose file is in the bucket.
async fn finished(world: &World, rooms: &Replica) -> (Booking, Recording) {
    let (booking, recording) = world.recorded(rooms).await;
    stop(rooms, &booking, &recording).await;
    world.work();
    world.follow(rooms).await;
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Complete);
    (booking, recording)
}

async fn get(url: &str) -> (StatusCode, Vec<u8>) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status(), answer.bytes().await.unwrap().to_vec())
}

#[testkit::test]
async fn bucket_file_is_opened_by_its_link_and_deleted(connect: PgConnectOptions) {
    let bucket = Bucket::new().await;
    let world = World::recording_below(connect, &bucket.path()).await;
    let rooms = replica(&world, bucket.settings()).await;
    let (booking, recording) = finished(&world, &rooms).await;
    let whole = std::fs::read(bucket.file(&recording.file)).unwrap();

    let (file, bytes) = read(&rooms, recording.id.0, None, None).await.unwrap();
    assert_eq!((file.size, bytes), (whole.len() as u64, whole.clone()));
    assert_eq!(read(&rooms, recording.id.0, Some(4), Some(7)).await.unwrap().1, b"ftyp");

    let request = RecordingRequest {
        caller: Some(host(&booking)),
        place: Some(RecordingPlace { place: Some(Place::SessionId(booking.id.to_string())) }),
        recording_id: recording.id.to_string(),
        proof: None,
    };
    let answer =
        RecordingService::get_recording(&rooms.recordings, Request::new(request)).await.unwrap().into_inner();
    let link = answer.recording.unwrap().download_url.unwrap();
    assert_eq!(get(&link).await, (StatusCode::OK, whole));
    let longer = link.replace("X-Amz-Expires=3600", "X-Amz-Expires=36000");
    assert_ne!(longer, link);
    assert_eq!(get(&longer).await.0, StatusCode::FORBIDDEN, "the expiry is signed");
    assert_eq!(get(link.split_once('?').unwrap().0).await.0, StatusCode::FORBIDDEN, "objects are not public");

    rooms.recordings.delete_recording(&host(&booking), scope(&booking), recording.id, None).await.unwrap();
    world.recordings_pass(&rooms).await.unwrap();
    assert_eq!(
        (world.recording_row(recording.id).await, bucket.file(&recording.file).exists()),
        (None, false)
    );
}

#[testkit::test]
async fn bucket_stream_is_played_and_all_segments_deleted(connect: PgConnectOptions) {
    let bucket = Bucket::new().await;
    let world = World::recording_below(connect, &bucket.path()).await;
    let rooms = replica(&world, bucket.settings()).await;
    let nest = world.streamed_nest(&rooms).await;
    let stream = world.pass_and_stream(&rooms, &nest).await;
    assert_eq!(
        nest.play(&rooms, "live.m3u8").await.unwrap_err().reason,
        Reason::RoomNotFound,
        "not written yet"
    );
    world.work();
    let playlist = String::from_utf8(nest.play(&rooms, "live.m3u8").await.unwrap()).unwrap();
    let segment = playlist.lines().find(|line| !line.starts_with('#')).unwrap();
    let written = std::fs::read(bucket.file(&stream.file).join(segment)).unwrap();
    assert_eq!(nest.play(&rooms, segment).await.unwrap(), written);

    world
        .execute("update recordings set status = 'complete', ended_at = app_now(), deleted_at = app_now()")
        .await;
    rooms.recordings.remove_recordings().await.unwrap();
    let left = std::fs::read_dir(bucket.file(&stream.file)).map_or(0, Iterator::count);
    assert_eq!((world.count_recordings().await, left), (0, 0));
}

#[testkit::test]
async fn nothing_is_lost_when_the_bucket_refuses_the_key(connect: PgConnectOptions) {
    let bucket = Bucket::new().await;
    let world = World::recording_below(connect, &bucket.path()).await;
    let rooms = replica(&world, bucket.settings()).await;
    let (booking, recording) = finished(&world, &rooms).await;
    let stranger = replica(&world, settings(bucket.endpoint.clone(), &testkit::secret())).await;
    let refused = Refusal::from_status(&read(&stranger, recording.id.0, None, None).await.unwrap_err());
    assert_eq!(refused.reason, Reason::RecordingUnavailable);

    stranger.recordings.delete_recording(&host(&booking), scope(&booking), recording.id, None).await.unwrap();
    stranger.recordings.remove_recordings().await.unwrap();
    assert!(world.recording_row(recording.id).await.is_some() && bucket.file(&recording.file).exists());
    world.advance(time::Duration::minutes(6));
    rooms.recordings.remove_recordings().await.unwrap();
    assert!(world.recording_row(recording.id).await.is_none() && !bucket.file(&recording.file).exists());
}

#[testkit::test]
async fn silent_bucket_times_out_and_delays_no_recording(connect: PgConnectOptions) {
    let bucket = Bucket::new().await;
    let world = World::recording_below(connect, &bucket.path()).await;
    let rooms = replica(&world, bucket.settings()).await;
    let (_, recording) = finished(&world, &rooms).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
    let mut config = world.config();
    config.pass_period = Duration::from_millis(100);
    into(settings(endpoint, &testkit::secret()))(&mut config);
    let waiting = replica(&world, config.recordings.output.clone().unwrap()).await;
    let given_up = read(&waiting, recording.id.0, None, None);
    let given_up =
        tokio::time::timeout(READ_TIMEOUT, given_up).await.expect("the read times out").unwrap_err();
    assert_eq!(Refusal::from_status(&given_up).reason, Reason::RecordingUnavailable);

    // Several times more than one removal handles.
    world
        .execute(
            "insert into recordings (room_id, generation, started_by, status, file, ended_at, deleted_at)
             select room_id, generation, started_by, status, file, ended_at, app_now()
             from recordings, generate_series(1, 100)",
        )
        .await;
    let runtime = testkit::runtime();
    let _routes = room_lifecycle::start(&config, &runtime).await.unwrap();
    testkit::eventually("the removal has begun", async || {
        sqlx::query!("select id from recordings where removal_at is not null limit 1")
            .fetch_optional(&world.pool)
            .await
            .unwrap()
    })
    .await;
    let (booking, _) = world.open_room(&rooms).await;
    let next = record(&rooms, &booking).await.unwrap();
    world.work();
    testkit::eventually("the recording is watched", async || {
        let status = world.status_of(&next).await;
        if status == RecordingStatus::Active { Ok(()) } else { Err(status) }
    })
    .await;
}
