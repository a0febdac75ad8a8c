//! The rooms on a real Postgres and a LiveKit that misbehaves on demand. One module per promise.

#![expect(clippy::unwrap_used, reason = "tests stop where they fail")]

mod admin;
mod crashes;
mod diagnosis;
mod diagnosis_callers;
mod ensure;
mod grpc;
mod harness;
mod hints;
mod kick;
mod live_auto_end;
mod live_crashes;
mod live_end_reasons;
mod live_healing;
mod live_kept_on;
mod live_lobby;
mod live_moderation;
mod live_rooms;
mod live_seat_races;
mod live_seats;
mod live_sessions;
mod live_verbs;
mod many_rooms;
mod mass_loss;
mod nests;
mod nests_crashes;
mod nests_life;
mod nests_permissions;
mod nests_recordings;
mod nests_streams;
mod orphan_owners;
mod orphans;
mod outages;
mod passes;
mod presence;
mod races;
mod recording_awaits_file;
mod recording_bucket;
mod recording_crashes;
mod recording_files;
mod recording_watch;
mod recordings;
mod refusals;
mod slow_rooms;
mod webhooks;
