//! The settings of `doctor`. Those of LiveKit, the database and the addresses are checked at once, as everywhere. The
//! others belong to one check each: what is wrong with them is the finding of that check.

use booking::NotificationArgs;
use chassis::{
    config::{DatabaseArgs, InternalArgs, Invalid, LiveKit, LiveKitArgs, Problems, check, non_blank},
    grpc::InternalTokens,
};
use room_lifecycle::config::RecordingArgs;
use secrecy::SecretString;
use tonic::transport::Endpoint;

#[derive(clap::Args)]
pub struct Args {
    /// Prints one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Runs inside the deployment's network: an address that only clients reach is a warning
    #[arg(long)]
    inside: bool,
    /// Records the test room for a second, to check that a recorder is free and that its file arrives
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    livekit: LiveKitArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// This deployment's gateway as clients see it [default: neither it nor webhooks are checked]
    #[arg(long, env = "API_URL")]
    api_url: Option<String>,
    /// As in the gateway: further addresses to check, separated by commas [default: none]
    #[arg(long, env = "PUBLIC_URLS")]
    public_urls: Option<String>,
    #[command(flatten)]
    services: ServicesArgs,
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    deliveries: DeliveryArgs,
    #[command(flatten)]
    recordings: RecordingArgs,
}

/// Where the services are.
#[derive(clap::Args)]
pub struct ServicesArgs {
    /// As in the services [default: the services are not called]
    #[arg(long, env = "INTERNAL_TOKEN", hide_env_values = true)]
    internal_token: Option<String>,
    /// The file that has `INTERNAL_TOKEN`
    #[arg(long, env = "INTERNAL_TOKEN_FILE")]
    internal_token_file: Option<String>,
    /// As in the gateway [default: the gateway is asked for the state of booking]
    #[arg(long, env = "BOOKING_URL")]
    booking_url: Option<String>,
    /// As in the gateway [default: the gateway is asked for the state of room-lifecycle]
    #[arg(long, env = "ROOM_URL")]
    room_url: Option<String>,
    /// As in the gateway [default: the gateway is asked for the state of token]
    #[arg(long, env = "TOKEN_URL")]
    token_url: Option<String>,
    /// As in the gateway [default: the gateway is asked for the state of sync]
    #[arg(long, env = "SYNC_URL")]
    sync_url: Option<String>,
}

/// The source of the keys that verify tokens.
#[derive(clap::Args, Clone)]
pub struct IdentityArgs {
    /// As in the gateway [default: the identity provider is not checked]
    #[arg(long = "auth-jwks-url", env = "AUTH_JWKS_URL")]
    pub jwks_url: Option<String>,
    /// As in the gateway; nothing is called [default: none]
    #[arg(long = "auth-hs256-secret", env = "AUTH_HS256_SECRET", hide_env_values = true)]
    pub hs256_secret: Option<String>,
    /// The file that has `AUTH_HS256_SECRET`
    #[arg(long = "auth-hs256-secret-file", env = "AUTH_HS256_SECRET_FILE")]
    pub hs256_secret_file: Option<String>,
    /// As in the gateway: where the key set is found by discovery if neither of the two above is set [default: none]
    #[arg(long = "auth-issuer", env = "AUTH_ISSUER")]
    pub issuer: Option<String>,
}

/// Where notifications go.
#[derive(clap::Args)]
pub struct DeliveryArgs {
    /// As in booking [default: the mail server is not checked]
    #[arg(long, env = "SMTP_URL", hide_env_values = true)]
    smtp_url: Option<String>,
    /// The file that has `SMTP_URL`
    #[arg(long, env = "SMTP_URL_FILE")]
    smtp_url_file: Option<String>,
    /// As in booking [required with `SMTP_URL`]
    #[arg(long, env = "MAIL_FROM")]
    mail_from: Option<String>,
    /// As in booking [default: the receiver of webhooks is not checked]
    #[arg(long, env = "NOTIFY_WEBHOOK_URL", hide_env_values = true)]
    notify_webhook_url: Option<String>,
    /// The file that has `NOTIFY_WEBHOOK_URL`
    #[arg(long, env = "NOTIFY_WEBHOOK_URL_FILE")]
    notify_webhook_url_file: Option<String>,
    /// As in booking [required with `NOTIFY_WEBHOOK_URL`]
    #[arg(long, env = "NOTIFY_WEBHOOK_SECRET", hide_env_values = true)]
    notify_webhook_secret: Option<String>,
    /// The file that has `NOTIFY_WEBHOOK_SECRET`
    #[arg(long, env = "NOTIFY_WEBHOOK_SECRET_FILE")]
    notify_webhook_secret_file: Option<String>,
    /// As in booking [default: `false`]
    #[arg(long, env = "NOTIFY_WEBHOOK_ALLOW_PRIVATE")]
    notify_webhook_allow_private: Option<String>,
}

/// The deployment that is examined.
pub struct Target {
    pub livekit: LiveKit,
    pub database: SecretString,
    /// Without a slash at the end.
    pub api_url: Option<String>,
    /// Those of `PUBLIC_URLS`, without a slash at the end.
    pub public_urls: Vec<String>,
    /// The addresses of clients may be out of reach here.
    pub inside: bool,
    /// A recording is made.
    pub deep: bool,
    pub services: Services,
    pub identity: IdentityArgs,
    pub deliveries: NotificationArgs,
    pub recordings: RecordingArgs,
}

pub struct Services {
    pub tokens: Option<InternalTokens>,
    /// In the order of [`gateway::SERVICES`].
    pub addresses: [Option<Endpoint>; 4],
}

impl Target {
    /// `RECORDING_OUTPUT` is set.
    pub fn records(&self) -> bool {
        non_blank(self.recordings.recording_output.clone()).is_some()
    }
}

impl Args {
    pub fn check(self) -> Result<(Target, bool), Invalid> {
        check(|problems| {
            let livekit = self.livekit.check(problems);
            // Only the URL is used: `doctor` connects as the login, not as a service.
            let database = self.database.check("greenroom", problems);
            let api_url = non_blank(self.api_url);
            let api_url = api_url.and_then(|url| problems.base_url("API_URL", Some(url), &["http", "https"]));
            let target = Target {
                api_url,
                public_urls: public_urls(self.public_urls, problems),
                inside: self.inside,
                deep: self.deep,
                services: self.services.check(problems),
                identity: self.identity,
                deliveries: self.deliveries.into(),
                recordings: self.recordings,
                livekit: livekit?,
                database: database?.url,
            };
            Some((target, self.json))
        })
    }
}

fn public_urls(setting: Option<String>, problems: &mut Problems) -> Vec<String> {
    let setting = non_blank(setting).unwrap_or_default();
    let urls = setting.split(',').map(str::trim).filter(|url| !url.is_empty());
    urls.filter_map(|url| problems.base_url("PUBLIC_URLS", Some(url.to_owned()), &["http", "https"]))
        .collect()
}

impl ServicesArgs {
    fn check(self, problems: &mut Problems) -> Services {
        let mut internal = InternalArgs {
            internal_token: non_blank(self.internal_token),
            internal_token_file: self.internal_token_file,
            ..InternalArgs::default()
        };
        internal.read_file(problems);
        let internal = if internal.internal_token.is_some() { internal.check(problems) } else { None };
        let mut peer = |setting, url| non_blank(url).and_then(|url| problems.peer(setting, Some(url)));
        Services {
            tokens: internal.map(|settings| settings.tokens),
            addresses: [
                peer("BOOKING_URL", self.booking_url),
                peer("ROOM_URL", self.room_url),
                peer("TOKEN_URL", self.token_url),
                peer("SYNC_URL", self.sync_url),
            ],
        }
    }
}

impl From<DeliveryArgs> for NotificationArgs {
    fn from(args: DeliveryArgs) -> Self {
        Self {
            smtp_url: args.smtp_url,
            smtp_url_file: args.smtp_url_file,
            mail_from: args.mail_from,
            notify_webhook_url: args.notify_webhook_url,
            notify_webhook_url_file: args.notify_webhook_url_file,
            notify_webhook_secret: args.notify_webhook_secret,
            notify_webhook_secret_file: args.notify_webhook_secret_file,
            notify_webhook_allow_private: args.notify_webhook_allow_private,
            ..Self::default()
        }
    }
}
