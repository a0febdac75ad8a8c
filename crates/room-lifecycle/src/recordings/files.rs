//! A recording that LiveKit reports as complete stays `ending`, and is not announced, until its file is found. Status
//! and deadline are in the database, so that a restart loses nothing.

use domain::{RecordingKind, RecordingStatus};
use futures::{StreamExt, stream};

use super::{
    Recording, Recordings,
    output::Output,
    policy::{FILE_TIMEOUT, OUTPUT_TIMEOUT},
    store::{
        self,
        watch::{self, Awaiting, End},
    },
    watch_decision,
};
use crate::error::Error;

/// How many files one pass checks for.
const BATCH: i64 = 200;
/// How many files are looked for at once.
const WIDTH: usize = 8;

/// The `error` of a recording whose file was missing or empty.
pub const FILE_MISSING: &str = "file_missing";
/// The `error` of a recording whose output could not be read for a day.
pub const FILE_UNREACHABLE: &str = "file_unreachable";

/// The result of looking for a file.
enum FileCheck {
    /// The file has this many bytes.
    Found(u64),
    /// The file is missing or empty.
    Missing,
    /// The output could not be read, and why.
    Unknown(String),
}

impl Recordings {
    /// Writes the end of an open recording as LiveKit reports it. A complete recording is closed when its file is
    /// found.
    pub(super) async fn end_recording(&self, recording: &Recording, end: &End) -> Result<Recording, Error> {
        if end.status != RecordingStatus::Complete || recording.kind != RecordingKind::File {
            return self.close_recording(recording, end, "livekit").await;
        }
        let noted = watch::set_finished(&self.rooms.pool, recording.id, end).await?;
        self.nudges.files.now();
        if let Some(noted) = noted {
            return Ok(noted);
        }
        let now = store::find_recording(&self.rooms.pool, recording.id).await?;
        Ok(now.unwrap_or_else(|| recording.clone()))
    }

    /// Looks for the files of recordings that LiveKit has completed.
    pub async fn check_files(&self) -> Result<(), Error> {
        let awaiting = watch::claim_awaiting(&self.rooms.pool, FILE_TIMEOUT, BATCH).await?;
        let mut unread = 0_u32;
        let mut checks = stream::iter(awaiting).map(|one| self.look_for_file(one)).buffer_unordered(WIDTH);
        let mut problem = None;
        while let Some(outcome) = checks.next().await {
            if let Some(why) = outcome? {
                unread += 1;
                problem.get_or_insert(why);
            }
        }
        if let Some(error) = problem {
            tracing::warn!(
                error,
                recordings = unread,
                "recording output could not be read; the next pass retries"
            );
        }
        Ok(())
    }

    /// Looks for one file. Returns why the output could not be read, if it could not.
    async fn look_for_file(&self, awaiting: Awaiting) -> Result<Option<String>, Error> {
        let (recording, age) = (&awaiting.recording, awaiting.now - awaiting.finished_at);
        let (end, why) = match find(self.output.as_ref(), recording).await {
            FileCheck::Found(size) => (complete(recording, size), None),
            FileCheck::Missing if age < FILE_TIMEOUT => return Ok(None),
            FileCheck::Missing => {
                let file = recording.file.as_str();
                tracing::warn!(recording.id = %recording.id, file, "file of a recording was missing or empty");
                (End::failed(FILE_MISSING), None)
            }
            FileCheck::Unknown(why) if age < OUTPUT_TIMEOUT => return Ok(Some(why)),
            FileCheck::Unknown(why) => (End::failed(FILE_UNREACHABLE), Some(why)),
        };
        self.close_recording(recording, &end, "file").await?;
        Ok(why)
    }
}

async fn find(output: Option<&Output>, recording: &Recording) -> FileCheck {
    let Some(output) = output else { return FileCheck::Unknown("RECORDING_OUTPUT is not set".to_owned()) };
    match output.size(&recording.file).await {
        Ok(Some(size)) if size > 0 => FileCheck::Found(size),
        Ok(_) => FileCheck::Missing,
        Err(error) => FileCheck::Unknown(error.to_string()),
    }
}

/// The end that LiveKit reported, with the size of the file that was found.
fn complete(recording: &Recording, size: u64) -> End {
    End {
        status: RecordingStatus::Complete,
        error: recording.error.clone(),
        size: Some(watch_decision::saturated(size)),
        seconds: recording.seconds,
        ..End::failed("")
    }
}
