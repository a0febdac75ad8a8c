//! The settings of the services inside `up`: those of the environment, and defaults for what `up` brings along.

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use chassis::config::{DatabaseArgs, InternalArgs, LiveKitArgs, Problems, ServiceArgs, check, non_blank};
use clap::Args;
use gateway::config::{AuthConfig, Cors, Issuer};
use livekit_dev::{Config as LiveKitDevConfig, Store};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;

use super::{
    data_dir::{DataDir, Kept},
    environment::Environment,
    sign_in,
};
use crate::{
    assembly::Services,
    livekit_dev::{RtcArgs, media_addresses},
    serve::bind,
};

const LIVEKIT_PORT: u16 = 7880;
/// The sender of e-mails in the inbox of development.
const MAIL_FROM: &str = "Greenroom <no-reply@greenroom.invalid>";
/// Settings that `doctor` reads, and that are in the file of the running `up` if they were given.
const EXAMINED: [&str; 14] = [
    "PUBLIC_URLS",
    "AUTH_ISSUER",
    "AUTH_JWKS_URL",
    "AUTH_HS256_SECRET",
    "SMTP_URL",
    "MAIL_FROM",
    "NOTIFY_WEBHOOK_URL",
    "NOTIFY_WEBHOOK_SECRET",
    "NOTIFY_WEBHOOK_ALLOW_PRIVATE",
    "RECORDING_READ",
    "S3_ENDPOINT",
    "S3_REGION",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
];

/// The values from which the settings of all services are made.
pub struct UpSettings {
    database: SecretString,
    livekit: LiveKitArgs,
    internal_token: String,
    /// Some when no identity provider is configured: the secret of the development sign-in.
    sign_in_secret: Option<SecretString>,
    /// The folder in which the stand-in records.
    recordings: Option<String>,
    url: String,
    /// The development mail server, if it runs.
    smtp_url: Option<String>,
}

/// Reads a setting from the environment. Blank counts as missing.
fn setting(name: &str) -> Option<String> {
    non_blank(std::env::var(name).ok())
}

/// Reads a setting from the environment, or from the file that its `…_FILE` names. The check of the services reports
/// what is wrong with the file.
fn given(name: &str) -> Option<String> {
    let (mut value, mut file) = (setting(name), setting(&format!("{name}_FILE")));
    Problems::default().secret_file(name, &mut value, &mut file);
    value
}

/// Whether a secret is set, as a value or as a file.
fn has_secret(name: &str) -> bool {
    setting(name).or_else(|| setting(&format!("{name}_FILE"))).is_some()
}

/// Also an issuer whose keys are found by discovery is an identity provider.
fn has_identity_provider() -> bool {
    let is_url = |issuer: &String| Issuer::parse(issuer).is_some();
    setting("AUTH_JWKS_URL").or_else(|| setting("AUTH_ISSUER").filter(is_url)).is_some()
        || has_secret("AUTH_HS256_SECRET")
}

/// Returns `INTERNAL_TOKEN` of the environment or of its file. [`UpSettings::services`] reports what is wrong with the
/// file.
fn internal_token() -> anyhow::Result<Option<String>> {
    let mut internal: InternalArgs = from_environment()?;
    internal.read_file(&mut Problems::default());
    Ok(non_blank(internal.internal_token))
}

/// Refuses an address other than loopback without an identity provider: any client could sign in as any user.
pub fn check_sign_in(listen: SocketAddr, problems: &mut Problems) {
    if !listen.ip().is_loopback() && !has_identity_provider() {
        problems.add(
            "--listen",
            format_args!(
                "{listen} can be reached from outside, and no identity provider is set: set AUTH_ISSUER to its https URL \
                 (with AUTH_AUDIENCE), or also AUTH_JWKS_URL or AUTH_HS256_SECRET, or listen on 127.0.0.1"
            ),
        );
    }
}

/// Reads a service's settings from the environment only: on one command line, two services would share flags.
fn from_environment<A: Args>() -> anyhow::Result<A> {
    let command = A::augment_args(clap::Command::new("environment").no_binary_name(true));
    Ok(A::from_arg_matches(&command.try_get_matches_from(Vec::<String>::new())?)?)
}

impl UpSettings {
    /// Prepares LiveKit: a given server, or the stand-in. The caller serves the stand-in on the returned listener.
    pub async fn prepare(
        livekit_url: Option<String>,
        data_dir: &DataDir,
        database: SecretString,
        address: SocketAddr,
        rtc: &RtcArgs,
    ) -> anyhow::Result<(Self, Option<(LiveKitDevConfig, TcpListener)>)> {
        let mut livekit: LiveKitArgs = from_environment()?;
        livekit.livekit_url = non_blank(livekit_url);
        let url = format!("http://{address}");
        // Either variable names a real server.
        let stand_in = if livekit.livekit_url.is_none() && setting("LIVEKIT_WS_URL").is_none() {
            Some(stand_in(&mut livekit, data_dir, &url, rtc).await?)
        } else {
            // `ws` for `http`, `wss` for `https`: only the first text is replaced.
            let ws_url = livekit.livekit_url.as_ref().map(|url| url.replacen("http", "ws", 1));
            livekit.livekit_ws_url = setting("LIVEKIT_WS_URL").or(ws_url);
            None
        };
        let recordings = data_dir.recordings();
        // A real server writes its recordings elsewhere, so the folder is only for the stand-in.
        let recordings = url::Url::from_file_path(&recordings).ok().filter(|_| stand_in.is_some());
        let kept = &data_dir.kept;
        let sign_in_secret =
            (!has_identity_provider()).then(|| SecretString::from(kept.sign_in_secret.clone()));
        let prepared = Self {
            database,
            livekit,
            internal_token: internal_token()?.unwrap_or_else(|| kept.internal_token.clone()),
            sign_in_secret,
            recordings: recordings.map(String::from),
            url,
            smtp_url: None,
        };
        Ok((prepared, stand_in))
    }

    /// Binds the listener of the development mail server. Returns None when `SMTP_URL` names a real server. It also
    /// returns None with an identity provider: the inbox would show users' e-mails to anyone.
    pub async fn mail(&mut self) -> anyhow::Result<Option<TcpListener>> {
        if has_secret("SMTP_URL") || self.sign_in_secret.is_none() {
            return Ok(None);
        }
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        self.smtp_url = Some(format!("smtp://{}", listener.local_addr()?));
        Ok(Some(listener))
    }

    /// Checks the settings of all services. The error lists every problem of every service.
    pub fn services(&self) -> anyhow::Result<Services> {
        // Shared settings are read once and copied, so that the services cannot differ.
        let mut service: ServiceArgs = from_environment()?;
        let database_url = Some(self.database.expose_secret().to_owned());
        service.database = DatabaseArgs { database_url, database_url_file: None, ..service.database };
        if !has_secret("INTERNAL_TOKEN") {
            service.internal.internal_token = Some(self.internal_token.clone());
        }
        let peer = Some("http://in-process.invalid".to_owned()); // never called: transports are handed over
        let mut booking: booking::Args = from_environment()?;
        let mut room: room_lifecycle::Args = from_environment()?;
        let mut token: token::Args = from_environment()?;
        let mut sync: sync::Args = from_environment()?;
        for own in [&mut booking.service, &mut room.service, &mut token.service, &mut sync.service] {
            own.clone_from(&service);
        }
        let recording = &mut room.recordings;
        recording.recording_output =
            non_blank(recording.recording_output.take()).or_else(|| self.recordings.clone());
        if recording.recording_output.is_some() {
            recording.nests_hls = non_blank(recording.nests_hls.take()).or_else(|| Some("true".to_owned()));
        }
        room.livekit = self.livekit.clone();
        token.livekit = self.livekit.clone();
        token.room_url = peer;
        // The name that the replaced system used wins where it is set.
        if booking.next_public_app_url.is_none() {
            booking.app_url.get_or_insert_with(|| self.url.clone());
        }
        self.set_notifications(&mut booking.notifications);
        let gateway = self.gateway()?;
        let mut services = check(|problems| {
            let booking = booking.check(problems);
            let room = room.check(problems);
            let token = token.check(problems);
            let sync = sync.check(problems);
            let gateway = gateway.check_with(problems);
            Some(Services { booking: booking?, room: room?, token: token?, sync: sync?, gateway: gateway? })
        })?;
        // Only the default is replaced: origins that were set are kept.
        if services.gateway.cors == Cors::None {
            services.gateway.cors = Cors::Local; // pages under development are served at other ports
        }
        Ok(services)
    }

    fn set_notifications(&self, notifications: &mut booking::NotificationArgs) {
        notifications.api_url.get_or_insert_with(|| self.url.clone());
        if let Some(smtp_url) = &self.smtp_url {
            notifications.smtp_url = Some(smtp_url.clone());
            notifications.mail_from.get_or_insert_with(|| MAIL_FROM.to_owned());
            notifications.admin_email.get_or_insert_with(|| "admin@greenroom.invalid".to_owned());
        }
    }

    fn gateway(&self) -> anyhow::Result<gateway::HttpArgs> {
        let mut gateway: gateway::HttpArgs = from_environment()?;
        gateway.api_url.get_or_insert_with(|| self.url.clone());
        // As `serve` does: without a secret of its own, links are signed with INTERNAL_TOKEN.
        if !has_secret("LINK_SECRET") {
            gateway.link_secret = Some(self.internal_token.clone());
        }
        if let Some(secret) = &self.sign_in_secret {
            gateway.auth_hs256_secret = Some(secret.expose_secret().to_owned());
            gateway.auth_issuer = Some(sign_in::ISSUER.to_owned());
            gateway.auth_audience = Some(sign_in::AUDIENCE.to_owned());
            // They are about an identity provider's tokens; the development sign-in writes its own.
            (gateway.oidc_client_id, gateway.email_claim) = (None, None);
            gateway.admin_claim =
                non_blank(gateway.admin_claim).or_else(|| Some(sign_in::ADMIN_CLAIM.to_owned()));
            gateway.groups_claim =
                non_blank(gateway.groups_claim).or_else(|| Some(sign_in::GROUPS_CLAIM.to_owned()));
        }
        Ok(gateway)
    }

    /// The development sign-in. Its tokens say what the gateway's claims read.
    pub fn sign_in(&self, auth: &AuthConfig) -> Option<Router> {
        let secret = self.sign_in_secret.clone()?;
        // Both claims have a default here, so that neither is missing.
        let (admin, groups) = (auth.admin.clone()?, auth.groups.clone()?);
        Some(sign_in::router(sign_in::Issuer { secret, admin, groups }))
    }

    /// The settings with which psql, `doctor` and `repair` reach the same servers, and the addresses that `status` and
    /// `token` need. `metrics` is the operations port.
    pub fn environment(&self, metrics: SocketAddr) -> Environment {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut livekit = self.livekit.clone();
        livekit.read_file(&mut Problems::default()); // the check of the services has read it already
        let dev =
            |exists: bool, path: &str| if exists { format!("{}{path}", self.url) } else { String::new() };
        let settings = [
            ("DATABASE_URL", self.database.expose_secret().to_owned()),
            ("LIVEKIT_URL", text(&livekit.livekit_url)),
            ("LIVEKIT_WS_URL", text(&livekit.livekit_ws_url)),
            ("LIVEKIT_API_KEY", text(&livekit.livekit_api_key)),
            ("LIVEKIT_API_SECRET", text(&livekit.livekit_api_secret)),
            ("INTERNAL_TOKEN", self.internal_token.clone()),
            ("API_URL", self.url.clone()),
            ("RECORDING_OUTPUT", setting("RECORDING_OUTPUT").unwrap_or_else(|| text(&self.recordings))),
            ("SIGN_IN_URL", dev(self.sign_in_secret.is_some(), "/dev/sign-in")),
            ("INBOX_URL", dev(self.smtp_url.is_some(), "/dev/inbox")),
            ("METRICS_URL", format!("http://{metrics}/metrics")),
            ("UP_PID", std::process::id().to_string()),
        ];
        let examined = self.examined();
        // With a file in the environment of the reader, a setting would be given twice.
        let names = settings.iter().chain(&examined).map(|(name, _)| format!("{name}_FILE"));
        let files: Vec<_> = names.filter(|name| setting(name).is_some()).collect();
        let settings = settings.into_iter().chain(examined).map(|(name, value)| (name.to_owned(), value));
        Environment::new(settings.chain(files.into_iter().map(|name| (name, String::new()))))
    }

    /// The settings of what `doctor` examines beside these servers: those that were given, and what `up` brings along.
    fn examined(&self) -> Vec<(&'static str, String)> {
        let mut examined: Vec<_> = EXAMINED.iter().filter_map(|name| Some((*name, given(name)?))).collect();
        if let Some(smtp_url) = &self.smtp_url {
            examined.retain(|(name, _)| *name != "MAIL_FROM");
            let from = setting("MAIL_FROM").unwrap_or_else(|| MAIL_FROM.to_owned());
            examined.extend([("SMTP_URL", smtp_url.clone()), ("MAIL_FROM", from)]);
        }
        if let Some(secret) = &self.sign_in_secret {
            examined.push(("AUTH_HS256_SECRET", secret.expose_secret().to_owned()));
        }
        examined
    }
}

/// Prepares the stand-in. Its address and key stay the same between starts: the database has recorded them as its
/// deployment.
async fn stand_in(
    livekit: &mut LiveKitArgs,
    data_dir: &DataDir,
    url: &str,
    rtc: &RtcArgs,
) -> anyhow::Result<(LiveKitDevConfig, TcpListener)> {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let listener = match data_dir.kept.livekit_port {
        Some(port) => bind(at(port)).await.context(
            "the port of this data directory's LiveKit stand-in is taken; stop the program that has it, or use --fresh",
        )?,
        None => match bind(at(LIVEKIT_PORT)).await {
            // The usual port first, and a free one if another program has it.
            Ok(listener) => listener,
            Err(_) => bind(at(0)).await?,
        },
    };
    let address = listener.local_addr()?;
    let rtc = rtc.config(data_dir.kept.rtc_port)?;
    let ports = (Some(address.port()), Some(rtc.port));
    let kept = Kept { livekit_port: ports.0, rtc_port: ports.1, ..data_dir.kept.clone() };
    data_dir.keep(&kept)?;
    let (key, secret) = (kept.livekit_api_key, kept.livekit_api_secret);
    *livekit = LiveKitArgs {
        livekit_api_key: Some(key.clone()),
        livekit_api_secret: Some(secret.clone()),
        livekit_api_secret_file: None,
        livekit_ws_url: Some(format!("ws://{address}")),
        livekit_url: Some(format!("http://{address}")),
    };
    let mut config = LiveKitDevConfig::new(key, secret);
    tracing::info!(addresses = media_addresses(&rtc), "media over UDP; Firefox needs --rtc-address");
    config.rtc = rtc;
    config.store = Store::RedisLike; // recorders are reached through Redis
    config.recordings = Some(data_dir.recordings());
    config.webhook_urls = vec![format!("{url}/api/v1/livekit/webhook")];
    Ok((config, listener))
}
