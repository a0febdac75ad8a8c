//! Interprets a mail server's answer: it concerns this mail, this recipient, or the server as a whole (decision 0016).

use std::{error::Error, fmt};

use lettre::transport::smtp;

use super::sent::Sent;

/// The stage that a mail reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Connecting, TLS, the greeting and the authentication.
    Connect,
    /// `MAIL FROM`: the server knows only the sender.
    Sender,
    Recipient,
    Content,
}

#[derive(Debug)]
pub enum Trouble {
    /// An error answer, a broken connection, or an answer that is not SMTP.
    Smtp(smtp::Error),
    Timeout,
    /// The server lacks this extension, and the address of the recipient needs it.
    Recipient(&'static str),
    /// The server lacks this extension, and the address in `MAIL_FROM` needs it.
    Sender(&'static str),
}

impl From<smtp::Error> for Trouble {
    fn from(error: smtp::Error) -> Self {
        Self::Smtp(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smtp(error) => formatter.write_str(&chassis::chain::chain(error)),
            Self::Timeout => formatter.write_str("no answer in time"),
            Self::Recipient(extension) | Self::Sender(extension) => {
                write!(formatter, "the mail server does not offer {extension}")
            }
        }
    }
}

impl Trouble {
    /// Whether the connection can be used for the next command.
    pub fn is_answer(&self) -> bool {
        match self {
            Self::Smtp(error) => error.status().is_some_and(|code| u16::from(code) != CLOSING),
            Self::Recipient(_) | Self::Sender(_) => true,
            Self::Timeout => false,
        }
    }
}

#[derive(Debug)]
pub struct Failure {
    pub stage: Stage,
    pub trouble: Trouble,
}

/// "Service not available, closing transmission channel" (RFC 5321 §4.2.3); an answer to any command.
const CLOSING: u16 = 421;
/// The server requires authentication, or another mechanism (RFC 4954 §6).
const SIGN_IN: [u16; 4] = [530, 534, 535, 538];
/// The codes that concern a mailbox, in answers without an enhanced status (RFC 5321 §4.2.2).
const MAILBOX: [u16; 3] = [550, 551, 553];

impl From<Failure> for Sent {
    fn from(Failure { stage, trouble }: Failure) -> Self {
        match trouble {
            Trouble::Recipient(extension) => Self::Hopeless(format!(
                "the mail server does not offer {extension}, which this address needs"
            )),
            Trouble::Sender(extension) => {
                Self::Refused(format!("the mail server does not offer {extension}, which MAIL_FROM needs"))
            }
            Trouble::Timeout => unanswered(stage, "no answer in time".to_owned()),
            Trouble::Smtp(error) => match error.status().map(u16::from) {
                Some(code) if code != CLOSING => answered(stage, code, &words(&error), error.to_string()),
                _ => unanswered(stage, error.to_string()),
            },
        }
    }
}

/// The server stopped answering or closed the connection. After it knows the recipient, the recipient may be the cause.
fn unanswered(stage: Stage, why: String) -> Sent {
    match stage {
        Stage::Connect | Stage::Sender => Sent::Unreachable(why),
        Stage::Recipient | Stage::Content => Sent::Unanswered(why),
    }
}

fn answered(stage: Stage, code: u16, words: &str, why: String) -> Sent {
    match stage {
        Stage::Connect => Sent::Unreachable(why),
        Stage::Sender if SIGN_IN.contains(&code) => Sent::Unreachable(why),
        Stage::Recipient | Stage::Content if is_about_recipient(code, words) => Sent::Rejected(why),
        Stage::Sender | Stage::Recipient | Stage::Content => Sent::Refused(why),
    }
}

/// Returns the server's text after the code.
fn words(error: &smtp::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// Whether an answer means that this address will never accept a mail. The enhanced status decides (RFC 3463: 5.1
/// except for the sender's address, 5.2 and 5.4); without one, the code decides. Other answers may concern the sending
/// server ("554 5.7.1 Relay access denied"). If they were final, the mails to all recipients would be given up.
fn is_about_recipient(code: u16, words: &str) -> bool {
    let is_permanent = (500..600).contains(&code);
    match words.split_whitespace().find_map(enhanced_status) {
        Some([5, 1, 7 | 8]) => false,
        Some([5, 1 | 2 | 4, _]) => is_permanent,
        Some(_) => false,
        None => MAILBOX.contains(&code),
    }
}

/// Parses an enhanced status (RFC 3463 §2). Some servers write it as `#5.1.1`, or with a colon after it.
fn enhanced_status(word: &str) -> Option<[u16; 3]> {
    let word = word.trim_matches(|character: char| !character.is_ascii_digit());
    let mut parts = word.split('.').map(|part| part.parse::<u16>().ok().filter(|_| part.len() <= 3));
    let status = [parts.next()??, parts.next()??, parts.next()??];
    (parts.next().is_none() && matches!(status[0], 2 | 4 | 5)).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(stage: Stage, code: u16, words: &str) -> Sent {
        answered(stage, code, words, String::new())
    }

    #[test]
    fn answers_about_the_recipient_are_final() {
        for (code, words) in [
            (550, "no such user"),
            (550, "5.1.1 User unknown"),
            (554, "5.1.1 User unknown in relay recipient table"),
            (501, "5.1.3 Bad recipient address syntax"),
            (556, "5.1.10 Recipient address has null MX"),
            (552, "5.2.2 Mailbox full"),
            (550, "5.4.1 Recipient address rejected: Access denied"),
            (550, "5.4.4 Unable to route"),
            (550, "#5.1.0 Address rejected"),
            (550, "<bob@example.org>: 5.1.1: unknown"),
            (551, ""),
            (553, "mailbox name not allowed"),
        ] {
            for stage in [Stage::Recipient, Stage::Content] {
                assert_eq!(
                    after(stage, code, words),
                    Sent::Rejected(String::new()),
                    "{stage:?} {code} {words}"
                );
            }
            assert_eq!(after(Stage::Sender, code, words), Sent::Refused(String::new()), "{code} {words}");
        }
    }

    #[test]
    fn other_answers_to_a_mail_are_retried() {
        for (code, words) in [
            (554, "5.7.1 Relay access denied"),
            (553, "5.7.1 Sender address rejected: not owned by user"),
            (550, "5.7.26 unauthenticated mail"),
            (550, "5.1.7 Bad sender's mailbox address syntax"),
            (550, "5.1.8 Sender's domain not found"),
            (550, "5.3.4 Message too big for system"),
            (550, "4.7.1 Greylisted"),
            (554, "transaction failed"),
            (552, "too much mail data"),
            (503, "5.5.1 Bad sequence of commands"),
            (450, "4.2.1 Mailbox busy"),
            (450, "5.1.1 first seen"),
            (451, "greylisted"),
            (452, "4.3.1 Insufficient system storage"),
        ] {
            for stage in [Stage::Sender, Stage::Recipient, Stage::Content] {
                assert_eq!(
                    after(stage, code, words),
                    Sent::Refused(String::new()),
                    "{stage:?} {code} {words}"
                );
            }
        }
    }

    #[test]
    fn answers_before_a_mail_concern_the_server() {
        for (code, words) in [
            (550, "5.1.1 go away"),
            (554, "no SMTP service here"),
            (535, "5.7.8 Authentication failed"),
            (454, "4.7.0 Temporary authentication failure"),
        ] {
            assert_eq!(
                after(Stage::Connect, code, words),
                Sent::Unreachable(String::new()),
                "{code} {words}"
            );
        }
        for code in SIGN_IN {
            assert_eq!(after(Stage::Sender, code, "5.7.0"), Sent::Unreachable(String::new()), "{code}");
        }
    }

    #[test]
    fn timeouts_concern_the_server_and_maybe_the_recipient() {
        let timed_out = |stage| Sent::from(Failure { stage, trouble: Trouble::Timeout });
        for stage in [Stage::Connect, Stage::Sender] {
            assert!(matches!(timed_out(stage), Sent::Unreachable(_)), "{stage:?}");
        }
        for stage in [Stage::Recipient, Stage::Content] {
            assert!(matches!(timed_out(stage), Sent::Unanswered(_)), "{stage:?}");
        }
    }

    #[test]
    fn enhanced_status_is_three_numbers() {
        for word in ["5.1.1", "#5.1.1", "5.1.1:", "[5.1.1]", "(5.1.1)."] {
            assert_eq!(enhanced_status(word), Some([5, 1, 1]), "{word}");
        }
        for word in
            ["", ".", "5.1", "5.1.1.1", "1.1.1", "192.0.2.1", "5.1.x", "5.1.1000", "5..1", "rfc5.1.1a.2"]
        {
            assert_eq!(enhanced_status(word), None, "{word}");
        }
    }
}
