use domain::{RecordingId, RecordingKind, RoomId};
use livekit_protocol::{EncodedFileOutput, FileInfo, RoomCompositeEgressRequest, SegmentedFileOutput};
use uuid::Uuid;

use super::*;
use crate::recordings::store::Recording;

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::seconds(seconds)
}

/// An open recording that was created at 0, at the time `now`.
fn open(now: i64, egress_id: Option<&str>, stop_asked: Option<i64>, wanted: bool) -> Open {
    let recording = Recording {
        id: RecordingId(Uuid::from_u128(1)),
        room_id: RoomId(Uuid::from_u128(2)),
        generation: 1,
        egress_id: egress_id.map(str::to_owned),
        started_by: "host".into(),
        kind: RecordingKind::File,
        status: RecordingStatus::Starting,
        file: String::new(),
        size: None,
        seconds: None,
        error: None,
        created_at: at(0),
        stop_asked_at: stop_asked.map(at),
        started_at: None,
        ended_at: None,
    };
    Open { recording, room_name: "room".into(), wanted, now: at(now) }
}

fn info(status: EgressStatus) -> EgressInfo {
    EgressInfo { egress_id: "EG_1".into(), status: status as i32, ..EgressInfo::default() }
}

fn present(status: EgressStatus) -> Observation {
    Observation::Present { observed: observed(&info(status)), abandoned: false }
}

fn is_closed(step: &RecordingStep) -> bool {
    matches!(step, RecordingStep::Close(end) if end.status == RecordingStatus::Failed)
}

fn then(step: RecordingStep) -> Then {
    match step {
        RecordingStep::Stop { egress_id, then } => {
            assert_eq!(egress_id, "EG_1");
            then
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn absent_recording_fails_when_the_list_is_late_enough() {
    let lost = |now, listed| decide(&open(now, None, None, true), Observation::Absent(at(listed)));
    assert_eq!(lost(51, 50), RecordingStep::Wait, "the list may be older than the start");
    assert!(is_closed(&lost(51, 51)));
    assert!(
        is_closed(&decide(&open(1, Some("EG_1"), None, true), Observation::Absent(at(1)))),
        "LiveKit had it before"
    );
    assert!(is_closed(&decide(&open(1, None, None, true), Observation::NoRecorders)));
    assert_eq!(
        decide(&open(9_999, None, None, true), Observation::Unknown),
        RecordingStep::Wait,
        "an error does not mean absent"
    );
}

#[test]
fn start_is_stopped_and_closed_after_a_minute() {
    let starting = |now| decide(&open(now, Some("EG_1"), None, true), present(EgressStatus::EgressStarting));
    assert!(matches!(starting(60), RecordingStep::Follow(_)));
    assert!(matches!(then(starting(61)), Then::Close(_)));
}

#[test]
fn unwanted_recording_is_stopped() {
    let active = || present(EgressStatus::EgressActive);
    assert!(matches!(decide(&open(9, Some("EG_1"), None, true), active()), RecordingStep::Follow(_)));
    assert_eq!(then(decide(&open(9, Some("EG_1"), Some(5), true), active())), Then::Follow);
    assert_eq!(then(decide(&open(9, Some("EG_1"), None, false), active())), Then::Follow, "its room is over");
}

#[test]
fn stop_without_effect_closes_the_recording_after_a_minute() {
    let asked = |now, status| decide(&open(now, Some("EG_1"), Some(0), true), present(status));
    assert_eq!(then(asked(60, EgressStatus::EgressActive)), Then::Follow);
    assert!(matches!(then(asked(61, EgressStatus::EgressActive)), Then::Close(_)));
    assert!(matches!(asked(60, EgressStatus::EgressEnding), RecordingStep::Follow(_)));
    let uploading = then(asked(61, EgressStatus::EgressEnding));
    assert!(
        matches!(uploading, Then::CloseIfSilent(_)),
        "a long upload does not mean that the recorder died"
    );
}

#[test]
fn abandoned_recording_is_closed_when_its_recorder_is_silent() {
    let gone =
        Observation::Present { observed: observed(&info(EgressStatus::EgressActive)), abandoned: true };
    assert!(matches!(then(decide(&open(9, Some("EG_1"), None, true), gone)), Then::CloseIfSilent(_)));
}

#[test]
fn end_on_livekit_is_followed_in_any_state() {
    for (livekit, ours) in [
        (EgressStatus::EgressComplete, RecordingStatus::Complete),
        (EgressStatus::EgressFailed, RecordingStatus::Failed),
        (EgressStatus::EgressAborted, RecordingStatus::Aborted),
        (EgressStatus::EgressLimitReached, RecordingStatus::Failed),
    ] {
        let step = decide(&open(999, Some("EG_1"), Some(0), false), present(livekit));
        let RecordingStep::Follow(Observed { end: Some(end), .. }) = step else { panic!("{step:?}") };
        assert_eq!(end.status, ours, "{livekit:?}");
    }
}

#[test]
fn reached_limit_leaves_a_complete_file() {
    let mut info = info(EgressStatus::EgressLimitReached);
    info.file_results = vec![FileInfo { size: 9, duration: 1_500_000_000, ..FileInfo::default() }];
    let end = observed(&info).end.unwrap();
    assert_eq!((end.status, end.size, end.seconds), (RecordingStatus::Complete, Some(9), Some(1.5)));
    assert_eq!(end.error.as_deref(), Some("a limit was reached"));
}

#[test]
#[expect(deprecated, reason = "older servers fill this field only")]
fn result_of_an_older_server_counts_as_a_file() {
    let mut info = info(EgressStatus::EgressLimitReached);
    info.result = Some(Single::File(FileInfo { size: 9, duration: 1_500_000_000, ..FileInfo::default() }));
    let end = observed(&info).end.unwrap();
    assert_eq!((end.status, end.size, end.seconds), (RecordingStatus::Complete, Some(9), Some(1.5)));
    info.result = Some(Single::Segments(SegmentsInfo { size: 7, ..SegmentsInfo::default() }));
    let end = observed(&info).end.unwrap();
    assert_eq!((end.status, end.size), (RecordingStatus::Complete, Some(7)));
    info.result = Some(Single::Stream(livekit_protocol::StreamInfoList::default()));
    assert_eq!(observed(&info).end.unwrap().status, RecordingStatus::Failed);
}

#[test]
fn numbers_from_livekit_saturate() {
    for number in [i64::MIN, -1, 0, 1, i64::MAX] {
        let mut info = info(EgressStatus::EgressComplete);
        (info.started_at, info.ended_at, info.updated_at) = (number, number, number);
        info.file_results = vec![FileInfo { size: number, duration: number, ..FileInfo::default() }];
        let observed = observed(&info);
        let end = observed.end.unwrap();
        assert_eq!(end.size, Some(number.max(0)), "{number}");
        assert!(end.seconds.unwrap() >= 0.0, "{number}");
        assert_eq!(end.started_at.is_some(), number > 0, "{number}");
    }
    assert_eq!((saturated(9), saturated(u64::MAX)), (9, i64::MAX));
}

#[test]
fn recording_id_is_read_from_the_path() {
    let id = RecordingId(Uuid::from_u128(7));
    let of = |request| {
        let request = Some(Request::RoomComposite(request));
        recording_of(&EgressInfo { request, ..EgressInfo::default() })
    };
    let file = EncodedFileOutput { filepath: format!("/out/{id}.mp4"), ..EncodedFileOutput::default() };
    let request = RoomCompositeEgressRequest { file_outputs: vec![file], ..Default::default() };
    assert_eq!(of(request), Some(id));
    let filename_prefix = format!("/out/{id}/segment");
    let segments = SegmentedFileOutput { filename_prefix, ..SegmentedFileOutput::default() };
    let request = RoomCompositeEgressRequest { segment_outputs: vec![segments], ..Default::default() };
    assert_eq!(of(request), Some(id));
    assert_eq!(of(RoomCompositeEgressRequest::default()), None);
}
