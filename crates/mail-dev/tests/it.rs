//! mail-dev from the view of a mail client, byte by byte.

#![expect(clippy::unwrap_used, reason = "a test fails where its fixture is missing")]

use std::{io::Read, time::Duration};

use mail_dev::{Fault, MailDev};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

struct Client {
    mail: MailDev,
    stream: BufStream<TcpStream>,
    _running: DropGuard,
}

impl Client {
    async fn new() -> Self {
        let (mail, running) = (MailDev::new(), CancellationToken::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(mail.clone().serve(listener, running.clone()));
        let stream = BufStream::new(TcpStream::connect(address).await.unwrap());
        let mut client = Self { mail, stream, _running: running.drop_guard() };
        assert_eq!(client.answer().await, "220");
        client
    }

    /// Reads one answer, which may have several lines, and returns its code.
    async fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.chars().take(3).collect();
            }
        }
    }

    async fn says(&mut self, text: &str) -> String {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.write_all(b"\r\n").await.unwrap();
        self.stream.flush().await.unwrap();
        self.answer().await
    }

    async fn begins_mail(&mut self) {
        for command in ["EHLO test", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>"] {
            assert_eq!(self.says(command).await, "250", "{command}");
        }
    }
}

#[tokio::test]
async fn mail_is_kept_decoded() {
    let mut client = Client::new().await;
    client.begins_mail().await;
    assert_eq!(client.says("DATA").await, "354");
    let raw = "Subject: =?utf-8?q?H=C3=A9?=\r\nMessage-ID: <1@example.org>\r\n\r\n..dots\r\nend\r\n.";
    assert_eq!(client.says(raw).await, "250");
    assert_eq!(client.says("QUIT").await, "221");
    let mails = client.mail.mails();
    assert_eq!((client.mail.taken(), mails.len()), (1, 1));
    assert_eq!((mails[0].subject.as_str(), mails[0].message_id.as_str()), ("Hé", "1@example.org"));
    assert_eq!(mails[0].text.trim_end(), ".dots\r\nend");
    assert_eq!(mails[0].to, ["b@example.org"]);
}

#[tokio::test]
async fn out_of_order_commands_and_large_mails_are_refused() {
    let mut client = Client::new().await;
    assert_eq!(client.says("DATA").await, "503");
    assert_eq!(client.says("RCPT TO:<b@example.org>").await, "503");
    assert_eq!(client.says("STARTTLS").await, "502");
    client.begins_mail().await;
    assert_eq!(client.says("DATA").await, "354");
    let line = format!("{}\r\n", "x".repeat(990));
    assert_eq!(client.says(&format!("{}.", line.repeat(1100))).await, "552");
    assert_eq!(client.mail.taken(), 0);
    assert_eq!(client.says("NOOP").await, "250", "the connection continues");
}

#[tokio::test]
async fn recipient_with_a_fault_is_refused() {
    let mut client = Client::new().await;
    client.mail.fault("b@example.org", Some(Fault::Refuse(450)));
    assert_eq!(client.says("MAIL FROM:<a@example.org>").await, "250");
    assert_eq!(client.says("RCPT TO:<b@example.org>").await, "450");
    assert_eq!(client.says("RCPT TO:<c@example.org>").await, "250");
    client.mail.fault("b@example.org", None);
    assert_eq!(client.says("RCPT TO:<b@example.org>").await, "250");
}

#[tokio::test]
async fn only_the_newest_mails_are_kept() {
    let mut client = Client::new().await;
    for number in 0..210 {
        client.begins_mail().await;
        assert_eq!(client.says("DATA").await, "354", "mail {number}");
        assert_eq!(client.says(&format!("Subject: {number}\r\n\r\n\r\n.")).await, "250", "mail {number}");
    }
    let mails = client.mail.mails();
    assert_eq!((client.mail.taken(), mails.len(), mails[0].subject.as_str()), (210, 200, "209"));
}

#[tokio::test]
async fn serve_ends_after_its_last_connection() {
    let running = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(MailDev::new().serve(listener, running.clone()));
    let mut stream = BufStream::new(TcpStream::connect(address).await.unwrap());
    stream.read_line(&mut String::new()).await.unwrap();
    running.cancel();
    serving.await.unwrap();
    // One thread runs all of this: a connection that was not closed yet would still be open.
    let mut stream = stream.into_inner().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(stream.read(&mut [0]).ok(), Some(0));
}
