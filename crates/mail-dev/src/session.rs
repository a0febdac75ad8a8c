//! One SMTP connection (RFC 5321): what clients need, without relaying and TLS. Every sign-in succeeds.

use std::{io, sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
    time::timeout,
};

use crate::{At, Fault, MailDev};

/// RFC 5321 §4.5.3.1 allows 512 bytes for commands and 1,000 for text; some clients send longer lines.
const LINE: u64 = 4 * 1024;
const MAIL: usize = 1024 * 1024;
const RECIPIENTS: usize = 100;
/// A client that is silent for this long is disconnected.
const SILENCE: Duration = Duration::from_mins(5);

type Stream = BufStream<TcpStream>;

pub(crate) async fn run(server: MailDev, stream: TcpStream) -> io::Result<()> {
    let mut stream = BufStream::new(stream);
    answer(&server, &mut stream, At::Greeting, &[], "220 mail-dev ESMTP").await?;
    let mut recipients: Option<Vec<String>> = None;
    while let Some(line) = read_line(&mut stream).await? {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match (verb.as_str(), &mut recipients) {
            ("EHLO", _) => {
                recipients = None;
                say(&mut stream, &hello(&server)).await?;
            }
            ("HELO" | "RSET", _) => {
                recipients = None;
                say(&mut stream, "250 ok").await?;
            }
            ("NOOP", _) => say(&mut stream, "250 ok").await?,
            ("AUTH", _) => {
                answer(&server, &mut stream, At::SignIn, &[], "235 2.7.0 welcome").await?;
            }
            ("MAIL", _) => {
                server.0.senders.fetch_add(1, Ordering::SeqCst);
                let is_taken = answer(&server, &mut stream, At::Sender, &[], "250 ok").await?;
                recipients = is_taken.then(Vec::new);
            }
            ("RCPT", Some(to)) if to.len() < RECIPIENTS => {
                let recipient = vec![address(&line).to_owned()];
                if let Some(Fault::Refuse(code)) = server.fault_of(&recipient[0]) {
                    say(&mut stream, &format!("{code} refused on purpose")).await?;
                } else if answer(&server, &mut stream, At::Recipient, &recipient, "250 ok").await? {
                    to.extend(recipient);
                }
            }
            ("DATA", Some(to)) if !to.is_empty() => {
                let to = std::mem::take(to);
                recipients = None;
                data(&server, &mut stream, to).await?;
            }
            ("QUIT", _) => return say(&mut stream, "221 bye").await,
            ("RCPT" | "DATA", _) => say(&mut stream, "503 not now").await?,
            _ => say(&mut stream, "502 not known here").await?,
        }
    }
    Ok(())
}

fn hello(server: &MailDev) -> String {
    let mut lines = vec!["mail-dev"];
    lines.extend(server.extensions());
    format!("250-{}\r\n250 SIZE 1048576", lines.join("\r\n250-"))
}

/// Sends `otherwise`, unless a fault is set for this step. Returns whether there was no fault.
async fn answer(
    server: &MailDev,
    stream: &mut Stream,
    here: At,
    to: &[String],
    otherwise: &str,
) -> io::Result<bool> {
    let fault = match to {
        [] => server.fault_of(""),
        to => to.iter().find_map(|recipient| server.fault_of(recipient)),
    };
    match fault {
        Some(Fault::Answer(at, line)) if at == here => say(stream, line).await.map(|()| false),
        Some(Fault::Close(at)) if at == here => Err(io::ErrorKind::ConnectionAborted.into()),
        _ => say(stream, otherwise).await.map(|()| true),
    }
}

async fn data(server: &MailDev, stream: &mut Stream, to: Vec<String>) -> io::Result<()> {
    if !answer(server, stream, At::Data, &to, "354 go on").await? {
        return Ok(());
    }
    let Some(raw) = read_mail(stream).await? else {
        return say(stream, "552 too large").await;
    };
    let fault = to.iter().find_map(|recipient| server.fault_of(recipient));
    match fault {
        Some(Fault::Hang) => {}
        Some(Fault::Answer(At::Content, _) | Fault::Close(At::Content)) => {
            return answer(server, stream, At::Content, &to, "").await.map(drop);
        }
        _ => server.take(to, &raw),
    }
    if matches!(fault, Some(Fault::Hang | Fault::TakeAndHang)) {
        let mut end = Vec::new();
        stream.read_to_end(&mut end).await?; // until the client disconnects
        return Ok(());
    }
    say(stream, "250 taken").await
}

/// `RCPT TO:<address> …`
fn address(line: &str) -> &str {
    line.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>')).map_or("", |(address, _)| address)
}

/// Reads up to the line with a single dot, and unstuffs dots. None: too large, but read to its end.
async fn read_mail(stream: &mut Stream) -> io::Result<Option<Vec<u8>>> {
    let mut raw = Vec::new();
    let mut fits = true;
    while let Some(line) = read_line(stream).await? {
        if line == b".\r\n" {
            return Ok(fits.then_some(raw));
        }
        fits &= raw.len() + line.len() <= MAIL;
        if fits {
            raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Returns None at the end of the connection. A line longer than `LINE` is an error and ends the connection.
async fn read_line(stream: &mut Stream) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut bounded = stream.take(LINE);
    let read = timeout(SILENCE, bounded.read_until(b'\n', &mut line)).await;
    match read?? {
        0 => Ok(None),
        _ if line.ends_with(b"\n") => Ok(Some(line)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn say(stream: &mut Stream, line: &str) -> io::Result<()> {
    stream.write_all(line.as_bytes()).await?;
    stream.write_all(b"\r\n").await?;
    stream.flush().await
}
