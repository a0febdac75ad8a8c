//! Columns with a closed set of texts accept exactly the texts that the program knows: a text that only the database
//! knows could not be read, and one that only the program knows could not be stored.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    AccessLevel, ClosedSet, DeliveryChannel, EndReason, EndedReason, LiveRoomStatus, LiveStatus, LobbyStatus,
    NestRole, ParticipantStatus, RecordingKind, RecordingStatus, Role, RoomStatus, SeatRole, SessionStatus,
    StreamStatus,
};
use sqlx::PgPool;

/// The constraints of the columns, and the texts that the program knows. Participants are below.
const SETS: [(&str, &[&str]); 17] = [
    ("community_live_streams_status", StreamStatus::TEXTS),
    ("live_room_attendance_lobby_status", LobbyStatus::TEXTS),
    ("live_room_attendance_role", SeatRole::TEXTS),
    ("live_room_sessions_access_level", AccessLevel::TEXTS),
    ("live_room_sessions_end_reason", EndReason::TEXTS),
    ("live_room_sessions_status", LiveStatus::TEXTS),
    ("live_rooms_access_level", AccessLevel::TEXTS),
    ("live_rooms_status", LiveRoomStatus::TEXTS),
    ("livekit_participants_status", ParticipantStatus::TEXTS),
    ("livekit_rooms_ended_reason", EndedReason::TEXTS),
    ("livekit_rooms_status", RoomStatus::TEXTS),
    ("nests_status", &["open", "ended"]), // no enum: statements compare the texts
    ("notification_deliveries_channel", DeliveryChannel::TEXTS),
    ("recordings_kind", RecordingKind::TEXTS),
    ("recordings_status", RecordingStatus::TEXTS),
    ("session_participants_role", Role::TEXTS),
    ("sessions_status", SessionStatus::TEXTS),
];

/// Participants of rooms of each kind: the roles of bookings and nests, and those that seats get on LiveKit.
async fn roles_of_participants(pool: &PgPool) -> BTreeSet<String> {
    let seats: Vec<String> = SeatRole::TEXTS.iter().map(|&role| role.to_owned()).collect();
    let of_seats = sqlx::query_scalar!(
        r#"select participant_role(seat) as "role!" from unnest($1::text[]) seat"#,
        &seats
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let of_nests = [NestRole::Admin { speaks: true }, NestRole::Speaker, NestRole::Listener, NestRole::Guest];
    let of_nests = of_nests.map(|role| role.as_str().to_owned());
    let of_bookings = Role::TEXTS.iter().map(|&role| role.to_owned());
    of_bookings.chain(of_seats).chain(of_nests).collect()
}

#[testkit::test]
async fn columns_accept_the_texts_that_the_program_knows(pool: PgPool) {
    let constraints = sqlx::query!(
        r#"select c.conname::text as "name!",
                  array(select match[1]
                        from regexp_matches(pg_get_constraintdef(c.oid), '''([^'']+)''', 'g') match) as "texts!"
           from pg_constraint c
           where c.connamespace = 'greenroom'::regnamespace and c.contype = 'c'
             and pg_get_constraintdef(c.oid) ~ '^CHECK \(\(\w+ = ANY \(ARRAY\[[^]]+\]\)\)\)$'"#
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let accepted: BTreeMap<String, BTreeSet<String>> =
        constraints.into_iter().map(|row| (row.name, row.texts.into_iter().collect())).collect();
    let mut known: BTreeMap<String, BTreeSet<String>> = SETS
        .iter()
        .map(|&(name, texts)| (name.to_owned(), texts.iter().map(|&text| text.to_owned()).collect()))
        .collect();
    known.insert("livekit_participants_role".to_owned(), roles_of_participants(&pool).await);
    assert_eq!(accepted, known);
}
