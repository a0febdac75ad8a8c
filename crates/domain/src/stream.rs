//! Streams: their states in the listing, and the names of their files, as players request them: a playlist, and segments
//! next to it.

use crate::text_enum::text_enum;

text_enum! {
    /// The status of a row of the listing.
    pub enum StreamStatus as proto::types::v1::StreamStatus {
        Pending = "pending",
        Live = "live",
        Ended = "ended",
    }
}

/// The content type of a stream's file, by its name. None for any other name; no file is searched under it.
#[must_use]
pub fn stream_file(name: &str) -> Option<&'static str> {
    let (stem, extension) = name.split_once('.')?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    // No dot, no slash: the name can never lead out of the stream's folder.
    if stem.is_empty() || name.len() > 200 || !stem.bytes().all(is_plain) {
        return None;
    }
    match extension {
        "m3u8" => Some(PLAYLIST),
        "ts" => Some("video/mp2t"),
        "m4s" => Some("video/iso.segment"),
        "mp4" => Some("audio/mp4"),
        "aac" => Some("audio/aac"),
        _ => None,
    }
}

/// The content type of playlists (RFC 8216 §4).
pub const PLAYLIST: &str = "application/vnd.apple.mpegurl";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_of_playlists_and_segments_are_files() {
        for (name, kind) in [
            ("live.m3u8", "application/vnd.apple.mpegurl"),
            ("segment_00000.ts", "video/mp2t"),
            ("init-1.mp4", "audio/mp4"),
            ("0.m4s", "video/iso.segment"),
            ("A.aac", "audio/aac"),
        ] {
            assert_eq!(stream_file(name), Some(kind), "{name}");
        }
        for name in [
            "",
            ".ts",
            "ts",
            "live.m3u8.",
            "live.M3U8",
            "../live.m3u8",
            "a/b.ts",
            "a\\b.ts",
            "a..ts",
            "a.b.ts",
            "a.ts\0",
            "a\n.ts",
            "ä.ts",
            "a%2f.ts",
            "a b.ts",
            "a.exe",
            "~.ts",
            "c:.ts",
        ] {
            assert_eq!(stream_file(name), None, "{name:?}");
        }
        assert_eq!(stream_file(&format!("{}.ts", "a".repeat(300))), None);
    }
}
