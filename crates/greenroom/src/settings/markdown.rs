//! docs/settings.md.

use std::fmt::Write as _;

use clap::Command;

use super::{Setting, find, of, shared};

const HEAD: &str = "\
# Settings

This page is generated: `make settings` writes it from the code, and a test compares the two.

Every setting is an environment variable and a flag of the same name (`TOKEN_TTL`, `--token-ttl`). A process reads its own
settings and ignores the others. A missing or wrong setting stops the start, and the message lists every problem at once. A
blank value counts as missing. Durations are written `90s`, `15min`, `2h`, `30days`. Secrets are never printed.

Each secret can be in a file instead, as Docker and Kubernetes mount them: `INTERNAL_TOKEN_FILE` (`--internal-token-file`) is
the path of the file that has `INTERNAL_TOKEN`. Such settings have two names below. Setting both is refused. A file that is
unreadable or empty stops the start. Line breaks at its end are cut. Files are read at the start only.

Requests over HTTP go through the proxies of `HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY`, except to the hosts of `NO_PROXY`
and to loopback addresses. `doctor` names the variable. gRPC, SMTP, Postgres, traces and webhooks to `NOTIFY_WEBHOOK_URL`
use no proxy.

";

/// Commands with their own section, and the text after its table.
const SECTIONS: [(&str, &[&str], &str); 7] = [
    ("gateway", &["serve", "gateway"], GATEWAY),
    ("booking", &["serve", "booking"], ""),
    ("room-lifecycle", &["serve", "room-lifecycle"], ""),
    ("token", &["serve", "token"], ""),
    ("sync", &["serve", "sync"], ""),
    ("migrate", &["migrate"], MIGRATE),
    ("up", &["up"], UP),
];

const GATEWAY: &str = "
These limits are not settings:
- The first request has 15 s from the connection to the end of its headers.
- Requests with a body over 1 KiB: 8 at the same time for a user, a Nostr key or, without either, an address. One more is
  429 `rate_limited`.
- One diagnosis of a user or address in 5 s, and one repair of a room in 30 s (diagnosis.md).
- Streams of events: for each replica 20 for a user, or without a token for an address, and 6,144 in total. One more is 429
  `rate_limited` or 503. Behind a proxy, set `TRUSTED_PROXIES`; otherwise all readers without a token share the proxy's 20.
";

const MIGRATE: &str = "
`JOIN_OPENS_BEFORE` and `JOIN_CLOSES_AFTER` are rows of the table `settings`, for all services and psql alike
(decisions/0004). To change them run `migrate` again, or as the owner
`update settings set value = '20 min' where name = 'join_opens_before'` (`join_closes_after`). A change applies to the next
statement of every connection. `migrate` and `up` keep the stored value of a setting that they are not given.
";

const UP: &str = "
`up` starts what is not set: a private Postgres, livekit-dev, secrets, a development sign-in, and a development mail server.
It also reads all settings above, from the environment only. Its other defaults:
- `LOG_FORMAT` is `pretty`. `OPS_LISTEN` is `127.0.0.1:9090`, or a free port when 9090 is taken and was not asked for.
- `--rtc-port` keeps the port of the last start.
- `ADMIN_CLAIM` is `/admin=true` and `GROUPS_CLAIM` is `groups` while the development sign-in exists. Its `admin` and
  `groups` are written where these two point.
- Without `SMTP_URL`, e-mails are shown at `/dev/inbox`, where the development sign-in is. Routes under `/dev` answer only when
  `Host` is `localhost` or a loopback address, and `Origin` is absent or an http page of such a host. Everything else is 403.
";

const TOOLS: [(&str, &[&str]); 8] = [
    ("doctor", &["doctor"]),
    ("diagnose", &["diagnose"]),
    ("repair rooms", &["repair", "rooms"]),
    ("repair live-rooms", &["repair", "live-rooms"]),
    ("repair listing", &["repair", "listing"]),
    ("repair orphans", &["repair", "orphans"]),
    ("healthcheck", &["healthcheck"]),
    ("livekit-dev", &["livekit-dev"]),
];

const AFTER_TOOLS: &str = "
`doctor` also reads the settings of LiveKit, of the database and of recordings, and `INTERNAL_TOKEN`; doctor.md lists its
checks. `diagnose` and `repair` read the settings of room-lifecycle, and `INTERNAL_TOKEN` is not needed. `repair live-rooms`
and `repair listing` need only `DATABASE_URL`. `healthcheck` asks the URL that it is given, or `/readyz` at the port of
`OPS_LISTEN`; that must answer 200.
";

pub(super) fn written(root: &Command) -> String {
    let mut page = HEAD.to_owned();
    let shared = shared();
    for (title, settings) in &shared {
        table(&mut page, title, settings.iter());
        if *title == "Every service" {
            page.push_str("| `RUST_LOG` | `info` | The filter of the logs, `info,booking=debug` |\n");
        }
        page.push('\n');
    }
    // Left out where a shared section has it with the same text. INTERNAL_TOKEN is the same everywhere.
    let elsewhere = |setting: &Setting| {
        shared
            .iter()
            .flat_map(|(_, settings)| settings)
            .any(|one| one.name == setting.name && (one.text == setting.text || one.name == "INTERNAL_TOKEN"))
    };
    for (title, path, after) in SECTIONS {
        let own = of(find(root, path));
        table(&mut page, title, own.iter().filter(|setting| !elsewhere(setting)));
        page.push_str(after);
        page.push('\n');
    }
    page.push_str("## doctor, diagnose, repair, healthcheck, livekit-dev\n| command | setting | default | |\n|---|---|---|---|\n");
    let rooms = of(find(root, &["serve", "room-lifecycle"]));
    for (command, path) in TOOLS {
        let own = of(find(root, path));
        // The tools read room-lifecycle's settings, which are listed once.
        let is_own =
            |setting: &&Setting| !elsewhere(setting) && !rooms.iter().any(|room| room.text == setting.text);
        for setting in own.iter().filter(is_own) {
            let _ = writeln!(page, "| {command} {}", row(setting)); // writing to a String cannot fail
        }
    }
    page.push_str(AFTER_TOOLS);
    page
}

fn table<'a>(page: &mut String, title: &str, settings: impl Iterator<Item = &'a Setting>) {
    let _ = writeln!(page, "## {title}\n| setting | default | |\n|---|---|---|"); // writing to a String cannot fail
    for setting in settings {
        page.push_str(&row(setting));
        page.push('\n');
    }
}

fn row(setting: &Setting) -> String {
    let default = setting.marker.strip_prefix("default: ").unwrap_or(&setting.marker);
    let name = &setting.name;
    let file = if setting.has_file { format!(", `{name}_FILE`") } else { String::new() };
    format!("| `{name}`{file} | {default} | {} |", setting.text).replace("docs/", "")
}
