//! What `up` prints once it is ready, and `greenroom status` prints again: addresses, tokens, and how to stop.

use std::{
    env,
    fmt::{self, Display},
    path::Path,
};

use super::{DEFAULT_DATA_DIR, data_dir::ENVIRONMENT, environment::Environment};

pub struct Screen<'a> {
    environment: &'a Environment,
    /// The start of a command line of this program.
    program: String,
    /// The option that names the data directory, with a space before it. Empty for the default.
    option: String,
    settings: String,
}

impl<'a> Screen<'a> {
    pub fn new(environment: &'a Environment, data_dir: &Path) -> Self {
        let program = env::args().next().unwrap_or_else(|| "greenroom".to_owned());
        let option = if data_dir == Path::new(DEFAULT_DATA_DIR) {
            String::new()
        } else {
            format!(" --data-dir {}", quoted(&data_dir.to_string_lossy()))
        };
        let settings = quoted(&data_dir.join(ENVIRONMENT).to_string_lossy());
        Self { environment, program: quoted(&program), option, settings }
    }

    fn tokens(&self, f: &mut fmt::Formatter<'_>, url: &str) -> fmt::Result {
        let Self { program, option, .. } = self;
        if self.environment.get("SIGN_IN_URL").is_none() {
            return writeln!(f, "Tokens come from your identity provider; there is no development sign-in.");
        }
        writeln!(f, "Tokens for two people, and a first request, in another shell:")?;
        writeln!(f, "  ANA=$({program} token ana{option})")?;
        writeln!(f, "  BEN=$({program} token ben{option})")?;
        writeln!(f, "  curl -H \"authorization: Bearer $ANA\" {url}/api/bookings")?;
        writeln!(f, "For an admin: {program} token ada --admin{option}")
    }
}

impl Display for Screen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment, program, option, settings } = self;
        let url = environment.get("API_URL").unwrap_or_default();
        let docs = format!("{url}/docs");
        let places = [
            ("API", Some(url)),
            ("docs", Some(docs.as_str())),
            ("inbox", environment.get("INBOX_URL")),
            ("LiveKit", environment.get("LIVEKIT_WS_URL")),
            ("metrics", environment.get("METRICS_URL")),
        ];
        for (name, place) in places.into_iter().filter_map(|(name, place)| Some((name, place?))) {
            writeln!(f, "  {name:<8} {place}")?;
        }
        writeln!(f)?;
        self.tokens(f, url)?;
        writeln!(f)?;
        writeln!(f, "Settings for psql, doctor and repair: (set -a; . {settings}; {program} doctor)")?;
        writeln!(f, "This text again: {program} status{option}")?;
        write!(f, "Stop: Ctrl-C")?;
        match environment.get("UP_PID") {
            Some(pid) => write!(f, " in the terminal of `up`, or kill {pid}"),
            None => Ok(()),
        }
    }
}

/// The text as one word of a shell.
pub fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    // A quote cannot be inside single quotes: it is written between two quoted parts.
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(settings: &[(&'static str, &str)], data_dir: &str) -> String {
        let settings = settings.iter().map(|&(name, value)| (name, value.to_owned()));
        Screen::new(&Environment::new(settings), Path::new(data_dir)).to_string()
    }

    #[test]
    fn commands_name_a_data_directory_that_is_not_the_default() {
        let settings =
            [("API_URL", "http://127.0.0.1:8080"), ("SIGN_IN_URL", "http://127.0.0.1:8080/dev/sign-in")];
        let usual = shown(&settings, ".data");
        assert!(!usual.contains("--data-dir") && usual.contains(". .data/env;"), "{usual}");
        let other = shown(&settings, "my data");
        for part in ["token ana --data-dir 'my data')", "status --data-dir 'my data'\n", ". 'my data/env';"] {
            assert!(other.contains(part), "{part}: {other}");
        }
    }

    #[test]
    fn absent_development_routes_are_not_listed() {
        let settings = [("API_URL", "http://127.0.0.1:8080"), ("SIGN_IN_URL", ""), ("INBOX_URL", "")];
        let text = shown(&settings, ".data");
        assert!(!text.contains("inbox") && !text.contains(" token ana"), "{text}");
        assert!(text.contains("identity provider"), "{text}");
    }
}
