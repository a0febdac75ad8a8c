//! The settings of notifications: the channels, the times of reminders, the secrets that sign links.
//! Retries are no settings: they are in outbox/retry.rs.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use chassis::{
    config::{Problems, non_blank},
    signed::{Keys, link_secrets},
};
use domain::{CalendarLink, SessionId};
use lettre::{Address, message::Mailbox};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::outbox::{guard::Guard, smtp::MailServer};

const DAY: Duration = Duration::from_hours(24);
const DEFAULT_LOCALE: &str = "en";
const REMINDERS: &str = "24h,15min";
const EARLIEST_REMINDER: Duration = Duration::from_hours(30 * 24);
const MAX_REMINDERS: usize = 10;

#[derive(clap::Args, Clone, Default)]
pub struct NotificationArgs {
    /// The mail server: `smtp://user:password@host:587?tls=required` (STARTTLS), `smtps://…` (TLS from the start),
    /// `smtp://host:25` (no TLS) [default: no e-mail]
    #[arg(long, env = "SMTP_URL", hide_env_values = true)]
    pub smtp_url: Option<String>,
    /// The file that has `SMTP_URL`
    #[arg(long, env = "SMTP_URL_FILE")]
    pub smtp_url_file: Option<String>,
    /// The sender of e-mails, `Greenroom <no-reply@example.org>` [required with `SMTP_URL`]
    #[arg(long, env = "MAIL_FROM")]
    pub mail_from: Option<String>,
    /// The address that gets e-mails for the admins [default: none]
    #[arg(long, env = "ADMIN_EMAIL")]
    pub admin_email: Option<String>,
    /// The endpoint of the product's own back end for webhooks (docs/notifications.md) [default: no webhooks]
    #[arg(long, env = "NOTIFY_WEBHOOK_URL", hide_env_values = true)]
    pub notify_webhook_url: Option<String>,
    /// The file that has `NOTIFY_WEBHOOK_URL`
    #[arg(long, env = "NOTIFY_WEBHOOK_URL_FILE")]
    pub notify_webhook_url_file: Option<String>,
    /// The secret that signs these webhooks: `whsec_` and base64 of 24 to 64 bytes; `new,old` during a rotation
    /// [required with `NOTIFY_WEBHOOK_URL`]
    #[arg(long, env = "NOTIFY_WEBHOOK_SECRET", hide_env_values = true)]
    pub notify_webhook_secret: Option<String>,
    /// The file that has `NOTIFY_WEBHOOK_SECRET`
    #[arg(long, env = "NOTIFY_WEBHOOK_SECRET_FILE")]
    pub notify_webhook_secret_file: Option<String>,
    /// Whether webhooks may go to private addresses: for development, or for a back end in the same network [default:
    /// `false`]
    #[arg(long, env = "NOTIFY_WEBHOOK_ALLOW_PRIVATE")]
    pub notify_webhook_allow_private: Option<String>,
    /// How long before the start of a meeting reminders are sent, separated by commas: up to 10 durations of at most 30
    /// days, or `none` [default: `24h,15min`]
    #[arg(long, env = "REMINDERS")]
    pub reminders: Option<String>,
    /// How long deliveries are kept after they were sent or dropped, 4 days to 10 years. Deliveries that were given up
    /// are kept [default: `30days`]
    #[arg(long, env = "DELIVERIES_KEEP")]
    pub deliveries_keep: Option<String>,
    /// The language of e-mails to users without a known language, and to admins: a language tag of English or German,
    /// such as `en-GB` [default: `en`]
    #[arg(long, env = "DEFAULT_LOCALE")]
    pub default_locale: Option<String>,
    /// The secret that signs links in e-mails; the same value as the gateway's [default: `INTERNAL_TOKEN`]
    #[arg(long, env = "LINK_SECRET", hide_env_values = true)]
    pub link_secret: Option<String>,
    /// The file that has `LINK_SECRET`
    #[arg(long, env = "LINK_SECRET_FILE")]
    pub link_secret_file: Option<String>,
    /// The gateway as clients see it [default: e-mails have no link to the calendar file]
    #[arg(long, env = "API_URL")]
    pub api_url: Option<String>,
}

#[derive(Clone, Debug)]
pub struct NotificationSettings {
    pub email: Option<Email>,
    pub webhook: Option<Webhook>,
    pub reminders: Vec<Duration>,
    /// None: deliveries are never deleted.
    pub deliveries_keep: Option<Duration>,
    /// A BCP 47 tag in whose language there are texts.
    pub default_locale: String,
    pub link_secrets: Vec<SecretString>,
    /// Without a slash at the end.
    pub api_url: Option<String>,
}

impl Default for NotificationSettings {
    /// No channels, no reminders, in English.
    fn default() -> Self {
        Self {
            email: None,
            webhook: None,
            reminders: Vec::new(),
            deliveries_keep: None,
            default_locale: DEFAULT_LOCALE.to_owned(),
            link_secrets: Vec::new(),
            api_url: None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Email {
    pub smtp_url: SecretString,
    pub from: Mailbox,
    pub admin: Option<Address>,
}

#[derive(Clone)]
pub struct Webhook {
    pub url: Url,
    /// In their encoded form, `whsec_…`.
    pub secrets: Vec<SecretString>,
    pub allow_private: bool,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str(); // the rest of the URL may be secret
        f.debug_struct("Webhook").field("host", &host).finish_non_exhaustive()
    }
}

impl Webhook {
    pub fn keys(&self) -> impl Iterator<Item = Vec<u8>> {
        self.secrets.iter().filter_map(|secret| webhook_key(secret.expose_secret()))
    }
}

/// Decodes a secret of standard-webhooks: `whsec_` and base64 of 24 to 64 bytes.
fn webhook_key(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

/// Signed links, with the public address of the gateway.
#[derive(Clone)]
pub struct Links {
    api_url: String,
    calendar: Keys,
}

impl Links {
    pub fn calendar(&self, booking: SessionId, user: &str, version: i32) -> Option<String> {
        let link = CalendarLink { booking: &booking.to_string(), user, version };
        let signature = self.calendar.sign(&link.claim())?;
        Some(format!("{}{}", self.api_url, link.path(&signature)))
    }
}

impl NotificationSettings {
    pub fn links(&self) -> Option<Links> {
        let api_url = self.api_url.clone()?;
        Some(Links { api_url, calendar: Keys::derived(&self.link_secrets, CalendarLink::PURPOSE) })
    }
}

impl NotificationArgs {
    /// Checks the settings of e-mails alone. None: they are not set, or wrong.
    pub fn check_email(&self, problems: &mut Problems) -> Option<Email> {
        let mut args = self.clone();
        problems.secret_file("SMTP_URL", &mut args.smtp_url, &mut args.smtp_url_file);
        check_email(args.smtp_url, args.mail_from, args.admin_email, problems)
    }

    /// Checks the settings of webhooks alone. None: they are not set, or wrong.
    pub fn check_webhook(&self, problems: &mut Problems) -> Option<Webhook> {
        let mut args = self.clone();
        let (url, file) = (&mut args.notify_webhook_url, &mut args.notify_webhook_url_file);
        problems.secret_file("NOTIFY_WEBHOOK_URL", url, file);
        let (secret, file) = (&mut args.notify_webhook_secret, &mut args.notify_webhook_secret_file);
        problems.secret_file("NOTIFY_WEBHOOK_SECRET", secret, file);
        let allow = problems.parse(
            "NOTIFY_WEBHOOK_ALLOW_PRIVATE",
            args.notify_webhook_allow_private.as_deref(),
            false,
        );
        check_webhook(args.notify_webhook_url, args.notify_webhook_secret, allow, problems)
    }

    /// Checks the settings. `internal_token` signs links if no other secret is set.
    pub fn check(
        mut self,
        internal_token: Option<&String>,
        problems: &mut Problems,
    ) -> Option<NotificationSettings> {
        problems.secret_file("LINK_SECRET", &mut self.link_secret, &mut self.link_secret_file);
        let email = self.check_email(problems);
        let webhook = self.check_webhook(problems);
        let api_url = non_blank(self.api_url);
        Some(NotificationSettings {
            reminders: check_reminders(self.reminders, problems),
            deliveries_keep: Some(problems.duration_in(
                "DELIVERIES_KEEP",
                self.deliveries_keep.as_deref(),
                DAY * 30,
                DAY * 4..=DAY * 3650,
                "4days to 10years", // longer than the 72 h in which receivers see repeats of a webhook id
            )),
            default_locale: check_locale(self.default_locale, problems),
            api_url: api_url.and_then(|url| problems.base_url("API_URL", Some(url), &["http", "https"])),
            link_secrets: link_secrets(non_blank(self.link_secret).or(internal_token.cloned()), problems)?,
            email,
            webhook,
        })
    }
}

fn check_email(
    smtp_url: Option<String>,
    from: Option<String>,
    admin: Option<String>,
    problems: &mut Problems,
) -> Option<Email> {
    let smtp_url = non_blank(smtp_url)?;
    // The URL may contain a password, so the problem does not repeat it.
    if problems.url("SMTP_URL", Some(smtp_url.clone()), &["smtp", "smtps"]).is_some()
        && let Err(wrong) = MailServer::parse(&smtp_url)
    {
        problems.add("SMTP_URL", wrong);
    }
    let admin = non_blank(admin).map(|address| address.trim().parse::<Address>());
    let admin = admin.and_then(|parsed| parsed.map_err(|error| problems.add("ADMIN_EMAIL", error)).ok());
    let from = problems.required("MAIL_FROM", from)?.parse::<Mailbox>();
    let from = from.map_err(|error| problems.add("MAIL_FROM", error)).ok();
    Some(Email { smtp_url: smtp_url.into(), from: from?, admin })
}

fn check_webhook(
    url: Option<String>,
    secrets: Option<String>,
    allow_private: bool,
    problems: &mut Problems,
) -> Option<Webhook> {
    let url = problems.url("NOTIFY_WEBHOOK_URL", Some(non_blank(url)?), &["https", "http"]);
    let secrets = problems.required("NOTIFY_WEBHOOK_SECRET", secrets)?;
    let secrets: Vec<&str> = secrets.split(',').map(str::trim).collect();
    if secrets.len() > 2 || secrets.iter().any(|secret| webhook_key(secret).is_none()) {
        problems.add(
            "NOTIFY_WEBHOOK_SECRET",
            "must be whsec_ and base64 of 24 to 64 bytes; at most two, separated by a comma",
        );
    }
    let webhook =
        Webhook { url: url?, secrets: secrets.into_iter().map(SecretString::from).collect(), allow_private };
    if let Err(private) = (Guard { allow_private }).check(&webhook.url) {
        problems.add("NOTIFY_WEBHOOK_URL", private);
    }
    Some(webhook)
}

fn check_locale(setting: Option<String>, problems: &mut Problems) -> String {
    let setting = non_blank(setting).unwrap_or_else(|| DEFAULT_LOCALE.to_owned());
    domain::locale::chosen_locale("DEFAULT_LOCALE", &setting).unwrap_or_else(|wrong| {
        problems.add("DEFAULT_LOCALE", wrong.message);
        setting
    })
}

fn check_reminders(setting: Option<String>, problems: &mut Problems) -> Vec<Duration> {
    let setting = non_blank(setting).unwrap_or_else(|| REMINDERS.to_owned());
    if setting.trim() == "none" {
        return Vec::new();
    }
    let durations: Result<Vec<Duration>, _> =
        setting.split(',').map(|text| humantime::parse_duration(text.trim())).collect();
    match durations {
        Ok(durations)
            if durations.len() <= MAX_REMINDERS
                && durations.iter().all(|before| !before.is_zero() && *before <= EARLIEST_REMINDER) =>
        {
            durations
        }
        _ => {
            problems
                .add("REMINDERS", "must be up to 10 durations of at most 30 days, `24h,15min`, or `none`");
            Vec::new()
        }
    }
}
