//! A recording that LiveKit reports as complete stays `ending`, and is not announced, until its file is found. State
//! and deadline are in the database, so that a restart loses nothing.

use domain::{RecordingKind, RecordingStatus};
use futures::{StreamExt, stream};
use time::Duration;

use super::{Recording, decide, output::Output};
use crate::{
    Rooms,
    error::Error,
    store::recordings::{
        self,
        watch::{self, Awaiting, End},
    },
};

/// A file that is not in the output this long after LiveKit said that it is complete never will be.
const FILE_WITHIN: Duration = Duration::seconds(60);
/// An output that cannot be read says nothing about the file: it is asked again for this long.
const OUTPUT_WITHIN: Duration = Duration::hours(24);
/// Files that one pass looks for.
const BATCH: i64 = 200;
/// Files looked for at once.
const WIDTH: usize = 8;

/// The `error` of a recording whose file was not there, or was empty.
pub const FILE_MISSING: &str = "file_missing";
/// The `error` of a recording whose output could not be read for a day.
pub const FILE_UNREACHABLE: &str = "file_unreachable";

/// What a look for a file found.
enum Sight {
    /// Its bytes.
    There(u64),
    /// Not there, or empty.
    Missing,
    /// The output did not say.
    Unknown(String),
}

impl Rooms {
    /// Writes what LiveKit says of the end of an open recording. A file that is complete is looked for first.
    pub(super) async fn end_recording(&self, recording: &Recording, end: &End) -> Result<Recording, Error> {
        if end.status != RecordingStatus::Complete || recording.kind != RecordingKind::File {
            return self.close_recording(recording, end, "livekit").await;
        }
        let noted = watch::set_finished(&self.pool, recording.id, end).await?;
        self.files_nudge.now();
        if let Some(noted) = noted {
            return Ok(noted);
        }
        let now = recordings::find_recording(&self.pool, recording.id).await?;
        Ok(now.unwrap_or_else(|| recording.clone()))
    }

    /// Looks for the files of recordings that LiveKit has completed.
    pub async fn look_for_files(&self) -> Result<(), Error> {
        let awaiting = watch::claim_awaiting(&self.pool, FILE_WITHIN, BATCH).await?;
        let mut unread = 0_u32;
        let mut looks = stream::iter(awaiting).map(|one| self.look_for_file(one)).buffer_unordered(WIDTH);
        let mut problem = None;
        while let Some(outcome) = looks.next().await {
            if let Some(why) = outcome? {
                unread += 1;
                problem.get_or_insert(why);
            }
        }
        if let Some(error) = problem {
            tracing::warn!(
                error,
                recordings = unread,
                "the recording output could not be read; trying again"
            );
        }
        Ok(())
    }

    /// Why the output could not be asked, if it could not.
    async fn look_for_file(&self, awaiting: Awaiting) -> Result<Option<String>, Error> {
        let (recording, age) = (&awaiting.recording, awaiting.now - awaiting.finished_at);
        let (end, why) = match find(self.output.as_ref(), recording).await {
            Sight::There(size) => (complete(recording, size), None),
            Sight::Missing if age < FILE_WITHIN => return Ok(None),
            Sight::Missing => {
                let file = recording.file.as_str();
                tracing::warn!(recording.id = %recording.id, file, "the file of a recording is missing or empty");
                (End::failed(FILE_MISSING), None)
            }
            Sight::Unknown(why) if age < OUTPUT_WITHIN => return Ok(Some(why)),
            Sight::Unknown(why) => (End::failed(FILE_UNREACHABLE), Some(why)),
        };
        self.close_recording(recording, &end, "file").await?;
        Ok(why)
    }
}

async fn find(output: Option<&Output>, recording: &Recording) -> Sight {
    let Some(output) = output else { return Sight::Unknown("RECORDING_OUTPUT is not set".to_owned()) };
    match output.size(&recording.file).await {
        Ok(Some(size)) if size > 0 => Sight::There(size),
        Ok(_) => Sight::Missing,
        Err(error) => Sight::Unknown(error.to_string()),
    }
}

/// As LiveKit said it was, with the size that the file has.
fn complete(recording: &Recording, size: u64) -> End {
    End {
        status: RecordingStatus::Complete,
        error: recording.error.clone(),
        size: Some(decide::saturated(size)),
        seconds: recording.seconds,
        ..End::failed("")
    }
}
