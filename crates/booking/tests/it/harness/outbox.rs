//! The fixture of the outbox tests: events, a mail server, a receiver of webhooks, and passes that the tests start.

use std::{ops::Deref, sync::Arc};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, response::IntoResponse, routing::post};
use booking::{Email, NotificationSettings, Outbox, Webhook};
use mail_dev::MailDev;
use parking_lot::Mutex;
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::{Database, FromDatabase};
use time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The base world, in which ada and bob have addresses, with a mail server and a webhook receiver; no service runs.
pub struct Post {
    base: testkit::World,
    pub mail: MailDev,
    pub hook: Hook,
    pub notifications: NotificationSettings,
    /// How far the clock was moved.
    advanced: Duration,
    /// Cancelled when the process of the workers stops.
    pub stopping: CancellationToken,
    _running: DropGuard,
}

/// Only e-mail is configured.
pub struct ByMail(pub Post);

/// Only webhooks are configured.
pub struct ByWebhook(pub Post);

/// E-mail and webhooks are configured.
pub struct ByBoth(pub Post);

impl Deref for Post {
    type Target = testkit::World;

    fn deref(&self) -> &testkit::World {
        &self.base
    }
}

impl FromDatabase for ByMail {
    async fn from_database(database: &Database) -> Self {
        Self(Post::by_mail(database.options.clone(), database.connect.clone()).await)
    }
}

impl FromDatabase for ByWebhook {
    async fn from_database(database: &Database) -> Self {
        Self(Post::by_webhook(database.options.clone(), database.connect.clone()).await)
    }
}

impl FromDatabase for ByBoth {
    async fn from_database(database: &Database) -> Self {
        Self(Post::by_both(database.options.clone(), database.connect.clone()).await)
    }
}

impl Post {
    /// Configures e-mail only.
    pub async fn by_mail(pool: PgPoolOptions, connect: PgConnectOptions) -> Self {
        let mut post = Self::by_both(pool, connect).await;
        post.notifications.webhook = None;
        post
    }

    /// Configures webhooks only.
    pub async fn by_webhook(pool: PgPoolOptions, connect: PgConnectOptions) -> Self {
        let mut post = Self::by_both(pool, connect).await;
        post.notifications.email = None;
        post
    }

    pub async fn by_both(pool: PgPoolOptions, connect: PgConnectOptions) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = testkit::World::new(pool, connect);
        for person in ["ada", "bob"] {
            sqlx::query!(
                r#"select upsert_user($1::text, '', $1 || '@example.org', '', null, '', '')::text as "done""#,
                person
            )
            .fetch_one(&base.pool)
            .await
            .unwrap();
        }
        let running = CancellationToken::new();
        let (mail, email) = mail_server(&running).await;
        let hook = Hook::start(&running).await;
        let notifications = NotificationSettings {
            email: Some(email),
            webhook: Some(hook.settings(true)),
            reminders: vec![std::time::Duration::from_hours(24), std::time::Duration::from_mins(15)],
            deliveries_keep: Some(std::time::Duration::from_hours(30 * 24)),
            default_locale: "en".to_owned(),
            link_secrets: vec!["s".repeat(32).into()],
            api_url: Some("https://api.example.org".into()),
        };
        Self {
            base,
            mail,
            hook,
            notifications,
            advanced: Duration::ZERO,
            stopping: CancellationToken::new(),
            _running: running.drop_guard(),
        }
    }

    /// Creates an outbox; each is a replica of its own.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(&self.notifications, &self.pool, &self.stopping).unwrap()
    }

    pub async fn pass(&self) -> usize {
        self.outbox().pass().await.unwrap()
    }

    /// Sets the database's clock to `minutes` after the start of the test.
    pub fn advance_to(&mut self, minutes: i64) {
        let to = Duration::minutes(minutes);
        self.base.advance(to - self.advanced);
        self.advanced = to;
    }

    /// Inserts a booking of ada and bob that was created 30 days ago and starts in `minutes`.
    pub async fn booking(&self, title: &str, minutes: i32) -> Uuid {
        sqlx::query_scalar!(
            "insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url,
                                   created_at)
             values ('ada', 'bob', 'ada', $1, app_now() + make_interval(mins => $2), 45,
                     'https://app.example.org/meeting/1', app_now() - interval '30 days')
             returning id",
            title,
            minutes,
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Inserts a notification about an event of a booking.
    pub async fn happened(&self, kind: &str, booking: Uuid, person: &str) {
        sqlx::query!(
            r#"insert into notifications (user_id, kind, session_id, payload, dedupe_key)
               select $3, $1, id, jsonb_build_object(
                          'bookingId', id, 'title', title, 'durationMinutes', duration_minutes,
                          'scheduledAt', to_char(scheduled_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                          'meetingUrl', meeting_url),
                      gen_random_uuid()
               from sessions where id = $2"#,
            kind,
            booking,
            person,
        )
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Inserts a booking in the far future, and notifications of these users about it.
    pub async fn booked(&self, people: &[&str]) -> Uuid {
        let booking = self.booking("Lesson", 50_000).await;
        for person in people {
            self.happened("booking_created", booking, person).await;
        }
        booking
    }

    /// Makes all deliveries due and removes their leases.
    pub async fn make_due(&self) {
        sqlx::query!(
            "update notification_deliveries set due_at = app_now(), leased_until = null, lease_id = null"
        )
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Returns the states of the deliveries, `pending`, `waiting`, `delivered`, `dropped` or `dead`, with the reason,
    /// in the order of streams.
    pub async fn states(&self) -> Vec<String> {
        sqlx::query_scalar!(
            r#"select concat_ws(' ',
                          case when delivered_at is not null then 'delivered' when dead_at is not null then 'dead'
                               when dropped_at is not null then 'dropped' when waits_for is not null then 'waiting'
                               else 'pending' end,
                          case when delivered_at is null then last_error end) as "state!"
               from notification_deliveries order by seq"#
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    /// Returns the subjects of the mails to `person`, oldest first, up to the comma before the date.
    pub fn subjects(&self, person: &str) -> Vec<String> {
        let mails = self.mail.mails().into_iter().rev();
        let received = mails.filter(|mail| mail.to == [format!("{person}@example.org")]);
        received.map(|mail| mail.subject.split(',').next().unwrap().to_owned()).collect()
    }
}

/// Starts a mail server, and returns it with its settings.
pub async fn mail_server(running: &CancellationToken) -> (MailDev, Email) {
    let mail = MailDev::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let smtp_url = format!("smtp://{}", listener.local_addr().unwrap());
    tokio::spawn(mail.clone().serve(listener, running.clone()));
    let email = Email {
        smtp_url: smtp_url.into(),
        from: "Greenroom <no-reply@example.org>".parse().unwrap(),
        admin: Some("admin@example.org".parse().unwrap()),
    };
    (mail, email)
}

/// The answer to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Status(u16),
    /// A status, and the value of `Retry-After`.
    Later(u16, &'static str),
    /// A redirect to another path of the same receiver.
    Redirect,
    /// No answer, until the sender times out.
    Hang,
}

#[derive(Clone, Debug)]
pub struct Hit {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Hit {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub fn title(&self) -> String {
        self.json()["data"]["title"].as_str().unwrap_or_default().to_owned()
    }
}

type Decide = Box<dyn Fn(&Hit) -> Reply + Send>;

/// A receiver of webhooks with scripted answers.
#[derive(Clone)]
pub struct Hook {
    pub url: String,
    hits: Arc<Mutex<Vec<Hit>>>,
    reply: Arc<Mutex<Decide>>,
}

impl Hook {
    async fn start(running: &CancellationToken) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = Self {
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
            hits: Arc::default(),
            reply: Arc::new(Mutex::new(Box::new(|_| Reply::Status(200)))),
        };
        let router = Router::new().route("/{path}", post(receive)).with_state(hook.clone());
        let stopped = running.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        hook
    }

    pub fn settings(&self, allow_private: bool) -> Webhook {
        Webhook { url: self.url.parse().unwrap(), secrets: vec![SECRET.into()], allow_private }
    }

    pub fn replies(&self, reply: impl Fn(&Hit) -> Reply + Send + 'static) {
        *self.reply.lock() = Box::new(reply);
    }

    pub fn hits(&self) -> Vec<Hit> {
        self.hits.lock().clone()
    }
}

async fn receive(
    State(hook): State<Hook>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> axum::response::Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let hit = Hit { path: uri.path().to_owned(), headers, body };
    hook.hits.lock().push(hit.clone());
    let reply = (hook.reply.lock())(&hit);
    match reply {
        Reply::Status(status) => axum::http::StatusCode::from_u16(status).unwrap().into_response(),
        Reply::Later(status, after) => {
            let status = axum::http::StatusCode::from_u16(status).unwrap();
            (status, [("retry-after", after)]).into_response()
        }
        Reply::Redirect => axum::response::Redirect::to("/elsewhere").into_response(),
        Reply::Hang => std::future::pending().await,
    }
}
