//! Checks of the mail server and of the receiver of webhooks, for `greenroom doctor`. Nothing is sent to a user: each
//! check uses the connection of a delivery, and stops before the delivery.

use crate::{
    Email, Webhook,
    outbox::{smtp::MailServer, webhook::Hook},
};
use secrecy::ExposeSecret;

pub use crate::outbox::smtp::Step;

/// Why a mail server could not be used.
#[derive(Debug)]
pub struct MailFailure {
    /// The step that failed.
    pub step: Step,
    /// For people, without the password.
    pub why: String,
}

/// Connects to the mail server as a delivery does: TLS, AUTH, then NOOP and QUIT. Sends no e-mail.
///
/// # Errors
/// The step that failed.
pub async fn mail_server(settings: &Email) -> Result<(), MailFailure> {
    let server = MailServer::parse(settings.smtp_url.expose_secret())
        .map_err(|wrong| MailFailure { step: Step::Connect, why: format!("SMTP_URL {wrong}") })?;
    server.probe().await.map_err(|(step, trouble)| MailFailure { step, why: trouble.to_string() })
}

/// Connects to the receiver of webhooks as a delivery does, over TLS if its URL is https. Sends no request.
///
/// # Errors
/// Why there is no connection, for people, without the URL.
pub async fn webhook_receiver(settings: &Webhook) -> Result<(), String> {
    Hook::connect(settings).await
}
