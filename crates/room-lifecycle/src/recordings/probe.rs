//! Checks the output of recordings with an object of its own, for `greenroom doctor`.

use std::time::Duration;

use domain::RecordingKind;
use futures::TryStreamExt;

use super::output::{Output, Part};
use crate::livekit::egress::Target;

const CONTENT: &str = "greenroom doctor";
/// Bounds each step: a folder on a network may hang.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// What a probe of the output has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// An object was written, found, read and deleted.
    Whole,
    /// The key may not write, which only recorders need. It may find and delete.
    WithoutWriting,
}

/// The step of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Write,
    Find,
    Read,
    Delete,
}

impl Step {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Find => "find",
            Self::Read => "read",
            Self::Delete => "delete",
        }
    }
}

/// The step that failed, and why.
#[derive(Debug)]
pub struct ProbeFailure {
    pub step: Step,
    pub why: String,
    /// Whether the object is still there.
    pub is_left: bool,
}

impl Output {
    /// Writes, finds, reads and deletes an object of this name.
    ///
    /// # Errors
    /// The first step that failed.
    pub async fn probe(&self, name: &str) -> Result<Probed, ProbeFailure> {
        match within(self.write(name, CONTENT)).await {
            Ok(()) => self.probe_written(name).await.map(|()| Probed::Whole),
            // A key of ours reads and deletes; recorders have their own key (docs/recording.md).
            Err(Trouble::Denied(_)) if self.is_bucket() => {
                self.probe_missing(name).await.map(|()| Probed::WithoutWriting)
            }
            Err(trouble) => Err(trouble.at(Step::Write, false)),
        }
    }

    async fn probe_written(&self, name: &str) -> Result<(), ProbeFailure> {
        let readable = async {
            let size = within(self.size(name)).await.map_err(|trouble| (Step::Find, trouble))?;
            if size != Some(CONTENT.len() as u64) {
                return Err((Step::Find, Trouble::Other(format!("its size was {size:?}"))));
            }
            let read = within(self.read_probe(name)).await.map_err(|trouble| (Step::Read, trouble))?;
            if read == CONTENT.as_bytes() {
                Ok(())
            } else {
                Err((Step::Read, Trouble::Other("its content was another one".to_owned())))
            }
        }
        .await;
        // Deleted also when it could not be read.
        let deleted = within(self.remove(RecordingKind::File, name)).await;
        readable.map_err(|(step, trouble)| trouble.at(step, deleted.is_err()))?;
        deleted.map_err(|trouble| trouble.at(Step::Delete, true))
    }

    /// Finds and deletes an object that does not exist: a key that may not do so is refused.
    async fn probe_missing(&self, name: &str) -> Result<(), ProbeFailure> {
        within(self.size(name)).await.map_err(|trouble| trouble.at(Step::Find, false))?;
        let deleted = within(self.remove(RecordingKind::File, name)).await;
        deleted.map_err(|trouble| trouble.at(Step::Delete, false))
    }

    async fn read_probe(&self, name: &str) -> object_store::Result<Vec<u8>> {
        let Some(opened) = self.open(name, Part::Whole).await? else { return Ok(Vec::new()) };
        let chunks: Vec<_> = opened.bytes.try_collect().await?;
        Ok(chunks.concat())
    }

    /// The output for a recorder, for a file of this name.
    #[must_use]
    pub fn file_target(&self, name: &str) -> Target {
        self.target(RecordingKind::File, name)
    }

    /// The size of a file in bytes. None: it does not exist.
    ///
    /// # Errors
    /// Why the output could not be read, for people.
    pub async fn file_size(&self, name: &str) -> Result<Option<u64>, String> {
        within(self.size(name)).await.map_err(Trouble::into_text)
    }

    /// Deletes a file. Idempotent.
    ///
    /// # Errors
    /// Why it could not be deleted, for people.
    pub async fn delete_file(&self, name: &str) -> Result<(), String> {
        within(self.remove(RecordingKind::File, name)).await.map_err(Trouble::into_text)
    }
}

enum Trouble {
    /// The key, or this user, may not do it.
    Denied(String),
    Other(String),
}

impl Trouble {
    fn into_text(self) -> String {
        match self {
            Self::Denied(why) | Self::Other(why) => why,
        }
    }

    fn at(self, step: Step, is_left: bool) -> ProbeFailure {
        ProbeFailure { step, why: self.into_text(), is_left }
    }
}

async fn within<T>(work: impl Future<Output = object_store::Result<T>>) -> Result<T, Trouble> {
    match tokio::time::timeout(STEP_TIMEOUT, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let why = chassis::chain::chain(&error);
            let is_denied = matches!(error, object_store::Error::PermissionDenied { .. });
            Err(if is_denied { Trouble::Denied(why) } else { Trouble::Other(why) })
        }
        Err(_) => Err(Trouble::Other(format!("no answer within {} s", STEP_TIMEOUT.as_secs()))),
    }
}
