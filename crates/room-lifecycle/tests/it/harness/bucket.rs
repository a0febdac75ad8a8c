//! A bucket on a third-party S3 server that checks every signature.

use std::path::{Path, PathBuf};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use room_lifecycle::recordings::settings::OutputSettings;
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use url::Url;

const NAME: &str = "films";
const PREFIX: &str = "of/greenroom";
const KEY: &str = "greenroom";

pub struct Bucket {
    root: TempDir,
    pub endpoint: Url,
    secret: String,
    serving: JoinHandle<()>,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Bucket {
    pub async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(NAME)).unwrap();
        let secret = testkit::secret();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(KEY, secret.as_str()));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone()));
            }
        });
        Self { root, endpoint, secret, serving }
    }

    /// The folder that a recorder of this bucket writes to.
    pub fn path(&self) -> PathBuf {
        self.root.path().join(NAME)
    }

    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(PREFIX).join(name)
    }

    pub fn settings(&self) -> OutputSettings {
        settings(self.endpoint.clone(), &self.secret)
    }
}

/// Settings of the bucket for this endpoint and secret.
pub fn settings(endpoint: Url, secret: &str) -> OutputSettings {
    OutputSettings::Bucket {
        name: NAME.to_owned(),
        prefix: PREFIX.to_owned(),
        endpoint: Some(endpoint),
        region: "us-east-1".to_owned(),
        access_key: KEY.to_owned(),
        secret_key: secret.into(),
    }
}
