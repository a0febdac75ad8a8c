//! `doctor --deep`: a recording of the test room that runs for a second. Only this shows that a recorder is free, can
//! join the room, and writes where room-lifecycle reads.

use std::time::{Duration, Instant};

use livekit_protocol::{EgressInfo, EgressStatus};
use room_lifecycle::{
    livekit::{LiveKit, LiveKitError},
    recordings::output::Output,
};
use rtc_client::{Options, Track};
use uuid::Uuid;

use super::{Failure, Target, livekit::Client};

/// How long the recording runs.
const LENGTH: Duration = Duration::from_secs(1);
/// Bounds the wait for the next state of the recording.
const STATE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds the wait for its file, which may appear after LiveKit reports it.
const FILE_TIMEOUT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(200);
const SEE_LOG: &str =
    "see the log of the recorder (LiveKit's egress), and docs/recording.md, \"Requirements\"";

/// Records the room. `output`: where the file must appear.
pub async fn record(
    client: &Client,
    target: &Target,
    output: &Output,
    room: &str,
) -> Result<String, Failure> {
    let livekit = LiveKit::new(&target.livekit).map_err(|error| Failure::new(error.to_string(), SEE_LOG))?;
    // Stopping needs it. This is our own recording, whatever the database says.
    livekit.allow_deletion(true);
    // Recorders begin when there is a track.
    let participant = join(client, target, room).await?;
    let name = format!("greenroom-doctor-{}.mp4", Uuid::new_v4());
    let recorded = run(&livekit, output, room, &name).await;
    drop(participant);
    let size = match recorded {
        Ok(()) => await_file(output, &name).await,
        Err(failure) => Err(failure),
    };
    // Deleted whatever has happened: a recording that failed may have left a file.
    let deleted = output.delete_file(&name).await;
    let size = size?;
    deleted.map_err(|why| {
        Failure::new(format!("the file {name} of the test recording stays: {why}"), SEE_LOG)
    })?;
    Ok(format!("A recorder recorded the test room for a second ({size} bytes, deleted again)"))
}

async fn join(client: &Client, target: &Target, room: &str) -> Result<rtc_client::Client, Failure> {
    let token = client.participant_token(room)?;
    let joined = async {
        let participant = rtc_client::Client::join(Options::new(&target.livekit.url, &token)).await?;
        participant.publish(Track::microphone()).await?;
        Ok::<_, rtc_client::Error>(participant)
    };
    joined.await.map_err(|error| {
        Failure::new(
            format!("the test participant could not publish a track for the recorder: {error}"),
            "check that LIVEKIT_URL accepts WebSockets from here",
        )
    })
}

/// Starts the recording, lets it run for [`LENGTH`], stops it, and waits until it is complete.
async fn run(livekit: &LiveKit, output: &Output, room: &str, name: &str) -> Result<(), Failure> {
    let started = livekit.start_recording(room, output.file_target(name), false).await;
    let id = started.map_err(|error| not_started(&error))?.egress_id;
    let active = reach(livekit, &id, EgressStatus::EgressActive).await;
    if active.is_ok() {
        tokio::time::sleep(LENGTH).await;
    }
    // Also one that did not begin: the recorder must not be kept busy.
    let stopped = livekit.stop_recording(&id).await;
    active?;
    if let Err(error) = stopped
        && !error.is_over()
    {
        return Err(Failure::new(format!("the recorder did not stop: {error}"), SEE_LOG));
    }
    reach(livekit, &id, EgressStatus::EgressComplete).await
}

fn not_started(error: &LiveKitError) -> Failure {
    let fix = "check that a recorder (LiveKit's egress) runs with the same Redis and API key as LiveKit, and is free: \
               each records one room at a time";
    Failure::new(format!("no recorder took the test recording: {error}"), fix)
}

/// Waits until the recording has this state.
async fn reach(livekit: &LiveKit, id: &str, wanted: EgressStatus) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut last = "nothing".to_owned();
    while begun.elapsed() < STATE_TIMEOUT {
        match livekit.find_recording(id).await {
            Ok(Some(info)) if info.status() == wanted => return Ok(()),
            Ok(Some(info)) if has_failed(&info) => {
                return Err(Failure::new(
                    format!("the test recording failed: {} {}", info.status().as_str_name(), info.error),
                    SEE_LOG,
                ));
            }
            Ok(Some(info)) => info.status().as_str_name().clone_into(&mut last),
            Ok(None) => {}
            // One list that fails proves nothing; the next one may work.
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Failure::new(
        format!(
            "the test recording did not become {} within {} s; last: {last}",
            wanted.as_str_name(),
            STATE_TIMEOUT.as_secs()
        ),
        SEE_LOG,
    ))
}

fn has_failed(info: &EgressInfo) -> bool {
    matches!(
        info.status(),
        EgressStatus::EgressFailed | EgressStatus::EgressAborted | EgressStatus::EgressLimitReached
    )
}

/// Waits until the file has bytes. Returns how many.
async fn await_file(output: &Output, name: &str) -> Result<u64, Failure> {
    let begun = Instant::now();
    let mut last = "it does not exist, or is empty".to_owned();
    while begun.elapsed() < FILE_TIMEOUT {
        match output.file_size(name).await {
            Ok(Some(size)) if size > 0 => return Ok(size),
            Ok(_) => {}
            Err(why) => last = why,
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Failure::new(
        format!("the test recording is complete for LiveKit, and its file {name} was not found: {last}"),
        "the recorder's storage (egress.yaml) and RECORDING_OUTPUT must be the same folder or bucket",
    ))
}
