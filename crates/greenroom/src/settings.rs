//! `greenroom settings`: writes docs/settings.md and .env.example from the definitions of the command line.
//!
//! Each setting is described once, at its field: the text, then `[default: …]` or `[always required]`, then further
//! paragraphs.

mod env;
mod markdown;

use std::process::ExitCode;

use chassis::config::{DatabaseArgs, InternalArgs, LiveKitArgs, ProcessArgs};
use clap::{Args, Command, CommandFactory, Subcommand};

use crate::{Cli, out::say};

#[derive(Subcommand)]
pub enum Settings {
    /// All settings as Markdown: docs/settings.md
    Markdown,
    /// The settings of a deployment with docker compose: .env.example
    Env,
}

pub fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    say(match settings {
        Settings::Markdown => markdown(),
        Settings::Env => env(),
    }
    .trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// docs/settings.md.
#[must_use]
pub fn markdown() -> String {
    markdown::written(&Cli::command())
}

/// `.env.example`.
#[must_use]
pub fn env() -> String {
    env::written(&Cli::command())
}

/// The environment variables that `greenroom <path>` reads, without the hidden ones, which only replaced systems set,
/// and without those of files ([`secrets_of`]).
#[must_use]
pub fn variables_of(path: &[&str]) -> Vec<String> {
    let settings = of(find(&Cli::command(), path));
    settings.into_iter().filter(|setting| setting.is_variable).map(|setting| setting.name).collect()
}

/// The variables among [`variables_of`] that are also read from a file, `<NAME>_FILE`.
#[must_use]
pub fn secrets_of(path: &[&str]) -> Vec<String> {
    let settings = of(find(&Cli::command(), path));
    settings.into_iter().filter(|setting| setting.has_file).map(|setting| setting.name).collect()
}

/// One setting, read from its field.
#[derive(Clone)]
struct Setting {
    /// `TOKEN_TTL`, or `--fresh` for a setting without a variable.
    name: String,
    is_variable: bool,
    /// A secret, which `<name>_FILE` may give instead.
    has_file: bool,
    /// `default: …` or `required…`, without brackets. Empty for a switch.
    marker: String,
    text: String,
}

fn find<'a>(root: &'a Command, path: &[&str]) -> &'a Command {
    path.iter().fold(root, |command, name| {
        // A path that does not exist gives the parent; a test compares the result with the document.
        command.get_subcommands().find(|found| found.get_name() == *name).unwrap_or(command)
    })
}

fn of(command: &Command) -> Vec<Setting> {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    // Positional arguments are not settings.
    let mut settings: Vec<_> = shown.filter(|argument| !argument.is_positional()).map(setting).collect();
    // A secret and its file are one setting.
    let names: Vec<String> = settings.iter().map(|setting| setting.name.clone()).collect();
    let is_known = |name: &str| names.iter().any(|known| known == name);
    settings.retain(|setting| !setting.name.strip_suffix("_FILE").is_some_and(is_known));
    for setting in &mut settings {
        setting.has_file = is_known(&format!("{}_FILE", setting.name));
    }
    settings
}

fn of_args<A: Args>() -> Vec<Setting> {
    of(&A::augment_args(Command::new("settings")))
}

fn setting(argument: &clap::Arg) -> Setting {
    let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
    let flag = argument.get_long().unwrap_or_default();
    let text = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let (marker, text) = split_marker(&text.replace("\n\n", " "));
    let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let takes_value = argument.get_action().takes_values();
    // The text of the field decides, because optional settings have their default in `check`.
    let marker = match marker {
        Some(marker) => marker,
        None if takes_value && !default.is_empty() => format!("default: `{}`", default.join(" ")),
        None => String::new(),
    };
    let is_variable = variable.is_some();
    let name = variable.unwrap_or_else(|| format!("--{flag}"));
    Setting { name, is_variable, has_file: false, marker, text }
}

/// Splits `[default: …]` or `[required…]` from the text around it.
fn split_marker(text: &str) -> (Option<String>, String) {
    let found = ["[default: ", "[required", "[always required"].iter().find_map(|start| text.find(start));
    // A marker without its bracket is left as text: the test of the document shows it.
    let Some((start, length)) = found.and_then(|start| Some((start, closing(&text[start..])?))) else {
        return (None, text.to_owned());
    };
    let marker = text[start + 1..start + length].trim_start_matches("always ").to_owned();
    let before = text[..start].trim_end();
    let after = text[start + length + 1..].trim().trim_end_matches('.');
    let between = if after.is_empty() || before.is_empty() { "" } else { ". " };
    (Some(marker), format!("{before}{between}{after}"))
}

/// The position of the bracket that closes the first character of the text. Brackets in code do not count.
fn closing(text: &str) -> Option<usize> {
    let mut is_code = false;
    text.char_indices().find_map(|(at, character)| {
        is_code ^= character == '`';
        (character == ']' && !is_code).then_some(at)
    })
}

/// Settings that several services share, in the order of the document.
fn shared() -> [(&'static str, Vec<Setting>); 3] {
    let process = [of_args::<ProcessArgs>(), of_args::<InternalArgs>()].concat();
    [
        ("Every service", process),
        ("Services with a database: booking, room-lifecycle, token, sync", of_args::<DatabaseArgs>()),
        ("LiveKit: room-lifecycle, token, doctor, diagnose, repair", of_args::<LiveKitArgs>()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_is_split_from_the_text_around_it() {
        let split = |text: &str| split_marker(text);
        assert_eq!(split("Plain"), (None, "Plain".to_owned()));
        assert_eq!(split("Why [default: `8`]"), (Some("default: `8`".into()), "Why".into()));
        assert_eq!(split("Why [always required] More."), (Some("required".into()), "Why. More".into()));
        let code = split("Keys, `key:secret[,…]` [default: `a[1]` or none]");
        assert_eq!(code, (Some("default: `a[1]` or none".into()), "Keys, `key:secret[,…]`".into()));
    }

    /// `greenroom` and each of its commands, with the commands below them.
    fn all(command: &Command) -> Vec<&Command> {
        [command].into_iter().chain(command.get_subcommands().flat_map(all)).collect()
    }

    #[test]
    fn secret_settings_can_be_read_from_files() {
        let mut secrets = std::collections::BTreeSet::new();
        for command in all(&Cli::command()) {
            let of_files: Vec<_> = of(command).into_iter().filter(|setting| setting.has_file).collect();
            for argument in command.get_arguments().filter(|argument| argument.is_hide_env_values_set()) {
                let name = setting(argument).name;
                let has_file = of_files.iter().any(|setting| setting.name == name);
                assert!(has_file, "{} reads {name}, and not {name}_FILE", command.get_name());
                secrets.insert(name);
            }
        }
        // A secret without `hide_env_values` would not be found above.
        for named in ["DATABASE_URL", "INTERNAL_TOKEN", "LIVEKIT_API_SECRET", "LINK_SECRET", "SMTP_URL"] {
            assert!(secrets.contains(named), "{named}");
        }
        let is_secret = |name: &String| ["SECRET", "TOKEN", "PASSWORD"].iter().any(|end| name.ends_with(end));
        for command in all(&Cli::command()) {
            for setting in of(command).into_iter().filter(|setting| setting.is_variable) {
                let is_known = !is_secret(&setting.name) || secrets.contains(&setting.name);
                assert!(is_known, "{} is a secret: `hide_env_values`", setting.name);
            }
        }
    }

    #[test]
    fn service_settings_have_text_and_default_or_required_marker() {
        let root = Cli::command();
        for service in find(&root, &["serve"]).get_subcommands() {
            for setting in of(service) {
                assert!(
                    !setting.marker.is_empty(),
                    "{}: `[default: …]` or `[always required]`",
                    setting.name
                );
                assert!(!setting.text.is_empty(), "{} has no text", setting.name);
            }
        }
    }
}
