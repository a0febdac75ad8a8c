//! E-mail addresses. One parser decides what counts as an address: for bookings, for tokens, and for sending.
//!
//! The syntax is that of lettre's `Address`, with the lengths and labels of RFC 5321. Also refused are an address literal
//! (`ada@[192.0.2.1]`) and a domain of one label (`ada@localhost`): they name one machine, and e-mails from other
//! machines do not reach it.

use std::{fmt, str::FromStr};

use lettre::Address;

/// RFC 5321 §4.5.3.1.1: octets of the part before the `@`.
const LONGEST_LOCAL_PART: usize = 64;
/// RFC 5321 §4.5.3.1.2.
const LONGEST_DOMAIN: usize = 255;
/// RFC 5321 §4.5.3.1.3: a path has 256 octets, the angle brackets included.
const LONGEST_ADDRESS: usize = 254;
/// RFC 1035 §2.3.4.
const LONGEST_LABEL: usize = 63;

/// An address as it is sent to a mail server: without surrounding blanks, its domain in lower case and, if it is not
/// ASCII, in punycode. The part before the `@` is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EmailAddress(Address);

/// The text is not an address that e-mails can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a valid e-mail address; give one address such as ada@example.org")]
pub struct InvalidEmail;

impl EmailAddress {
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }

    /// Whether the address needs a server with the extension SMTPUTF8 (RFC 6531): the part before the `@` is not ASCII.
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        !self.as_str().is_ascii()
    }
}

impl FromStr for EmailAddress {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let written: Address = text.trim().parse().map_err(|_| InvalidEmail)?;
        let (local_part, domain) = (written.user(), written.domain());
        // Bytes, not characters: SMTP limits octets.
        if local_part.len() > LONGEST_LOCAL_PART
            // Joiners are refused here, because IDNA checks only the domain.
            || local_part.chars().any(|character| is_hidden(character) || is_joiner(character))
            || domain.chars().any(is_hidden)
        {
            return Err(InvalidEmail);
        }
        // Punycode, because mail servers compare domains in ASCII.
        let domain = idna::domain_to_ascii(domain).map_err(|_| InvalidEmail)?;
        // Measured after the conversion: punycode is longer.
        if !is_host_name(&domain) || local_part.len() + 1 + domain.len() > LONGEST_ADDRESS {
            return Err(InvalidEmail);
        }
        // Parsed again: the converted address is the one that is sent.
        Address::new(local_part, domain).map(Self).map_err(|_| InvalidEmail)
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<EmailAddress> for Address {
    fn from(email: EmailAddress) -> Self {
        email.0
    }
}

/// RFC 5321 §2.3.5: a domain of two or more labels. The last label of an IP address is a number; the last label of a
/// domain is not.
fn is_host_name(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = domain.rsplit_once('.').map(|(_, last)| last);
    domain.len() <= LONGEST_DOMAIN
        && domain.split('.').all(is_label)
        // A domain without a dot has no last label, and is refused.
        && last.is_some_and(|last| !last.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Characters that RFC 6531 allows but that must not be in an address: blanks other than the ASCII blank (which is allowed
/// in quotes), control characters, and characters that are invisible or change the direction of writing.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || (character.is_whitespace() && character != ' ')
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}')
}

/// Joiners belong to the spelling of some languages; IDNA decides where they are allowed in a domain.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        text.parse::<EmailAddress>().ok().map(|email| email.to_string())
    }

    #[test]
    fn addresses_are_kept_trimmed_with_their_domain_in_ascii() {
        for (text, expected) in [
            ("ada@example.org", "ada@example.org"),
            (" \t ada@example.org \r\n", "ada@example.org"),
            ("\u{a0}ada@example.org\u{3000}", "ada@example.org"),
            ("Ada.Lovelace+x@Mail.Example.ORG", "Ada.Lovelace+x@mail.example.org"),
            ("a!#$%&'*+-/=?^_`{|}~b@example.org", "a!#$%&'*+-/=?^_`{|}~b@example.org"),
            ("\"a b\"@example.org", "\"a b\"@example.org"),
            ("\"a\\\"b@c\"@example.org", "\"a\\\"b@c\"@example.org"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
            ("ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
            ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
            ("ada@例え。テスト", "ada@xn--r8jz45g.xn--zckzah"),
            ("jürgen@example.org", "jürgen@example.org"),
            ("ada@1.example.org", "ada@1.example.org"),
            ("ada@greenroom.invalid", "ada@greenroom.invalid"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn unreachable_addresses_are_refused() {
        for text in [
            "",
            " ",
            "ada",
            "@example.org",
            "ada@",
            "ada@@example.org",
            "a@b@example.org",
            "a@example.org,b@example.org",
            "a@example.org, b@example.org",
            "a@example.org;b@example.org",
            "a@example.org b@example.org",
            ".b@example.org",
            "b.@example.org",
            "a..b@example.org",
            "b@example.org>",
            "<b@example.org>",
            "<b@example.org",
            "Ada <ada@example.org>",
            "\"Ada <ada@example.org>\"",
            "\"Ada\" <ada@example.org>",
            "mailto:ada@example.org?",
            "a b@example.org",
            "ada @example.org",
            "ada@ example.org",
            "ada@exam ple.org",
            "ada(comment)@example.org",
            "ada@(comment)example.org",
            "ada@example.org (Ada)",
            "\"\"@example.org",
            "\"a\"b@example.org",
            "\"a\nb\"@example.org",
            "\"a\tb\"@example.org",
            "ada\r\nbcc: eve@example.org",
            "ada\0@example.org",
            "ada@example.org.",
            "ada@.example.org",
            "ada@example..org",
            "ada@-example.org",
            "ada@example-.org",
            "ada@exa_mple.org",
            "ada@example.org:25",
            "ada@localhost",
            "ada@127.0.0.1",
            "ada@[127.0.0.1]",
            "ada@[IPv6:::1]",
            "ada@::1",
            "ada@example.123",
            "ada@xn--a.example",
            "ada@a\u{ff20}b.example",
            "ada\u{ff20}example.org",
            "a\u{200b}da@example.org",
            "a\u{200d}da@example.org",
            "a\u{202e}da@example.org",
            "a\u{a0}da@example.org",
            "a\u{85}da@example.org",
            "\u{feff}ada@example.org",
            "ada@exam\u{ad}ple.org",
            "ada@exam\u{200b}ple.org",
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    #[test]
    fn lengths_are_those_of_rfc_5321() {
        let domain = |octets: usize| {
            let labels = ["d".repeat(63), "d".repeat(63), "d".repeat(63), "d".repeat(octets - 3 * 64)];
            labels.join(".")
        };
        for text in [
            format!("{}@example.org", "a".repeat(64)),
            format!("ada@{}.org", "d".repeat(63)),
            format!("a@{}", domain(252)),
        ] {
            assert_eq!(parsed(&text).as_deref(), Some(text.as_str()));
        }
        for text in [
            format!("{}@example.org", "a".repeat(65)),
            format!("{}@example.org", "ä".repeat(33)),
            format!("ada@{}.org", "d".repeat(64)),
            format!("ada@{}.org", "ü".repeat(63)),
            format!("a@{}", domain(253)),
            format!("{}@{}", "a".repeat(64), domain(190 + 8)),
        ] {
            assert_eq!(parsed(&text), None, "{text}");
        }
    }

    #[test]
    fn only_local_parts_beyond_ascii_need_smtputf8() {
        let needs = |text: &str| text.parse::<EmailAddress>().unwrap().needs_smtputf8();
        assert!(needs("jürgen@example.org"));
        assert!(!needs("ada@bücher.example") && !needs("ada@example.org"));
    }
}
