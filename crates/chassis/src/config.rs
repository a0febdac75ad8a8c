//! Settings from the command line or the environment. They are checked at start, and all problems are listed at once.
//!
//! A service's `Args` derive `clap::Args` with a documented `Option<String>` per setting, so that clap itself never stops
//! at the first problem. `check` converts them into a typed `Config` and collects what is wrong. A secret has a second
//! field for its file, [`Problems::secret_file`].

mod args;
mod files;

use std::{fmt, net::SocketAddr, ops::RangeInclusive, str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use tonic::transport::Endpoint;
use url::Url;

pub use args::{
    DatabaseArgs, InternalArgs, LiveKit, LiveKitArgs, Otlp, Process, ProcessArgs, ServiceArgs, token_ttl,
};

/// What is wrong with the settings, one line each.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

/// All problems of the settings; `Display` lists them.
#[derive(Debug, thiserror::Error)]
pub struct Invalid(Vec<String>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} problem(s) with the settings:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Invalid {
    /// The problems in one line, for a report that has other lines too.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        self.0.join("; ")
    }
}

impl Problems {
    pub fn add(&mut self, setting: &str, problem: impl fmt::Display) {
        let line = format!("{setting}: {problem}");
        if !self.0.contains(&line) {
            self.0.push(line); // services of one process share settings: list it once
        }
    }

    /// A required setting; blank counts as missing.
    pub fn required(&mut self, setting: &str, value: Option<String>) -> Option<String> {
        let value = non_blank(value);
        if value.is_none() && !self.is_file_refused(setting) {
            self.add(setting, "is missing");
        }
        value
    }

    /// A setting with a default; the value is parsed with `FromStr`.
    pub fn parse<T: FromStr>(&mut self, setting: &str, value: Option<&str>, default: T) -> T
    where
        T::Err: fmt::Display,
    {
        // Trimmed first: values from files often end with a line break.
        match value.map(str::trim).filter(|value| !value.is_empty()).map(str::parse) {
            None => default,
            Some(Ok(parsed)) => parsed,
            Some(Err(error)) => {
                self.add(setting, error);
                default
            }
        }
    }

    /// `90s`, `15min`, `2h` …
    pub fn duration(&mut self, setting: &str, value: Option<&str>, default: Duration) -> Duration {
        self.parse(setting, value, humantime::Duration::from(default)).into()
    }

    /// A duration within `bounds`; `bounds_text` describes them for people.
    pub fn duration_in(
        &mut self,
        setting: &str,
        value: Option<&str>,
        default: Duration,
        bounds: RangeInclusive<Duration>,
        bounds_text: &str,
    ) -> Duration {
        let duration = self.duration(setting, value, default);
        if !bounds.contains(&duration) {
            self.add(setting, format_args!("must be {bounds_text}"));
        }
        duration
    }

    /// The address to listen on, by default `port` on all interfaces.
    pub fn listen(&mut self, setting: &str, value: Option<&str>, port: u16) -> SocketAddr {
        self.parse(setting, value, ([0, 0, 0, 0], port).into())
    }

    /// The address of another service: `http://host:port`.
    pub fn peer(&mut self, setting: &str, value: Option<String>) -> Option<Endpoint> {
        let url = self.url(setting, value, &["http"])?;
        Endpoint::from_shared(url.to_string()).map_err(|error| self.add(setting, error)).ok()
    }

    /// A required secret of at least `least` bytes. The value never appears in the problem.
    pub fn secret(&mut self, setting: &str, value: Option<String>, least: usize) -> Option<SecretString> {
        let value = SecretString::from(self.required(setting, value)?);
        if value.expose_secret().len() < least {
            self.add(setting, format_args!("must have at least {least} bytes"));
        }
        Some(value)
    }

    /// A required absolute URL with one of `schemes`.
    pub fn url(&mut self, setting: &str, value: Option<String>, schemes: &[&str]) -> Option<Url> {
        let value = self.required(setting, value)?;
        match Url::parse(&value) {
            // `has_host` refuses `postgres:name`, which parses as a URL without a host.
            Ok(url) if schemes.contains(&url.scheme()) && url.has_host() => return Some(url),
            Ok(_) => {
                self.add(setting, format_args!("must be a URL that starts with {}", schemes.join(" or ")));
            }
            Err(error) => self.add(setting, error),
        }
        None
    }

    /// As [`Self::url`], without a slash at the end, so that paths can be appended.
    pub fn base_url(&mut self, setting: &str, value: Option<String>, schemes: &[&str]) -> Option<String> {
        self.url(setting, value, schemes).map(|url| url.as_str().trim_end_matches('/').to_owned())
    }

    /// Returns `Ok` when no problem was added.
    pub fn into_result(self) -> Result<(), Invalid> {
        if self.0.is_empty() { Ok(()) } else { Err(Invalid(self.0)) }
    }
}

/// A setting that may be absent; blank counts as missing.
#[must_use]
pub fn non_blank(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.trim().is_empty())
}

/// Runs `check` and returns either the settings or every problem.
pub fn check<T>(check: impl FnOnce(&mut Problems) -> Option<T>) -> Result<T, Invalid> {
    let mut problems = Problems::default();
    let checked = check(&mut problems);
    // `check` returns None for what it could not build. The problems say why, so they are returned first.
    problems.into_result()?;
    // Not reached while each None adds a problem. A forgotten one must not start the process.
    checked.ok_or_else(|| Invalid(vec!["a setting is missing".to_owned()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_listed_at_once_and_no_secret_is_printed() {
        let args = LiveKitArgs {
            livekit_api_secret: Some("short-secret".into()),
            livekit_ws_url: Some("http://wrong".into()),
            ..LiveKitArgs::default()
        };
        let error = check(|problems| {
            problems.duration("TOKEN_TTL", Some("soon"), Duration::ZERO);
            let _ = DatabaseArgs::default().check("greenroom_token", problems);
            args.check(problems)
        })
        .unwrap_err()
        .to_string();
        for setting in
            ["TOKEN_TTL", "DATABASE_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_WS_URL"]
        {
            assert!(error.contains(setting), "{setting} is not in: {error}");
        }
        assert!(!error.contains("short-secret"));
    }

    #[test]
    fn peers_are_http_and_bases_have_no_slash_at_the_end() {
        let peer = |url: &str| check(|problems| problems.peer("ROOM_URL", Some(url.to_owned())));
        assert_eq!(peer("http://room:50052").unwrap().uri().host(), Some("room"));
        for wrong in ["", " ", "no url", "room:50052", "https://room:50052", "http://"] {
            assert!(peer(wrong).unwrap_err().to_string().contains("ROOM_URL"), "{wrong}");
        }
        let base =
            check(|problems| problems.base_url("APP_URL", Some("https://a.example/x/".into()), &["https"]));
        assert_eq!(base.unwrap(), "https://a.example/x");
    }
}
