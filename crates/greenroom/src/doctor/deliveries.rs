//! `doctor`'s checks of where notifications go: the mail server, and the product's own back end. Neither gets one.

use booking::{
    NotificationArgs,
    probe::{Step, mail_server, webhook_receiver},
};
use chassis::config::{Invalid, Problems, check};

use super::{Failure, Outcome, Report, Target};

pub async fn examine(target: &Target, report: &mut Report) {
    report.check("smtp", smtp(&target.deliveries)).await;
    report.check("webhook_receiver", receiver(&target.deliveries)).await;
}

/// Checks settings that have a value. What is wrong with them is what booking would say at its start.
fn checked<T>(settings: impl FnOnce(&mut Problems) -> Option<T>) -> Result<T, Failure> {
    check(settings).map_err(|invalid: Invalid| {
        Failure::new(
            format!("booking does not start with these settings: {}", invalid.in_one_line()),
            "correct the settings of booking (docs/settings.md)",
        )
    })
}

/// Whether a secret is set, as a value or as a file.
fn is_set(value: Option<&str>, file: Option<&str>) -> bool {
    [value, file].into_iter().flatten().any(|setting| !setting.trim().is_empty())
}

async fn smtp(args: &NotificationArgs) -> Outcome {
    if !is_set(args.smtp_url.as_deref(), args.smtp_url_file.as_deref()) {
        return Outcome::Skipped("SMTP_URL is not set, so no e-mail is sent".to_owned());
    }
    let email = match checked(|problems| args.check_email(problems)) {
        Ok(email) => email,
        Err(failure) => return Outcome::Failed(failure),
    };
    match mail_server(&email).await {
        Ok(()) => Outcome::Passed("The mail server accepts our connection (no e-mail was sent)".to_owned()),
        Err(failed) => Outcome::Failed(match failed.step {
            Step::Connect => Failure::new(
                format!("the mail server cannot be used: {}", failed.why),
                "check host, port and `tls=` of SMTP_URL, the server's certificate, and that no firewall is between",
            ),
            Step::SignIn => Failure::new(
                format!("the mail server refuses the user or the password: {}", failed.why),
                "check user and password of SMTP_URL (percent-encoded), and that the server offers AUTH on this port",
            ),
            Step::Noop => Failure::new(
                format!("the mail server closes the connection or refuses commands: {}", failed.why),
                "see the log of the mail server",
            ),
        }),
    }
}

async fn receiver(args: &NotificationArgs) -> Outcome {
    if !is_set(args.notify_webhook_url.as_deref(), args.notify_webhook_url_file.as_deref()) {
        return Outcome::Skipped("NOTIFY_WEBHOOK_URL is not set, so no webhook is sent".to_owned());
    }
    let webhook = match checked(|problems| args.check_webhook(problems)) {
        Ok(webhook) => webhook,
        Err(failure) => return Outcome::Failed(failure),
    };
    match webhook_receiver(&webhook).await {
        Ok(()) => {
            Outcome::Passed("The receiver of webhooks accepts connections (no event was sent)".to_owned())
        }
        Err(why) => Outcome::Failed(Failure::new(
            format!("the receiver of webhooks cannot be connected to: {why}"),
            "check NOTIFY_WEBHOOK_URL, the receiver's certificate, and that booking may connect to it",
        )),
    }
}
