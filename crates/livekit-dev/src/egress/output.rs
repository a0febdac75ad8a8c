//! Where a recording goes, and what is written there when it ends.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use livekit_protocol::{EgressInfo, FileInfo, SegmentedFileOutput, SegmentsInfo};

use super::media::{self, frames_in};

/// What a request asks to have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    File {
        path: String,
    },
    Segments {
        prefix: String,
        playlist: String,
        live_playlist: String,
    },
    /// Streams, images and sockets: nothing is written.
    Elsewhere,
}

/// What the info of a recording that ended shows.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub files: Vec<FileInfo>,
    pub segments: Vec<SegmentsInfo>,
}

/// Why a recording has no file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("{0} is outside of what this worker may write to")]
    Outside(String),
    #[error("could not write the file: {0}")]
    Io(#[from] io::Error),
}

impl Output {
    pub(super) fn file(path: &str) -> Self {
        Self::File { path: path.to_owned() }
    }

    pub(super) fn segments(output: &SegmentedFileOutput) -> Self {
        Self::Segments {
            prefix: output.filename_prefix.clone(),
            playlist: output.playlist_name.clone(),
            live_playlist: output.live_playlist_name.clone(),
        }
    }

    /// Fills in what LiveKit's templates stand for.
    pub(crate) fn of(self, info: &EgressInfo) -> Self {
        let filled = |text: &str| {
            let time = (info.started_at / 1_000_000_000).to_string();
            text.replace("{room_name}", &info.room_name)
                .replace("{room_id}", &info.room_id)
                .replace("{time}", &time)
        };
        match self {
            Self::File { path } => {
                let path = filled(&path);
                // A path that is only a folder gets the recording's id as the name of its file.
                let unnamed = path.is_empty() || path.ends_with('/');
                let path = if unnamed { format!("{path}{}", info.egress_id) } else { path };
                let named = Path::new(&path).extension().is_some();
                Self::File { path: if named { path } else { format!("{path}.mp4") } }
            }
            Self::Segments { prefix, playlist, live_playlist } => {
                let prefix = filled(&prefix);
                let beside = |name: &str| {
                    // Playlists are in the folder of the segments.
                    let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
                    match (name, folder) {
                        // Without a name there is no live playlist.
                        ("", _) => String::new(),
                        (name, "") => filled(name),
                        (name, folder) => format!("{folder}/{}", filled(name)),
                    }
                };
                let playlist = if playlist.is_empty() { "playlist.m3u8".to_owned() } else { playlist };
                Self::Segments { playlist: beside(&playlist), live_playlist: beside(&live_playlist), prefix }
            }
            Self::Elsewhere => Self::Elsewhere,
        }
    }

    /// What players of a live stream need while it runs: the segments so far, in a playlist without an end.
    pub(super) fn write_live(&self, root: &Path, info: &EgressInfo, now_ns: i64) -> Result<(), WriteError> {
        if let Self::Segments { prefix, playlist, live_playlist } = self {
            segments(root, prefix, &[playlist, live_playlist], now_ns - info.started_at, false)?;
        }
        Ok(())
    }

    /// Writes what was recorded until now, which is when it ended.
    pub(super) fn write(&self, root: &Path, info: &EgressInfo, now_ns: i64) -> Result<Results, WriteError> {
        // Until now, because the info has no end yet.
        let duration = now_ns - info.started_at;
        let mut results = Results::default();
        match self {
            Self::File { path } => {
                let size = write(root, path, &media::mp4::file(frames_in(duration)))?;
                results.files.push(FileInfo {
                    filename: path.clone(),
                    started_at: info.started_at,
                    ended_at: now_ns,
                    duration,
                    size,
                    location: path.clone(),
                });
            }
            Self::Segments { prefix, playlist, live_playlist } => {
                let size = segments(root, prefix, &[playlist, live_playlist], duration, true)?;
                results.segments.push(SegmentsInfo {
                    playlist_name: playlist.clone(),
                    live_playlist_name: live_playlist.clone(),
                    duration,
                    size,
                    playlist_location: playlist.clone(),
                    live_playlist_location: live_playlist.clone(),
                    segment_count: 1,
                    started_at: info.started_at,
                    ended_at: now_ns,
                });
            }
            Self::Elsewhere => {}
        }
        Ok(results)
    }
}

/// One segment and the playlists that name it; the segment's size.
fn segments(
    root: &Path,
    prefix: &str,
    playlists: &[&String],
    duration: i64,
    ended: bool,
) -> Result<i64, WriteError> {
    let frames = frames_in(duration);
    let path = format!("{prefix}_00000.ts");
    // The segment first: a playlist must never name a file that is not there.
    let size = write(root, &path, &media::ts::segment(frames))?;
    let name = path.rsplit('/').next().unwrap_or_default();
    for playlist in playlists.iter().filter(|playlist| !playlist.is_empty()) {
        write(root, playlist, media::ts::playlist(name, frames, ended).as_bytes())?;
    }
    Ok(size)
}

/// Below the root only: an absolute path must begin with it, and none may climb.
fn write(root: &Path, path: &str, bytes: &[u8]) -> Result<i64, WriteError> {
    let outside = || WriteError::Outside(path.to_owned());
    let below = Path::new(path);
    // An absolute path is allowed below the root: recorders and readers see the same folder.
    let below = if below.is_absolute() { below.strip_prefix(root).map_err(|_| outside())? } else { below };
    let mut whole = PathBuf::from(root);
    for part in below.components() {
        // `..` or a drive would lead out of the root.
        let Component::Normal(name) = part else { return Err(outside()) };
        whole.push(name);
    }
    if let Some(folder) = whole.parent() {
        fs::create_dir_all(folder)?;
    }
    // A reader of a playlist that is being rewritten sees the old one or the new one, whole.
    let aside = whole.with_added_extension("new");
    fs::write(&aside, bytes)?;
    fs::rename(&aside, &whole)?;
    Ok(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in_and_a_missing_name_is_generated() {
        let info = EgressInfo {
            egress_id: "EG_1".into(),
            room_name: "lesson".into(),
            started_at: 7_000_000_000,
            ..EgressInfo::default()
        };
        let path = |path: &str| match Output::file(path).of(&info) {
            Output::File { path } => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(path("a/{room_name}-{time}.mp4"), "a/lesson-7.mp4");
        assert_eq!((path("a/").as_str(), path("a").as_str()), ("a/EG_1.mp4", "a.mp4"));
    }

    #[test]
    fn nothing_is_written_outside_of_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("recordings");
        for path in ["../x.mp4", "/etc/x.mp4", "a/../../x.mp4"] {
            assert!(matches!(write(&root, path, b"x"), Err(WriteError::Outside(_))), "{path}");
        }
        let absolute = root.join("a/x.mp4");
        assert_eq!(write(&root, &absolute.to_string_lossy(), b"abc").unwrap(), 3);
        assert_eq!(fs::read(absolute).unwrap(), b"abc");
    }
}
