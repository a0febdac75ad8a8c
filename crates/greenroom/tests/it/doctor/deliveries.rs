//! The mail server and the receiver of webhooks.

use mail_dev::{At, Fault, MailDev};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_util::sync::CancellationToken;

use super::examine;
use crate::world::World;

const FROM: (&str, &str) = ("MAIL_FROM", "Greenroom <no-reply@example.org>");
const SECRET: (&str, &str) = ("NOTIFY_WEBHOOK_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
const NO_API: (&str, &str) = ("API_URL", "");

#[testkit::test]
async fn mail_server_is_asked_without_sending_a_mail(world: World) {
    let mail = MailDev::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    tokio::spawn(mail.clone().serve(listener, CancellationToken::new()));
    let smtp = async |url: String| examine(&world, &[], &[("SMTP_URL", url.as_str()), FROM, NO_API]).await;

    smtp(format!("smtp://{server}")).await.assert("smtp", "passed", "no e-mail was sent");
    smtp(format!("smtp://{server}?tls=required")).await.assert("smtp", "failed", "cannot be used");
    let signed_in = format!("smtp://ana:sesame@{server}");
    smtp(signed_in.clone()).await.assert("smtp", "failed", "refuses the user or the password");
    mail.offer(&["AUTH PLAIN"]);
    smtp(signed_in.clone()).await.assert("smtp", "passed", "");
    mail.fault("", Some(Fault::Answer(At::SignIn, "535 5.7.8 wrong")));
    let found = smtp(signed_in).await;
    found.assert("smtp", "failed", "5.7.8");
    assert!(!found.report.to_string().contains("sesame"), "the password is not printed");
    mail.fault("", Some(Fault::Answer(At::Greeting, "554 no service")));
    smtp(format!("smtp://{server}")).await.assert("smtp", "failed", "cannot be used");
    smtp("smtp://127.0.0.1:1".to_owned()).await.assert("smtp", "failed", "cannot be used");
    assert_eq!((mail.taken(), mail.senders()), (0, 0), "no mail was begun");

    let found = examine(&world, &[], &[("SMTP_URL", "smtp://127.0.0.1:1"), NO_API]).await;
    found.assert("smtp", "failed", "MAIL_FROM: is missing");
}

#[testkit::test]
async fn webhook_receiver_is_connected_to_without_a_request(world: World) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        // It ends when the client closes the connection.
        let _ = socket.read_to_end(&mut bytes).await;
        // The next one asks for TLS, which this server does not have.
        let (socket, _) = listener.accept().await.unwrap();
        drop(socket);
        bytes
    });
    let receiver = async |url: &str, private: &str| {
        let settings =
            [("NOTIFY_WEBHOOK_URL", url), SECRET, ("NOTIFY_WEBHOOK_ALLOW_PRIVATE", private), NO_API];
        examine(&world, &[], &settings).await
    };
    let url = format!("http://{address}/hook");
    receiver(&url, "true").await.assert("webhook_receiver", "passed", "no event was sent");
    let found = receiver(&format!("https://{address}/hook-secret"), "true").await;
    found.assert("webhook_receiver", "failed", "cannot be connected to");
    assert!(!found.report.to_string().contains("hook-secret"), "the URL may have a secret");
    assert_eq!(received.await.unwrap(), b"", "nothing was sent");
    receiver(&url, "true").await.assert("webhook_receiver", "failed", "cannot be connected to");
    receiver(&url, "false").await.assert(
        "webhook_receiver",
        "failed",
        "not an address of the public internet",
    );
}
