//! The settings of the booking service.

mod notifications;

use std::net::SocketAddr;

use chassis::{
    config::{Problems, ServiceArgs, non_blank},
    db, grpc,
};
use tonic::transport::Endpoint;

pub use domain::RoomCreation;
pub use notifications::{Email, Links, NotificationArgs, NotificationSettings, Webhook};

use crate::policy::Policy;

/// The database role that may write bookings.
const ROLE: &str = "greenroom_booking";

#[derive(clap::Args, Clone, Default)]
pub struct Args {
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Address of the gRPC port [default: `0.0.0.0:50051`]
    #[arg(long, env = "BOOKING_LISTEN")]
    pub booking_listen: Option<String>,
    /// Where the room-lifecycle service is [default: `http://127.0.0.1:50052`]
    #[arg(long, env = "ROOM_URL")]
    pub room_url: Option<String>,
    /// Where the web pages are; a meeting is at `<APP_URL>/meeting/<id>`. `NEXT_PUBLIC_APP_URL` is read too [always required]
    #[arg(long, env = "APP_URL")]
    pub app_url: Option<String>,
    /// The name of `APP_URL` in systems that Greenroom replaces
    #[arg(long, env = "NEXT_PUBLIC_APP_URL", hide = true)]
    pub next_public_app_url: Option<String>,
    /// Who may book: `either` party, the `guest`, or only our own `service`s and admins [default: `either`]
    #[arg(long, env = "BOOKING_POLICY")]
    pub booking_policy: Option<String>,
    /// When a booking's room is created on LiveKit: `at_booking`, or `at_opening` of its window. The same value for
    /// room-lifecycle [default: `at_booking`]
    #[arg(long, env = "ROOM_CREATION")]
    pub room_creation: Option<String>,
    #[command(flatten)]
    pub notifications: NotificationArgs,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub database: db::Settings,
    pub grpc: grpc::Settings,
    pub listen: SocketAddr,
    /// Used by `serve` only: `start` receives the transport to room-lifecycle.
    pub room_url: Endpoint,
    /// Without a slash at the end.
    pub app_url: String,
    pub policy: Policy,
    pub room_creation: RoomCreation,
    pub notifications: NotificationSettings,
}

impl Args {
    pub fn check(mut self, problems: &mut Problems) -> Option<Config> {
        self.service.internal.read_file(problems); // it signs links if no other secret is set
        let notifications = self.notifications.check(self.service.internal.internal_token.as_ref(), problems);
        let service = self.service.check(ROLE, problems);
        let listen = problems.listen("BOOKING_LISTEN", self.booking_listen.as_deref(), 50051);
        let room_url = non_blank(self.room_url).unwrap_or_else(|| "http://127.0.0.1:50052".to_owned());
        let room_url = problems.peer("ROOM_URL", Some(room_url));
        let app_url = non_blank(self.app_url).or(self.next_public_app_url);
        let app_url = problems.base_url("APP_URL", app_url, &["http", "https"]);
        let policy = problems.parse("BOOKING_POLICY", self.booking_policy.as_deref(), Policy::Either);
        let room_creation =
            problems.parse("ROOM_CREATION", self.room_creation.as_deref(), RoomCreation::AtBooking);
        let (database, grpc) = service?;
        Some(Config {
            database,
            grpc,
            listen,
            room_url: room_url?,
            app_url: app_url?,
            policy,
            room_creation,
            notifications: notifications?,
        })
    }
}

#[cfg(test)]
mod tests {
    use chassis::config::{DatabaseArgs, InternalArgs};

    use super::*;

    fn args() -> Args {
        Args {
            service: ServiceArgs {
                database: DatabaseArgs {
                    database_url: Some("postgres://localhost/greenroom".into()),
                    ..DatabaseArgs::default()
                },
                internal: InternalArgs { internal_token: Some("t".repeat(32)), ..InternalArgs::default() },
            },
            next_public_app_url: Some("https://app.example.org/".into()),
            ..Args::default()
        }
    }

    #[test]
    fn legacy_name_of_the_app_url_is_accepted() {
        let config = chassis::config::check(|problems| args().check(problems)).unwrap();
        assert_eq!(config.app_url, "https://app.example.org");
        assert_eq!((config.policy, config.room_creation), (Policy::Either, RoomCreation::AtBooking));
    }

    #[test]
    fn all_wrong_settings_are_listed_without_secrets() {
        let wrong = Args {
            booking_listen: Some("here".into()),
            booking_policy: Some("everybody".into()),
            room_creation: Some("later".into()),
            room_url: Some("no url".into()),
            next_public_app_url: None,
            notifications: NotificationArgs {
                smtp_url: Some("smtp://:secret-password@/".into()),
                admin_email: Some("no-address".into()),
                notify_webhook_url: Some("http://10.0.0.1/".into()),
                notify_webhook_secret: Some("whsec_short".into()),
                reminders: Some("soon".into()),
                default_locale: Some("fr".into()),
                link_secret: Some("short".into()),
                api_url: Some("here".into()),
                ..NotificationArgs::default()
            },
            ..args()
        };
        let problems = chassis::config::check(|problems| wrong.check(problems)).unwrap_err().to_string();
        for setting in [
            "BOOKING_LISTEN",
            "BOOKING_POLICY",
            "ROOM_CREATION",
            "ROOM_URL",
            "APP_URL",
            "SMTP_URL",
            "MAIL_FROM",
            "ADMIN_EMAIL",
            "NOTIFY_WEBHOOK_URL",
            "NOTIFY_WEBHOOK_SECRET",
            "REMINDERS",
            "DEFAULT_LOCALE",
            "LINK_SECRET",
            "API_URL",
        ] {
            assert!(problems.contains(setting), "{setting} is not in: {problems}");
        }
        assert!(!problems.contains("secret-password") && !problems.contains("whsec_short"), "{problems}");
    }
}
