//! The settings of recordings: their output, and how long they are kept.

use std::{path::PathBuf, time::Duration};

use chassis::config::{Problems, non_blank};
use secrecy::SecretString;
use url::Url;

#[derive(clap::Args, Clone, Default)]
pub struct RecordingArgs {
    /// Where LiveKit's recorders write: `file:///path`, as the recorders see it, or `s3://bucket/prefix`
    /// (docs/recording.md) [default: nothing is recorded]
    #[arg(long, env = "RECORDING_OUTPUT")]
    pub recording_output: Option<String>,
    /// The same folder as this process sees it [default: the path of `RECORDING_OUTPUT`]
    #[arg(long, env = "RECORDING_READ")]
    pub recording_read: Option<String>,
    /// Whether nests that ask for it are streamed over HLS, into `RECORDING_OUTPUT` (docs/nests.md) [default: `false`;
    /// `greenroom up`: `true`]
    #[arg(long, env = "NESTS_HLS")]
    pub nests_hls: Option<String>,
    /// How long recordings are kept, 1 min to 10 years [default: for ever]
    #[arg(long, env = "RECORDINGS_KEEP")]
    pub recordings_keep: Option<String>,
    /// The S3 service, `https://s3.example.org` [default: that of AWS in the region]
    #[arg(long, env = "S3_ENDPOINT")]
    pub s3_endpoint: Option<String>,
    /// The region of the bucket [default: `us-east-1`]
    #[arg(long, env = "S3_REGION")]
    pub s3_region: Option<String>,
    /// The id of the key that reads and deletes recordings; recorders have their own [required with `s3://`]
    #[arg(long, env = "S3_ACCESS_KEY")]
    pub s3_access_key: Option<String>,
    /// The secret of that key [required with `s3://`]
    #[arg(long, env = "S3_SECRET_KEY", hide_env_values = true)]
    pub s3_secret_key: Option<String>,
    /// The file that has `S3_SECRET_KEY`
    #[arg(long, env = "S3_SECRET_KEY_FILE")]
    pub s3_secret_key_file: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct RecordingSettings {
    /// `None`: nothing is recorded.
    pub output: Option<OutputSettings>,
    /// `None`: recordings are kept for ever.
    pub keep: Option<time::Duration>,
    /// Whether nests that ask for it are streamed.
    pub hls: bool,
}

#[derive(Clone, Debug)]
pub enum OutputSettings {
    Folder {
        /// The path as the recorders see it.
        path: String,
        /// The path as we see it.
        read: PathBuf,
    },
    Bucket {
        name: String,
        /// Without slashes around it; may be empty.
        prefix: String,
        endpoint: Option<Url>,
        region: String,
        access_key: String,
        secret_key: SecretString,
    },
}

impl RecordingSettings {
    /// Whether nests that ask for it are streamed: segments need an output.
    #[must_use]
    pub fn has_streams(&self) -> bool {
        self.hls && self.output.is_some()
    }
}

impl RecordingArgs {
    pub fn check(self, problems: &mut Problems) -> RecordingSettings {
        let keep = non_blank(self.recordings_keep.clone()).map(|keep| {
            let bounds = Duration::from_mins(1)..=Duration::from_hours(24 * 3660);
            problems.duration_in("RECORDINGS_KEEP", Some(&keep), Duration::ZERO, bounds, "1min to 10years")
        });
        let keep = keep.and_then(|keep| time::Duration::try_from(keep).ok());
        let hls = problems.parse("NESTS_HLS", self.nests_hls.as_deref(), false);
        if hls && non_blank(self.recording_output.clone()).is_none() {
            problems.add("NESTS_HLS", "needs RECORDING_OUTPUT, where segments go");
        }
        RecordingSettings { output: self.output(problems), keep, hls }
    }

    fn output(self, problems: &mut Problems) -> Option<OutputSettings> {
        let output = non_blank(self.recording_output.clone())?;
        let Ok(url) = Url::parse(&output) else {
            problems.add("RECORDING_OUTPUT", "must be file:///path or s3://bucket/prefix");
            return None;
        };
        match (url.scheme(), url.host_str().unwrap_or_default()) {
            ("file", "") => {
                let path = url.to_file_path().unwrap_or_default();
                let path = path.to_string_lossy().trim_end_matches('/').to_owned();
                if path.is_empty() {
                    problems.add("RECORDING_OUTPUT", "must name a folder");
                }
                let read = non_blank(self.recording_read).unwrap_or_else(|| path.clone()).into();
                Some(OutputSettings::Folder { path, read })
            }
            ("s3", bucket) if !bucket.is_empty() => {
                let (name, prefix) = (bucket.to_owned(), url.path().trim_matches('/').to_owned());
                self.bucket(name, prefix, problems)
            }
            _ => {
                problems.add("RECORDING_OUTPUT", "must be file:///path or s3://bucket/prefix");
                None
            }
        }
    }

    fn bucket(mut self, name: String, prefix: String, problems: &mut Problems) -> Option<OutputSettings> {
        problems.secret_file("S3_SECRET_KEY", &mut self.s3_secret_key, &mut self.s3_secret_key_file);
        let endpoint = non_blank(self.s3_endpoint);
        let endpoint = endpoint.map(|url| problems.url("S3_ENDPOINT", Some(url), &["http", "https"]));
        let access_key = problems.required("S3_ACCESS_KEY", self.s3_access_key);
        let secret_key = problems.secret("S3_SECRET_KEY", self.s3_secret_key, 8);
        Some(OutputSettings::Bucket {
            name,
            prefix,
            endpoint: endpoint.flatten(),
            region: non_blank(self.s3_region).unwrap_or_else(|| "us-east-1".to_owned()),
            access_key: access_key?,
            secret_key: secret_key?,
        })
    }
}

#[cfg(test)]
mod tests {
    use chassis::config::check;

    use super::*;

    fn output(args: RecordingArgs) -> Result<Option<OutputSettings>, String> {
        check(|problems| Some(args.check(problems).output)).map_err(|problems| problems.to_string())
    }

    fn to(output: &str) -> RecordingArgs {
        RecordingArgs { recording_output: Some(output.to_owned()), ..RecordingArgs::default() }
    }

    #[test]
    fn folder_is_read_where_it_is_written_by_default() {
        let read = |args| match output(args).unwrap() {
            Some(OutputSettings::Folder { path, read }) => (path, read),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(to("file:///out/")), ("/out".to_owned(), "/out".into()));
        assert_eq!(read(to("file:///my%20films")).0, "/my films");
        let elsewhere = RecordingArgs { recording_read: Some("/mnt/out".into()), ..to("file:///out") };
        assert_eq!(read(elsewhere), ("/out".to_owned(), "/mnt/out".into()));
    }

    #[test]
    fn bucket_needs_a_key_and_its_secret_is_not_printed() {
        let problems = output(to("s3://bucket/a/b")).unwrap_err();
        assert!(problems.contains("S3_ACCESS_KEY") && problems.contains("S3_SECRET_KEY"));
        let args = RecordingArgs {
            s3_access_key: Some("key".into()),
            s3_secret_key: Some("very-secret".into()),
            ..to("s3://bucket/a/b/")
        };
        let bucket = format!("{:?}", output(args).unwrap().unwrap());
        assert!(bucket.contains(r#"prefix: "a/b""#) && !bucket.contains("very-secret"));
    }

    #[test]
    fn streams_need_an_output() {
        let with = |args| check(|problems| Some(RecordingArgs::check(args, problems).hls));
        let hls = |args| RecordingArgs { nests_hls: Some("true".into()), ..args };
        assert!(with(hls(to("file:///out"))).unwrap() && !with(to("file:///out")).unwrap());
        let problems = with(hls(RecordingArgs::default())).unwrap_err().to_string();
        assert!(problems.contains("NESTS_HLS"), "{problems}");
    }

    #[test]
    fn output_is_refused_when_invalid_and_none_when_not_set() {
        for wrong in ["out", "file://", "file://host/out", "s3://", "https://example.org"] {
            assert!(output(to(wrong)).unwrap_err().contains("RECORDING_OUTPUT"), "{wrong}");
        }
        assert!(output(RecordingArgs::default()).unwrap().is_none());
    }
}
