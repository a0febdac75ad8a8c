//! The settings of a world's services.

use std::time::Duration;

use chassis::{clock::Clock, config, grpc};
use gateway::{
    Rate,
    config::{Audience, AuthConfig, Cors, KeySource, Nip98Config, ProfileClaims, Rates},
};
use greenroom::assembly::Services;
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;

use super::{AUDIENCE, ISSUER};

/// The settings of all services, on the test's database and LiveKit.
pub fn services(connect: &PgConnectOptions, livekit: &config::LiveKit, secret: &str, url: &str) -> Services {
    let grpc: grpc::Settings = testkit::internal();
    let anywhere = ([127, 0, 0, 1], 0).into();
    Services {
        booking: booking::Config {
            database: testkit::database(connect, "greenroom_booking"),
            grpc: grpc.clone(),
            listen: anywhere,
            room_url: tonic::transport::Endpoint::from_static("http://in-process.invalid"),
            app_url: url.to_owned(),
            policy: booking::Policy::Either,
            room_creation: booking::RoomCreation::AtBooking,
            notifications: booking::NotificationSettings::default(),
        },
        room: room_lifecycle::Config {
            database: testkit::database(connect, room_lifecycle::config::ROLE),
            grpc: grpc.clone(),
            livekit: livekit.clone(),
            listen: anywhere,
            webhook_keys: vec![room_lifecycle::config::WebhookKey {
                key: livekit.api_key.clone(),
                secret: livekit.api_secret.clone(),
            }],
            policy: room_lifecycle::config::Policy { at_booking: true, token_ttl: Duration::from_hours(1) },
            nest_kind: room_lifecycle::nests::link::EventKind::default(),
            pass_period: Duration::from_secs(1),
            events_keep: Duration::from_hours(720),
            app_url: None,
            recordings: room_lifecycle::config::RecordingSettings::default(),
            timeouts: room_lifecycle::config::Timeouts::default(),
            pace: room_lifecycle::config::Pace::default(),
            clock: Clock::default(),
        },
        token: token::Config {
            database: testkit::database(connect, token::config::ROLE),
            grpc: grpc.clone(),
            livekit: livekit.clone(),
            listen: anywhere,
            room_url: "http://in-process.invalid".parse().unwrap(),
            ttl: Duration::from_hours(1),
            nests_room_admin_grant: false,
        },
        sync: sync::Config { database: testkit::database(connect, sync::ROLE), grpc, listen: anywhere },
        gateway: gateway(secret, url),
    }
}

fn gateway(secret: &str, url: &str) -> gateway::HttpConfig {
    gateway::HttpConfig {
        auth: AuthConfig {
            keys: KeySource::Hs256(SecretString::from(secret)),
            issuer: ISSUER.to_owned(),
            audience: Audience::Named(AUDIENCE.to_owned()),
            client_id: None,
            profile: ProfileClaims::default(),
            admin: None,
            groups: None,
            clock: Clock::default(),
        },
        cors: Cors::None,
        cookie: None,
        trusted_proxies: gateway::TrustedProxies::default(),
        connections_per_address: 0,
        api_url: Some(url.to_owned()),
        streams: gateway::config::StreamsConfig::signed_with(vec![SecretString::from(testkit::secret())]),
        nip98: Nip98Config { bases: vec![url.parse().unwrap()], window: Nip98Config::WINDOW },
        // All users of a test come from one address.
        rates: Rates {
            ensure: Rate::new(1_000, 1_000),
            anonymous: Rate::new(10_000, 10_000),
            ..Rates::default()
        },
    }
}
