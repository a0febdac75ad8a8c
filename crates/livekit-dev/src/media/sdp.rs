//! Session descriptions as text: what an offer asks of each section, and the answer with our names of streams. str0m
//! cannot set the msid of a section that the other side made.

use std::{collections::BTreeMap, fmt::Write};

use str0m::{
    format::Codec,
    media::{Direction, MediaKind, Mid},
};

/// The largest description of a client, in bytes.
pub(super) const LIMIT: usize = 256 * 1024;

/// One media section of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub mid: Mid,
    pub kind: MediaKind,
    /// As the client sees it.
    pub direction: Direction,
    /// The second word of `a=msid`: the client's name for its track.
    pub track: String,
    /// Several layers, named by rid.
    pub simulcast: bool,
    /// Those of video that can be forwarded, the preferred one first.
    pub codecs: Vec<Codec>,
}

/// What one section of an answer says about its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// The track of a participant: their SIDs.
    Track { participant: String, track: String },
    /// Nothing yet: no stream and no source.
    Unused,
    /// A track was here and is gone.
    Gone,
}

/// The audio and video sections, in their order.
pub(super) fn sections(sdp: &str) -> Vec<Section> {
    let mut sections: Vec<Option<Section>> = Vec::new();
    // By their order in the `m=` line, which is the client's preference.
    let (mut payload_types, mut ranks): (Vec<&str>, BTreeMap<usize, Codec>) = Default::default();
    for line in sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            sections.push(media_kind(media).map(new_section));
            payload_types = media.split(' ').skip(3).collect();
            ranks.clear();
        } else if let Some(Some(section)) = sections.last_mut() {
            read_line(section, line);
            if let Some((payload_type, codec)) = video_codec(line)
                && let Some(rank) = payload_types.iter().position(|listed| *listed == payload_type)
            {
                ranks.insert(rank, codec);
                section.codecs = ranks.values().copied().collect();
            }
        }
    }
    sections.into_iter().flatten().collect()
}

/// The payload type and the codec of an `a=rtpmap` line.
fn video_codec(line: &str) -> Option<(&str, Codec)> {
    let (payload_type, encoding) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
    let codec = match encoding.split('/').next()? {
        name if name.eq_ignore_ascii_case("VP8") => Codec::Vp8,
        name if name.eq_ignore_ascii_case("H264") => Codec::H264,
        _ => return None,
    };
    Some((payload_type, codec))
}

fn media_kind(media: &str) -> Option<MediaKind> {
    match media.split(' ').next() {
        Some("audio") => Some(MediaKind::Audio),
        Some("video") => Some(MediaKind::Video),
        _ => None,
    }
}

fn new_section(kind: MediaKind) -> Section {
    // Without a direction in SDP both are meant.
    let direction = Direction::SendRecv;
    Section {
        mid: Mid::from(""),
        kind,
        direction,
        track: String::new(),
        simulcast: false,
        codecs: Vec::new(),
    }
}

fn read_line(section: &mut Section, line: &str) {
    match line {
        "a=sendrecv" => section.direction = Direction::SendRecv,
        "a=sendonly" => section.direction = Direction::SendOnly,
        "a=recvonly" => section.direction = Direction::RecvOnly,
        "a=inactive" => section.direction = Direction::Inactive,
        _ => {
            if let Some(mid) = line.strip_prefix("a=mid:") {
                section.mid = Mid::from(mid);
            } else if let Some(msid) = line.strip_prefix("a=msid:") {
                msid.split(' ').nth(1).unwrap_or_default().clone_into(&mut section.track);
            } else if line.starts_with("a=rid:") || line.starts_with("a=simulcast:") {
                section.simulcast = true;
            }
        }
    }
}

/// The answer with the streams of the sections that the client receives on.
pub(super) fn name_streams(answer: &str, streams: &BTreeMap<String, Stream>) -> String {
    let mut named = String::with_capacity(answer.len() + 256 * streams.len());
    let mut section: Vec<&str> = Vec::new();
    for line in answer.lines() {
        if line.starts_with("m=") {
            write_section(&mut named, &section, streams);
            section.clear();
        }
        section.push(line);
    }
    write_section(&mut named, &section, streams);
    named
}

fn write_section(named: &mut String, section: &[&str], streams: &BTreeMap<String, Stream>) {
    let mid = section.iter().find_map(|line| line.strip_prefix("a=mid:"));
    let stream = mid.and_then(|mid| streams.get(mid));
    for line in section {
        // Sources are written again with our names, or left out.
        let is_source = line.starts_with("a=ssrc") || line.starts_with("a=msid:");
        match stream {
            Some(Stream::Track { participant, track }) if is_source => {
                write_source(named, line, participant, track);
                continue;
            }
            Some(Stream::Unused | Stream::Gone) if is_source => continue,
            // The section stays, but brings nothing any more.
            Some(Stream::Gone) if *line == "a=sendonly" => named.push_str("a=inactive"),
            _ => named.push_str(line),
        }
        named.push_str("\r\n");
    }
}

fn write_source(named: &mut String, line: &str, participant: &str, track: &str) {
    let ssrc = line.strip_prefix("a=ssrc:").and_then(|rest| rest.split_once(' '));
    // Writing to a String cannot fail.
    let _ = match ssrc {
        Some((ssrc, rest)) if rest.starts_with("msid:") => {
            write!(named, "a=ssrc:{ssrc} msid:{participant}|{track} {track}\r\n")
        }
        _ if line.starts_with("a=msid:") => write!(named, "a=msid:{participant}|{track} {track}\r\n"),
        _ => write!(named, "{line}\r\n"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\ns=-\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=msid:x y\r\na=sendonly\r\n\
                          a=ssrc:7 cname:c\r\na=ssrc:7 msid:x y\r\n";

    fn named(stream: Stream) -> String {
        name_streams(ANSWER, &BTreeMap::from([("0".to_owned(), stream)]))
    }

    #[test]
    fn section_of_a_track_names_its_participant() {
        let track = named(Stream::Track { participant: "PA_1".to_owned(), track: "TR_1".to_owned() });
        assert!(track.contains("a=msid:PA_1|TR_1 TR_1\r\n"), "{track}");
        assert!(track.contains("a=ssrc:7 cname:c\r\na=ssrc:7 msid:PA_1|TR_1 TR_1\r\n"), "{track}");
        assert!(track.contains("a=sendonly\r\n"), "{track}");
    }

    #[test]
    fn section_without_a_track_has_no_source() {
        let unused = named(Stream::Unused);
        assert!(!unused.contains("ssrc") && !unused.contains("msid"), "{unused}");
        assert!(unused.contains("a=sendonly\r\n"), "{unused}");
    }

    #[test]
    fn section_of_a_removed_track_is_inactive() {
        let gone = named(Stream::Gone);
        assert!(!gone.contains("ssrc") && gone.contains("a=inactive\r\n"), "{gone}");
    }

    #[test]
    fn codecs_of_a_section_are_in_the_order_of_preference() {
        let offer = "v=0\r\nm=video 9 x 98 102 96\r\na=mid:0\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n\
                     a=rtpmap:98 VP9/90000\r\na=rtpmap:102 H264/90000\r\na=rtpmap:103 H264/90000\r\n";
        assert_eq!(sections(offer)[0].codecs, [Codec::H264, Codec::Vp8]);
    }

    #[test]
    fn sections_are_read_as_the_client_intends() {
        let offer = "v=0\r\nm=application 9 x y\r\na=mid:0\r\nm=video 9 x 96\r\na=mid:1\r\na=msid:- cid\r\na=sendonly\r\n\
                     a=rid:q send\r\nm=audio 9 x 111\r\na=mid:2\r\na=recvonly\r\n";
        let read = sections(offer);
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].kind, read[0].direction), (MediaKind::Video, Direction::SendOnly));
        assert_eq!((read[0].track.as_str(), read[0].simulcast), ("cid", true));
        assert_eq!((&*read[1].mid, read[1].direction), ("2", Direction::RecvOnly));
    }
}
