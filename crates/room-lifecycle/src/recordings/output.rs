//! The storage to which recorders write and from which we read: a folder that both see, or a bucket.
//!
//! A file is found by the name in its row. We chose that name: no text from a client becomes a path.

use std::{path::PathBuf, sync::Arc, time::Duration};

use domain::{RecordingId, RecordingKind};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use http::Method;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    local::LocalFileSystem,
    path::Path,
    signer::Signer,
};
use secrecy::ExposeSecret;

use super::{policy::LINK_LIFETIME, settings::OutputSettings};
use crate::livekit::egress::Target;

/// How long a bucket may take to connect, and then be silent. There is no limit for a whole transfer: files are large.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// A failed request to a bucket is retried once, within this time. Callers of ours wait 10 s.
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The file that players of a stream request first.
pub const LIVE_PLAYLIST: &str = "live.m3u8";
const WHOLE_PLAYLIST: &str = "whole.m3u8";

/// The name of a recording's file or folder. LiveKit's recording is found by the id in it.
#[must_use]
pub fn file_name(kind: RecordingKind, id: RecordingId) -> String {
    match kind {
        RecordingKind::File => format!("{id}.mp4"),
        RecordingKind::Hls => id.to_string(),
    }
}

#[derive(Clone, Debug)]
pub struct Output {
    /// The prefix of every name, as the recorders see it.
    base: String,
    location: StorageLocation,
}

#[derive(Clone, Debug)]
enum StorageLocation {
    Folder(PathBuf),
    Bucket(Arc<AmazonS3>),
}

/// A range of bytes of a file, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    From(u64, Option<u64>),
    /// This many bytes at the end.
    End(u64),
}

/// A file that is being read.
pub struct Opened {
    pub size: u64,
    pub first: u64,
    /// 0: the requested range is beyond the end.
    pub length: u64,
    pub bytes: BoxStream<'static, object_store::Result<bytes::Bytes>>,
}

impl Output {
    pub fn new(settings: &OutputSettings) -> object_store::Result<Self> {
        Ok(match settings {
            OutputSettings::Folder { path, read } => {
                Self { base: format!("{path}/"), location: StorageLocation::Folder(read.clone()) }
            }
            OutputSettings::Bucket { name, prefix, endpoint, region, access_key, secret_key } => {
                let mut bucket = AmazonS3Builder::new()
                    .with_bucket_name(name)
                    .with_region(region)
                    .with_access_key_id(access_key)
                    .with_secret_access_key(secret_key.expose_secret())
                    .with_retry(RetryConfig {
                        max_retries: 1,
                        retry_timeout: RETRY_TIMEOUT,
                        ..RetryConfig::default()
                    });
                let mut client = ClientOptions::new()
                    .with_connect_timeout(CONNECT_TIMEOUT)
                    .with_read_timeout(READ_TIMEOUT)
                    // A whole transfer may take long; the timeouts above find one that is stuck.
                    .with_timeout_disabled();
                if let Some(endpoint) = endpoint {
                    bucket = bucket.with_endpoint(endpoint.as_str().trim_end_matches('/'));
                    client = client.with_allow_http(endpoint.scheme() == "http");
                }
                let bucket = bucket.with_client_options(client);
                let base = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
                Self { base, location: StorageLocation::Bucket(Arc::new(bucket.build()?)) }
            }
        })
    }

    /// The output for a recorder.
    pub(super) fn target(&self, kind: RecordingKind, file: &str) -> Target {
        let path = format!("{}{file}", self.base);
        match kind {
            RecordingKind::File => Target::File(path),
            RecordingKind::Hls => {
                Target::Segments { folder: path, live: LIVE_PLAYLIST, whole: WHOLE_PLAYLIST }
            }
        }
    }

    /// The store, and the path of a file in it. A folder is created when it is first needed.
    fn find(&self, file: &str) -> object_store::Result<(Arc<dyn ObjectStore>, Path)> {
        Ok(match &self.location {
            StorageLocation::Bucket(bucket) => (bucket.clone(), Path::from(format!("{}{file}", self.base))),
            StorageLocation::Folder(folder) => {
                let store = LocalFileSystem::new_with_prefix(folder).or_else(|error| {
                    std::fs::create_dir_all(folder).map_err(|_| error)?;
                    LocalFileSystem::new_with_prefix(folder)
                })?;
                (Arc::new(store), Path::from(file))
            }
        })
    }

    pub(super) fn is_bucket(&self) -> bool {
        matches!(self.location, StorageLocation::Bucket(_))
    }

    /// A signed link to a file in a bucket. `None`: the output is a folder, and we serve the file.
    pub(super) async fn link(&self, file: &str) -> object_store::Result<Option<String>> {
        let StorageLocation::Bucket(bucket) = &self.location else { return Ok(None) };
        let path = Path::from(format!("{}{file}", self.base));
        Ok(Some(bucket.signed_url(Method::GET, &path, LINK_LIFETIME).await?.to_string()))
    }

    /// The size of a file in bytes. `None`: the file does not exist.
    pub(super) async fn size(&self, file: &str) -> object_store::Result<Option<u64>> {
        let (store, path) = self.find(file)?;
        match store.head(&path).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a part of a file. `None`: the file does not exist.
    pub(super) async fn open(&self, file: &str, part: Part) -> object_store::Result<Option<Opened>> {
        match self.try_open(file, part).await {
            Ok(opened) => Ok(Some(opened)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn try_open(&self, file: &str, part: Part) -> object_store::Result<Opened> {
        let (store, path) = self.find(file)?;
        // The size first: a range from the end, and the answer's headers, need it.
        let size = store.head(&path).await?.size;
        let (first, end) = within(part, size);
        if first >= end {
            return Ok(Opened { size, first, length: 0, bytes: futures::stream::empty().boxed() });
        }
        let options = GetOptions { range: Some(GetRange::Bounded(first..end)), ..GetOptions::default() };
        let found = store.get_opts(&path, options).await?;
        Ok(Opened { size, first, length: end - first, bytes: found.into_stream() })
    }

    /// Writes a small file.
    pub(super) async fn write(&self, file: &str, content: &'static str) -> object_store::Result<()> {
        let (store, path) = self.find(file)?;
        store.put(&path, content.into()).await.map(drop)
    }

    /// Removes a file, or a folder of segments. Idempotent: a missing file is no error.
    pub(super) async fn remove(&self, kind: RecordingKind, file: &str) -> object_store::Result<()> {
        let (store, path) = self.find(file)?;
        let paths: Vec<Path> = match kind {
            RecordingKind::File => vec![path],
            RecordingKind::Hls => {
                store.list(Some(&path)).map_ok(|found| found.location).try_collect().await?
            }
        };
        for path in paths {
            match store.delete(&path).await {
                // Another replica, or an earlier attempt, may have removed it.
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The first byte of a part, and the byte after its last one.
fn within(part: Part, size: u64) -> (u64, u64) {
    match part {
        Part::Whole => (0, size),
        Part::From(first, last) => (first, last.map_or(size, |last| last.saturating_add(1).min(size))),
        Part::End(length) => (size.saturating_sub(length), size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_ends_at_the_end_of_the_file() {
        assert_eq!(within(Part::Whole, 10), (0, 10));
        assert_eq!(within(Part::From(3, None), 10), (3, 10));
        assert_eq!(within(Part::From(3, Some(5)), 10), (3, 6));
        assert_eq!(within(Part::From(3, Some(u64::MAX)), 10), (3, 10));
        assert_eq!(within(Part::End(4), 10), (6, 10));
        assert_eq!(within(Part::End(40), 10), (0, 10));
        let (first, end) = within(Part::From(10, None), 10);
        assert!(first >= end, "beyond the end there is nothing");
    }

    #[tokio::test]
    async fn bucket_link_is_signed_expires_and_hides_the_secret() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = OutputSettings::Bucket {
            name: "films".into(),
            prefix: "a/b".into(),
            endpoint: Some("http://s3.example.org:9000".parse().unwrap()),
            region: "us-east-1".into(),
            access_key: "our-key".into(),
            secret_key: "our-secret-key".into(),
        };
        let output = Output::new(&settings).unwrap();
        let link = output.link("x.mp4").await.unwrap().unwrap();
        assert!(link.starts_with("http://s3.example.org:9000/films/a/b/x.mp4?"), "{link}");
        assert!(link.contains("X-Amz-Expires=3600") && link.contains("X-Amz-Signature="), "{link}");
        assert!(!link.contains("our-secret-key") && !format!("{output:?}").contains("our-secret-key"));
        let Target::File(path) = output.target(RecordingKind::File, "x.mp4") else { panic!("a file") };
        assert_eq!(path, "a/b/x.mp4");
    }
}
