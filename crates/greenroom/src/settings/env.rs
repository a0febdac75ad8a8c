//! `.env.example`: the settings of a deployment with docker compose.

use std::fmt::Write as _;

use clap::Command;

use super::{Setting, find, of};
use Line::{Example, Secret, Set};

const WIDTH: usize = 118;

const HEAD: &str = "\
# The settings of a deployment with docker compose. `make secrets` copies this file to .env and fills every empty secret;
# check the other settings yourself. `make settings` writes this file from the code. docs/settings.md has all details.
";

/// The form in which a setting is written.
enum Line {
    /// A line with this value.
    Set(&'static str),
    /// An empty value, which `make secrets` fills.
    Secret,
    /// A comment with an example.
    Example(&'static str),
}

struct Group {
    title: &'static str,
    lines: &'static [(&'static str, Line)],
}

const GROUPS: [Group; 10] = [
    Group {
        title: "Where this deployment is, as clients see it",
        lines: &[
            ("APP_URL", Set("http://127.0.0.1:8080")),
            ("API_URL", Set("http://127.0.0.1:8080")),
            ("LIVEKIT_WS_URL", Set("ws://127.0.0.1:7880")),
            ("LIVEKIT_URL", Example("http://livekit:7880")),
            ("LIVEKIT_NODE_IP", Example("127.0.0.1")),
            ("PUBLISH_ADDRESS", Example("127.0.0.1")),
            ("PUBLIC_URLS", Example("https://nests.example.org")),
            ("CORS_ORIGINS", Example("https://app.example.org")),
            ("AUTH_COOKIE", Example("__Host-session")),
        ],
    },
    Group {
        title: "Users (docs/sign-in.md). Set at most one of the first two; empty the secret if your identity provider has keys",
        lines: &[
            ("AUTH_JWKS_URL", Set("")),
            ("AUTH_HS256_SECRET", Secret),
            ("AUTH_ISSUER", Set("greenroom")),
            ("AUTH_AUDIENCE", Set("greenroom")),
            ("OIDC_CLIENT_ID", Example("greenroom-web")),
            ("ADMIN_CLAIM", Example("/app_metadata/role=admin")),
            ("GROUPS_CLAIM", Example("groups")),
            ("NAME_CLAIM", Example("/profile/displayName")),
            ("EMAIL_CLAIM", Example("/emails/0")),
            ("PICTURE_CLAIM", Example("/profile/avatar")),
            ("PUBLIC_LISTING", Example("true")),
        ],
    },
    Group {
        title: "LiveKit's key. LiveKit's own configuration has the same pair",
        lines: &[
            ("LIVEKIT_API_KEY", Secret),
            ("LIVEKIT_API_SECRET", Secret),
            ("LIVEKIT_WEBHOOK_KEYS", Example("key:secret")),
            ("LIVEKIT_WEBHOOK_SECRET", Example("")),
        ],
    },
    Group {
        title: "Between our services",
        lines: &[("INTERNAL_TOKEN", Secret), ("LINK_SECRET", Secret), ("GRPC_REFLECTION", Example("true"))],
    },
    Group {
        title: "Postgres",
        lines: &[
            ("POSTGRES_PASSWORD", Secret),
            ("BOOKING_DB_PASSWORD", Secret),
            ("ROOM_LIFECYCLE_DB_PASSWORD", Secret),
            ("TOKEN_DB_PASSWORD", Secret),
            ("SYNC_DB_PASSWORD", Secret),
            ("DATABASE_POOL", Example("8")),
        ],
    },
    Group {
        title: "Bookings, rooms and nests",
        lines: &[
            ("JOIN_OPENS_BEFORE", Set("15min")),
            ("JOIN_CLOSES_AFTER", Set("2h")),
            ("BOOKING_POLICY", Set("either")),
            ("ROOM_CREATION", Set("at_booking")),
            ("TOKEN_TTL", Set("1h")),
            ("NESTS_EVENT_KIND", Example("30312")),
            ("NESTS_HLS", Example("true")),
            ("NESTS_ROOM_ADMIN_GRANT", Example("true")),
            ("NIP98_WINDOW", Example("60s")),
        ],
    },
    Group {
        title: "Recordings: a folder that the recorder and room-lifecycle share, or a bucket (docs/recording.md)",
        lines: &[
            ("RECORDING_OUTPUT", Example("s3://bucket/prefix")),
            ("RECORDING_READ", Example("/out")),
            ("RECORDINGS_KEEP", Example("90days")),
            ("S3_ENDPOINT", Example("https://s3.example.org")),
            ("S3_REGION", Example("us-east-1")),
            ("S3_ACCESS_KEY", Example("")),
            ("S3_SECRET_KEY", Example("")),
        ],
    },
    Group {
        title: "Operation",
        lines: &[
            ("GREENROOM_VERSION", Example("dev")),
            ("RUST_LOG", Example("info")),
            ("SHUTDOWN_GRACE", Example("20s")),
            ("PASS_PERIOD", Example("10s")),
            ("EVENTS_KEEP", Example("30days")),
            ("DELIVERIES_KEEP", Example("30days")),
            ("FRONT_SUBNET", Example("10.213.80.0/24")),
            ("TRUSTED_PROXIES", Example("10.213.80.0/24")),
            ("CONNECTIONS_PER_ADDRESS", Example("512")),
            ("RATE_LIMIT_USER", Example("100/1000")),
            ("RATE_LIMIT_ANONYMOUS", Example("20/100")),
            ("RATE_LIMIT_MODERATION", Example("5/5")),
            ("RATE_LIMIT_ENSURE", Example("1/5")),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", Example("http://otel-collector:4317")),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", Example("/etc/greenroom/authority.pem")),
            ("API_DOMAIN", Example("api.example.org")),
            ("LIVEKIT_DOMAIN", Example("livekit.example.org")),
            ("ACME_EMAIL", Example("ops@example.org")),
            ("GRAFANA_PASSWORD", Example("")),
        ],
    },
    Group {
        title: "Notifications (docs/notifications.md). Without these, users get no e-mails and the back end no webhooks",
        lines: &[
            ("SMTP_URL", Example("smtp://user:password@mail.example.org:587?tls=required")),
            ("MAIL_FROM", Example("Greenroom <no-reply@example.org>")),
            ("ADMIN_EMAIL", Example("ops@example.org")),
            ("NOTIFY_WEBHOOK_URL", Example("https://api.example.org/hooks/greenroom")),
            ("NOTIFY_WEBHOOK_SECRET", Example("whsec_...")),
            ("NOTIFY_WEBHOOK_ALLOW_PRIVATE", Example("false")),
            ("REMINDERS", Example("24h,15min")),
            ("DEFAULT_LOCALE", Example("en")),
        ],
    },
    Group {
        title: "Secrets in files, for docker-compose.secrets.yml (docs/deploy.md). The setting itself is then empty",
        lines: &[
            ("INTERNAL_TOKEN_FILE", Example("./secrets/internal_token")),
            ("LINK_SECRET_FILE", Example("./secrets/link_secret")),
            ("AUTH_HS256_SECRET_FILE", Example("./secrets/auth_hs256_secret")),
            ("LIVEKIT_WEBHOOK_KEYS_FILE", Example("./secrets/livekit_webhook_keys")),
            ("LIVEKIT_WEBHOOK_SECRET_FILE", Example("./secrets/livekit_webhook_secret")),
            ("S3_SECRET_KEY_FILE", Example("./secrets/s3_secret_key")),
            ("SMTP_URL_FILE", Example("./secrets/smtp_url")),
            ("NOTIFY_WEBHOOK_URL_FILE", Example("./secrets/notify_webhook_url")),
            ("NOTIFY_WEBHOOK_SECRET_FILE", Example("./secrets/notify_webhook_secret")),
        ],
    },
];

/// Variables that docker-compose.yml reads itself, or that have a further meaning there.
const COMPOSE: [(&str, &str); 20] = [
    ("ACME_EMAIL", "The address of Caddy's ACME account (profile tls)"),
    ("API_DOMAIN", "The gateway's domain (profile tls)"),
    ("APP_URL", "Where the web pages are; a meeting is at <APP_URL>/meeting/<id>"),
    ("BOOKING_DB_PASSWORD", "The password of the login of booking"),
    ("FRONT_SUBNET", "The network of Caddy, the gateway and LiveKit"),
    ("GRAFANA_PASSWORD", "The password of Grafana's admin (profile observability)"),
    ("GREENROOM_VERSION", "The tag of the image"),
    (
        "LINK_SECRET",
        "The secret that signs links in e-mails and tickets. A rotation (`new,old`) ends the links given out before",
    ),
    ("LIVEKIT_DOMAIN", "LiveKit's domain (profile tls)"),
    ("LIVEKIT_NODE_IP", "The address of this machine that browsers send media to"),
    ("LIVEKIT_URL", "Where our servers reach LiveKit. Default: `http://livekit:7880`"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "A PEM file that verifies an https:// endpoint: mount the file too"),
    ("POSTGRES_PASSWORD", "The password of the superuser, for the one-shot `migrate`"),
    ("PUBLISH_ADDRESS", "The address of this machine that the gateway and LiveKit are published on"),
    (
        "RECORDING_OUTPUT",
        "Where LiveKit's recorders write, or `s3://bucket/prefix`. Default: `file:///out`, a volume",
    ),
    ("ROOM_LIFECYCLE_DB_PASSWORD", "The password of the login of room-lifecycle"),
    ("RUST_LOG", "The filter of the logs, `info,booking=debug`"),
    ("SYNC_DB_PASSWORD", "The password of the login of sync"),
    ("TOKEN_DB_PASSWORD", "The password of the login of token"),
    (
        "TRUSTED_PROXIES",
        "The proxies in front of the gateway, and nothing wider. Default: FRONT_SUBNET, where Caddy is",
    ),
];

pub(super) fn written(root: &Command) -> String {
    let services = find(root, &["serve"]).get_subcommands();
    let known: Vec<Setting> = services.chain([find(root, &["migrate"])]).flat_map(of).collect();
    let mut file = HEAD.to_owned();
    for group in GROUPS {
        let _ = writeln!(file, "\n# --- {}", group.title); // writing to a String cannot fail
        for (name, line) in group.lines {
            for line in wrapped(&described(name, &known)) {
                let _ = writeln!(file, "# {line}");
            }
            let _ = match line {
                Set(value) => writeln!(file, "{name}={value}"),
                Secret => writeln!(file, "{name}="),
                Example(value) => writeln!(file, "# {name}={value}"),
            };
        }
    }
    file
}

fn described(name: &str, known: &[Setting]) -> String {
    // The text of compose comes first: there the variable may mean more than for one process.
    if let Some((_, text)) = COMPOSE.iter().find(|(known, _)| *known == name) {
        return format!("{text}.");
    }
    let Some(setting) = known.iter().find(|setting| setting.name == name) else { return String::new() };
    let default = setting.marker.strip_prefix("default: ");
    let default = default.map(|default| format!(" Default: {default}.")).unwrap_or_default();
    format!("{}.{default}", setting.text)
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        // A word longer than the width gets a line of its own.
        let line = lines.last_mut().filter(|line| line.len() + word.len() < WIDTH);
        match line {
            Some(line) if !line.is_empty() => line.extend([" ", word]),
            Some(line) => line.push_str(word),
            None => lines.push(word.to_owned()),
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}
