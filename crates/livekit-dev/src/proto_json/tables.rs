//! The fields of the messages that we answer with, in the order of the `.proto` files.

use livekit_protocol as proto;

use super::{
    Answer,
    Field::{Choice, Enum, Flag, List, Long, Message, Messages, Number, Text, Texts},
    Fields,
};

const VERSION: Fields = &[("unix_micro", Long), ("ticks", Number)];

const CODEC: Fields = &[("mime", Text), ("fmtp_line", Text)];

const ROOM: Fields = &[
    ("sid", Text),
    ("name", Text),
    ("empty_timeout", Number),
    ("departure_timeout", Number),
    ("max_participants", Number),
    ("creation_time", Long),
    ("creation_time_ms", Long),
    ("turn_password", Text),
    ("enabled_codecs", Messages(CODEC)),
    ("metadata", Text),
    ("num_participants", Number),
    ("num_publishers", Number),
    ("active_recording", Flag),
    ("version", Message(VERSION)),
];

const PERMISSION: Fields = &[
    ("can_subscribe", Flag),
    ("can_publish", Flag),
    ("can_publish_data", Flag),
    ("can_publish_sources", List),
    ("hidden", Flag),
    ("recorder", Flag),
    ("can_update_metadata", Flag),
    ("agent", Flag),
    ("can_subscribe_metrics", Flag),
    ("can_manage_agent_session", Flag),
];

const LAYER: Fields = &[
    ("quality", Enum("LOW")),
    ("width", Number),
    ("height", Number),
    ("bitrate", Number),
    ("ssrc", Number),
    ("spatial_layer", Number),
    ("rid", Text),
    ("repair_ssrc", Number),
];

const TRACK_CODEC: Fields = &[
    ("mime_type", Text),
    ("mid", Text),
    ("cid", Text),
    ("layers", Messages(LAYER)),
    ("video_layer_mode", Enum("MODE_UNUSED")),
    ("sdp_cid", Text),
];

const TRACK: Fields = &[
    ("sid", Text),
    ("type", Enum("AUDIO")),
    ("name", Text),
    ("muted", Flag),
    ("width", Number),
    ("height", Number),
    ("simulcast", Flag),
    ("disable_dtx", Flag),
    ("source", Enum("UNKNOWN")),
    ("layers", Messages(LAYER)),
    ("mime_type", Text),
    ("mid", Text),
    ("codecs", Messages(TRACK_CODEC)),
    ("stereo", Flag),
    ("disable_red", Flag),
    ("encryption", Enum("NONE")),
    ("stream", Text),
    ("version", Message(VERSION)),
    ("audio_features", List),
    ("backup_codec_policy", Enum("PREFER_REGRESSION")),
    ("packet_trailer_features", List),
];

const PARTICIPANT: Fields = &[
    ("sid", Text),
    ("identity", Text),
    ("state", Enum("JOINING")),
    ("tracks", Messages(TRACK)),
    ("metadata", Text),
    ("joined_at", Long),
    ("joined_at_ms", Long),
    ("name", Text),
    ("version", Number),
    ("permission", Message(PERMISSION)),
    ("region", Text),
    ("is_publisher", Flag),
    ("kind", Enum("STANDARD")),
    ("attributes", Texts),
    ("disconnect_reason", Enum("UNKNOWN_REASON")),
    ("kind_details", List),
    ("data_tracks", List),
    ("client_protocol", Number),
    ("capabilities", List),
];

const FILE: Fields = &[
    ("filename", Text),
    ("started_at", Long),
    ("ended_at", Long),
    ("duration", Long),
    ("size", Long),
    ("location", Text),
];

const SEGMENTS: Fields = &[
    ("playlist_name", Text),
    ("live_playlist_name", Text),
    ("duration", Long),
    ("size", Long),
    ("playlist_location", Text),
    ("live_playlist_location", Text),
    ("segment_count", Long),
    ("started_at", Long),
    ("ended_at", Long),
];

const EGRESS: Fields = &[
    ("egress_id", Text),
    ("room_id", Text),
    ("room_name", Text),
    ("source_type", Enum("EGRESS_SOURCE_TYPE_WEB")),
    ("status", Enum("EGRESS_STARTING")),
    ("started_at", Long),
    ("ended_at", Long),
    ("updated_at", Long),
    ("stream_results", List),
    ("file_results", Messages(FILE)),
    ("segment_results", Messages(SEGMENTS)),
    ("image_results", List),
    ("error", Text),
    ("error_code", Number),
    ("details", Text),
    ("manifest_location", Text),
    ("backup_storage_used", Flag),
    ("retry_count", Number),
    ("egress", Choice),
    ("room_composite", Choice),
    ("web", Choice),
    ("participant", Choice),
    ("track_composite", Choice),
    ("track", Choice),
];

const DISPATCH: Fields = &[
    ("id", Text),
    ("agent_name", Text),
    ("room", Text),
    ("metadata", Text),
    ("state", Message(&[("jobs", List), ("created_at", Long), ("deleted_at", Long)])),
    ("restart_policy", Enum("JRP_ON_FAILURE")),
    ("deployment", Text),
    ("attributes", Texts),
];

macro_rules! answers {
    ($($message:ident: $fields:expr;)*) => {
        $(impl Answer for proto::$message { const FIELDS: Fields = $fields; })*
    };
}

answers! {
    Room: ROOM;
    ParticipantInfo: PARTICIPANT;
    TrackInfo: TRACK;
    ListRoomsResponse: &[("rooms", Messages(ROOM))];
    ListParticipantsResponse: &[("participants", Messages(PARTICIPANT))];
    MuteRoomTrackResponse: &[("track", Message(TRACK))];
    DeleteRoomResponse: &[];
    RemoveParticipantResponse: &[];
    UpdateSubscriptionsResponse: &[];
    SendDataResponse: &[];
    PerformRpcResponse: &[("payload", Text)];
    AgentDispatch: DISPATCH;
    ListAgentDispatchResponse: &[("agent_dispatches", Messages(DISPATCH))];
    EgressInfo: EGRESS;
    ListEgressResponse: &[("items", Messages(EGRESS)), ("next_page_token", Message(&[("token", Text)]))];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::{super::to_json, *};

    fn json<T: Answer>(message: &T) -> Value {
        serde_json::to_value(to_json(message).unwrap()).unwrap()
    }

    /// The names of a message in the `.proto` file, from what `Debug` prints of its default.
    fn declared<T: Default + std::fmt::Debug>() -> BTreeSet<String> {
        let text = format!("{:#?}", T::default());
        let fields = text.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
        fields
            .filter_map(|line| Some(line.trim().split_once(':')?.0.trim_start_matches("r#").to_owned()))
            .collect()
    }

    fn described(fields: Fields) -> BTreeSet<String> {
        let always = fields.iter().filter(|(_, field)| !matches!(field, Choice));
        always.map(|(name, _)| (*name).to_owned()).collect()
    }

    #[test]
    fn tables_name_every_field_of_the_protocol() {
        assert_eq!(described(ROOM), declared::<proto::Room>());
        assert_eq!(described(PARTICIPANT), declared::<proto::ParticipantInfo>());
        assert_eq!(described(TRACK), declared::<proto::TrackInfo>());
        assert_eq!(described(PERMISSION), declared::<proto::ParticipantPermission>());
        assert_eq!(described(CODEC), declared::<proto::Codec>());
        assert_eq!(described(VERSION), declared::<proto::TimedVersion>());
        assert_eq!(described(LAYER), declared::<proto::VideoLayer>());
        assert_eq!(described(TRACK_CODEC), declared::<proto::SimulcastCodecInfo>());
        assert_eq!(described(DISPATCH), declared::<proto::AgentDispatch>());
        assert_eq!(described(FILE), declared::<proto::FileInfo>());
        assert_eq!(described(SEGMENTS), declared::<proto::SegmentsInfo>());
        let mut egress = declared::<proto::EgressInfo>();
        assert!(egress.remove("request") && egress.remove("result"), "the choices");
        assert_eq!(described(EGRESS), egress);
    }

    #[test]
    fn defaults_read_back_as_the_default_message() {
        let track = json(&proto::TrackInfo::default());
        assert_eq!(serde_json::from_value::<proto::TrackInfo>(track).unwrap(), proto::TrackInfo::default());
        let room = json(&proto::Room::default());
        assert_eq!(room["creation_time"], "0");
        assert_eq!(serde_json::from_value::<proto::Room>(room).unwrap(), proto::Room::default());
        let participant = json(&proto::ParticipantInfo::default());
        let back: proto::ParticipantInfo = serde_json::from_value(participant).unwrap();
        assert_eq!(back, proto::ParticipantInfo::default());
    }

    #[test]
    fn keys_of_attributes_are_not_changed() {
        let attributes = [("myKey".to_owned(), "1".to_owned())].into();
        let value = json(&proto::ParticipantInfo { attributes, ..Default::default() });
        assert_eq!(value["attributes"], json!({"myKey": "1"}));
    }
}
