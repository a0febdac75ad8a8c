//! Starting, stopping, reading and deleting recordings, when all goes well and when it is refused.

use chassis::status::Reason;
use domain::{LiveStatus, Owner, RecordingKind, RecordingStatus};
use futures::StreamExt;
use livekit_dev::{Fault, Worker};
use livekit_protocol::EgressStatus;
use proto::room::v1::{
    ListRecordingsRequest, ReadRecordingRequest, RecordingFile, RecordingPlace, RecordingRequest,
    StartRecordingRequest, read_recording_response::Part, recording_service_server::RecordingService,
};
use room_lifecycle::recordings::{Place, Wish};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tonic::Request;

use crate::harness::{
    State, World,
    hosts::{admin, person},
    reason,
    recordings::{host, place, record, stop, wish},
};

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_recording_is_started_stopped_complete_and_its_parties_are_told(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (booking, recording) = world.recorded(&rooms).await;
    world.server().advance_clock(std::time::Duration::from_secs(5));
    let stopped = stop(&rooms, &booking, &recording).await;
    assert_eq!(stopped.status, RecordingStatus::Ending);
    world.work();
    rooms.recordings_pass().await.unwrap();
    let done = world.kept(recording.id).await.unwrap();
    assert_eq!((done.status, done.error, done.seconds), (RecordingStatus::Complete, None, Some(5.0)));
    assert_eq!(
        done.size,
        Some(i64::try_from(std::fs::metadata(world.file(&recording)).unwrap().len()).unwrap())
    );
    assert!(done.file.contains(&recording.id.to_string()));
    let told = sqlx::query_scalar!(
        "select user_id from notifications where kind = 'recording_ready' and session_id = $1 order by user_id",
        booking.id
    );
    let told: Vec<String> = told.fetch_all(&world.pool).await.unwrap().into_iter().flatten().collect();
    assert_eq!(told, [booking.guest.clone(), booking.host.clone()]);
    let again = stop(&rooms, &booking, &recording).await;
    assert_eq!(again.status, RecordingStatus::Complete, "stopped again, it is what it is");
    world.assert_another_can_start(&rooms, &booking).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn two_starts_at_once_are_one_row_and_one_recorder(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let (one, other) = (world.rooms().await, world.rooms().await);
    let (booking, _) = world.open_room(&one).await;
    let (first, second) = tokio::join!(record(&one, &booking), record(&other, &booking));
    let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
    won.unwrap();
    assert_eq!(reason(lost), Reason::AlreadyRecording);
    assert_eq!((world.count_recordings().await, world.server().recordings().len()), (1, 1));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_key_makes_one_recording_however_often_it_is_sent(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let keyed = |place| Wish::new(place, RecordingKind::File, Some("a key".to_owned()));
    let caller = host(&booking);
    let (first, second) = (keyed(place(&booking)), keyed(place(&booking)));
    let (first, second) = tokio::join!(rooms.record(&caller, &first), rooms.record(&caller, &second));
    let first = first.unwrap();
    assert_eq!(first.id, second.unwrap().id);
    stop(&rooms, &booking, &first).await;
    rooms.watch_recordings().await.unwrap();
    let late = rooms.record(&caller, &keyed(place(&booking))).await.unwrap();
    assert_eq!((late.id, late.status), (first.id, RecordingStatus::Aborted), "the row as it is now");
    let (other, _) = world.open_room(&rooms).await;
    let caller = proto::types::v1::Caller { user_id: caller.user_id, ..Default::default() };
    sqlx::query!("update sessions set host_id = $2 where id = $1", other.id, caller.user_id)
        .execute(&world.pool)
        .await
        .unwrap();
    let elsewhere = rooms.record(&caller, &keyed(place(&other))).await;
    assert_eq!(reason(elsewhere), Reason::IdempotencyKeyReused);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn without_a_recorder_nothing_is_left_behind(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().set_worker(Worker::Absent);
    let keyed = Wish::new(place(&booking), RecordingKind::File, Some("a key".to_owned()));
    assert_eq!(reason(rooms.record(&host(&booking), &keyed).await), Reason::RecordingUnavailable);
    assert_eq!(world.kept(keyed.id).await.unwrap().status, RecordingStatus::Failed);
    world.server().set_worker(Worker::Waits);
    let again = Wish::new(place(&booking), RecordingKind::File, Some("a key".to_owned()));
    let again = rooms.record(&host(&booking), &again).await.unwrap();
    assert_eq!(again.status, RecordingStatus::Starting, "the same key tries again");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn where_no_output_is_set_nothing_is_recorded_and_livekit_is_not_asked(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    assert_eq!(reason(record(&rooms, &booking).await), Reason::RecordingUnavailable);
    assert_eq!((world.count_recordings().await, world.server().calls("StartRoomCompositeEgress")), (0, 0));
    rooms.recordings_pass().await.unwrap();
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn only_a_room_that_is_on_is_recorded(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    assert_eq!(reason(record(&rooms, &booking).await), Reason::RoomNotActive, "no room yet");
    let over = world.booking(State::Completed).await;
    assert_eq!(reason(record(&rooms, &over).await), Reason::RoomNotActive);
    let (ended, _) = world.open_room(&rooms).await;
    world.complete(&ended).await;
    assert_eq!(reason(record(&rooms, &ended).await), Reason::MeetingEnded);
    let (lost, room) = world.open_room(&rooms).await;
    world.admin().delete_room(&room.room_name).await.unwrap();
    assert_eq!(reason(record(&rooms, &lost).await), Reason::RoomNotActive, "LiveKit has lost it");
    assert_eq!(world.running(), []);
    rooms.drain().await.unwrap();
    record(&rooms, &lost).await.unwrap();
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn hosts_record_parties_read_and_strangers_do_neither(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (booking, recording) = world.recorded(&rooms).await;
    let guest = person(&booking.guest);
    for (who, why) in [
        (guest.clone(), Reason::NotHost),
        (person("stranger"), Reason::NotParticipant),
        (admin(), Reason::NotParticipant),
    ] {
        assert_eq!(reason(rooms.record(&who, &wish(&booking)).await), why);
        let (place, id) = (place(&booking), recording.id);
        assert_eq!(reason(rooms.stop_recording(&who, place, id, None).await), why);
        assert_eq!(reason(rooms.delete_recording(&who, place, id, None).await), why);
    }
    let list = |who| {
        let place = RecordingPlace { session_id: booking.id.to_string(), ..RecordingPlace::default() };
        let request = ListRecordingsRequest { caller: Some(who), place: Some(place), ..Default::default() };
        RecordingService::list_recordings(&*rooms, Request::new(request))
    };
    for reader in [host(&booking), guest, admin()] {
        let listed = list(reader).await.unwrap().into_inner().recordings;
        assert_eq!(listed[0].id, recording.id.to_string());
    }
    assert!(list(person("stranger")).await.is_err());
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_recording_is_found_at_its_own_place_only(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (_, recording) = world.recorded(&rooms).await;
    let (other, _) = world.open_room(&rooms).await;
    let stopped = rooms.stop_recording(&host(&other), place(&other), recording.id, None).await;
    assert_eq!(reason(stopped), Reason::RecordingNotFound);
    let deleted = rooms.delete_recording(&host(&other), place(&other), recording.id, None).await;
    assert_eq!(reason(deleted), Reason::RecordingNotFound);
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Active);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_host_records_what_is_on_in_his_live_room(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (host, session) = world.host_with(LiveStatus::Live).await;
    rooms.ensure(Owner::LiveSession(session), false).await.unwrap();
    let wish = |key: Option<&str>| {
        Wish::new(Place::LiveRoom(host.room.id), RecordingKind::File, key.map(str::to_owned))
    };
    assert_eq!(reason(rooms.record(&person("stranger"), &wish(None)).await), Reason::NotHost);
    let recording = rooms.record(&host.caller, &wish(None)).await.unwrap();
    world.put(&recording, EgressStatus::EgressActive);
    world.put(&recording, EgressStatus::EgressComplete);
    rooms.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Complete);
    let told = sqlx::query_scalar!("select user_id from notifications where kind = 'recording_ready'");
    assert_eq!(told.fetch_all(&world.pool).await.unwrap(), [Some(host.caller.user_id.clone())]);
    let (idle, _) = world.host_with(LiveStatus::Ended).await;
    let wish = Wish::new(Place::LiveRoom(idle.room.id), RecordingKind::File, None);
    assert_eq!(reason(rooms.record(&idle.caller, &wish).await), Reason::RoomNotActive);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn who_waits_is_told_that_it_starts_when_livekit_is_slow(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().faults().set("StartRoomCompositeEgress", Fault::Hang);
    let place = RecordingPlace { session_id: booking.id.to_string(), ..RecordingPlace::default() };
    let request = StartRecordingRequest {
        caller: Some(host(&booking)),
        place: Some(place),
        ..StartRecordingRequest::default()
    };
    let budget = std::time::Duration::from_millis(1_500);
    let asked = RecordingService::start_recording(&*rooms, Request::new(request));
    let told = chassis::context::with_budget(budget, asked).await.unwrap().into_inner().recording.unwrap();
    assert_eq!(told.status, "starting");
    world.server().faults().clear();
    let id = told.id.parse().unwrap();
    testkit::eventually("the work went on without its caller", async || {
        world.kept(id).await.unwrap().egress_id
    })
    .await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn who_stops_or_deletes_is_answered_although_livekit_is_slow(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (booking, recording) = world.recorded(&rooms).await;
    world.server().faults().set("StopEgress", Fault::Hang);
    let request = || {
        let place = RecordingPlace { session_id: booking.id.to_string(), ..RecordingPlace::default() };
        let recording_id = recording.id.to_string();
        Request::new(RecordingRequest {
            caller: Some(host(&booking)),
            place: Some(place),
            recording_id,
            proof: None,
        })
    };
    let budget = std::time::Duration::from_millis(1_500);
    let asked = RecordingService::stop_recording(&*rooms, request());
    let told = chassis::context::with_budget(budget, asked).await.unwrap().into_inner().recording.unwrap();
    assert_eq!(told.status, "ending");
    let asked = RecordingService::delete_recording(&*rooms, request());
    chassis::context::with_budget(budget, asked).await.unwrap();
    world.server().faults().clear();
    testkit::eventually("the work went on without its caller", async || {
        (world.running()[0].status() == EgressStatus::EgressEnding).then_some(())
    })
    .await;
}

async fn read(
    rooms: &room_lifecycle::Rooms,
    id: uuid::Uuid,
    first: Option<u64>,
    last: Option<u64>,
) -> Result<(RecordingFile, Vec<u8>), tonic::Status> {
    let caller = Some(chassis::grpc::system_caller());
    let request = ReadRecordingRequest { caller, recording_id: id.to_string(), first, last };
    let mut parts = RecordingService::read_recording(rooms, Request::new(request)).await?.into_inner();
    let (mut file, mut all) = (RecordingFile::default(), Vec::new());
    while let Some(part) = parts.next().await {
        match part?.part.unwrap() {
            Part::File(head) => file = head,
            Part::Bytes(bytes) => all.extend(bytes),
        }
    }
    Ok((file, all))
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_file_is_read_whole_or_in_part_until_it_is_gone(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (booking, recording) = world.recorded(&rooms).await;
    assert!(read(&rooms, recording.id, None, None).await.is_err(), "it is not finished");
    stop(&rooms, &booking, &recording).await;
    world.work();
    rooms.watch_recordings().await.unwrap();
    let whole = std::fs::read(world.file(&recording)).unwrap();
    let size = whole.len() as u64;
    let (file, bytes) = read(&rooms, recording.id, None, None).await.unwrap();
    assert_eq!((file.content_type.as_str(), file.size, file.length), ("video/mp4", size, size));
    assert_eq!(bytes, whole);
    let (file, bytes) = read(&rooms, recording.id, Some(4), Some(7)).await.unwrap();
    assert_eq!(((file.first, file.length), bytes.as_slice()), ((4, 4), &b"ftyp"[..]));
    assert_eq!(read(&rooms, recording.id, None, Some(9)).await.unwrap().1, whole[whole.len() - 9..]);
    assert_eq!(read(&rooms, recording.id, Some(size), None).await.unwrap().0.length, 0);
    std::fs::remove_file(world.file(&recording)).unwrap();
    let gone =
        chassis::status::Refusal::from_status(&read(&rooms, recording.id, None, None).await.unwrap_err());
    assert_eq!(gone.reason, Reason::RecordingNotFound);
    let mut request = ReadRecordingRequest { recording_id: recording.id.to_string(), ..Default::default() };
    request.caller = Some(host(&booking));
    assert!(RecordingService::read_recording(&*rooms, Request::new(request)).await.is_err(), "links only");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn what_is_deleted_is_found_by_nobody_and_its_file_goes_with_the_pass(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (booking, recording) = world.recorded(&rooms).await;
    rooms.delete_recording(&host(&booking), place(&booking), recording.id, None).await.unwrap();
    assert_eq!(world.running()[0].status(), EgressStatus::EgressEnding, "what runs is stopped");
    let request = RecordingRequest {
        caller: Some(host(&booking)),
        place: Some(RecordingPlace { session_id: booking.id.to_string(), ..Default::default() }),
        recording_id: recording.id.to_string(),
        proof: None,
    };
    assert!(RecordingService::get_recording(&*rooms, Request::new(request)).await.is_err());
    world.work();
    assert!(world.file(&recording).exists());
    rooms.recordings_pass().await.unwrap();
    assert_eq!((world.kept(recording.id).await, world.file(&recording).exists()), (None, false));
    let told =
        sqlx::query_scalar!(r#"select count(*) as "n!" from notifications where kind = 'recording_ready'"#);
    assert_eq!(told.fetch_one(&world.pool).await.unwrap(), 0, "nobody is told of what is deleted");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_file_that_cannot_be_removed_keeps_no_other_and_is_tried_again(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (first, stubborn) = world.recorded(&rooms).await;
    let (second, other) = world.recorded(&rooms).await;
    for (booking, recording) in [(&first, &stubborn), (&second, &other)] {
        rooms.delete_recording(&host(booking), place(booking), recording.id, None).await.unwrap();
    }
    world.work();
    std::fs::remove_file(world.file(&stubborn)).unwrap();
    std::fs::create_dir_all(world.file(&stubborn).join("in the way")).unwrap();
    rooms.recordings_pass().await.unwrap();
    assert!(world.kept(stubborn.id).await.is_some() && world.kept(other.id).await.is_none());
    std::fs::remove_dir_all(world.file(&stubborn)).unwrap();
    rooms.recordings_pass().await.unwrap();
    assert!(world.kept(stubborn.id).await.is_some(), "not at once");
    world.pass_time(time::Duration::minutes(6));
    rooms.recordings_pass().await.unwrap();
    assert!(world.kept(stubborn.id).await.is_none());
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn recordings_are_kept_as_long_as_the_setting_says(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let rooms = world.rooms_with(|config| config.recordings.keep = Some(time::Duration::days(30))).await;
    let (booking, recording) = world.recorded(&rooms).await;
    stop(&rooms, &booking, &recording).await;
    world.work();
    rooms.watch_recordings().await.unwrap();
    world.pass_time(time::Duration::days(29));
    rooms.recordings_pass().await.unwrap();
    assert!(world.file(&recording).exists() && world.kept(recording.id).await.is_some());
    world.pass_time(time::Duration::days(2));
    rooms.recordings_pass().await.unwrap();
    assert!(!world.file(&recording).exists() && world.kept(recording.id).await.is_none());
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_copy_of_the_database_stops_and_removes_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (booking, done) = world.recorded(&rooms).await;
    world.put(&done, EgressStatus::EgressEnding);
    world.work();
    rooms.watch_recordings().await.unwrap();
    let (wanted, running) = world.recorded(&rooms).await;
    world.execute("update deployment set livekit_url = 'http://elsewhere.example.org'").await;
    let copy = world.rooms().await;
    copy.delete_recording(&host(&booking), place(&booking), done.id, None).await.unwrap();
    stop(&copy, &wanted, &running).await;
    let stops = world.server().calls("StopEgress");
    world.execute(&format!("delete from recordings where id = '{}'", running.id)).await;
    let _ = copy.recordings_pass().await;
    assert_eq!(world.server().calls("StopEgress"), stops, "the recording is the original's");
    assert_eq!(world.running()[0].status(), EgressStatus::EgressActive);
    assert!(world.file(&done).exists(), "and so is the file");
}
