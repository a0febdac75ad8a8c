//! The file `env` of the data directory: settings of the running `up`, for shells and for other commands.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

use anyhow::{Context, bail};

use super::data_dir;

/// Settings by name. Blank counts as missing.
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    pub fn new<N: Into<String>>(settings: impl IntoIterator<Item = (N, String)>) -> Self {
        Self(settings.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// Reads the settings of the `up` that runs on this directory. The error says what to do when none does.
    pub fn of_running(dir: &Path) -> anyhow::Result<Self> {
        let shown = dir.display();
        if !data_dir::is_in_use(dir)? {
            bail!(
                "no `greenroom up` runs on the data directory {shown}: start one with `make run`, or name another --data-dir"
            );
        }
        let file = dir.join(data_dir::ENVIRONMENT);
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!(
                    "`greenroom up` on the data directory {shown} is not ready yet, or stops: try again soon"
                )
            }
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The settings as a shell reads them.
    pub fn lines(&self) -> String {
        // Single quotes: a shell reads the value unchanged, whatever it contains.
        let line = |(name, value): (&String, &String)| format!("{name}='{}'\n", value.replace('\'', r"'\''"));
        self.0.iter().map(line).collect()
    }

    /// The opposite of [`Self::lines`].
    fn parse(text: &str) -> Self {
        let setting = |line: &str| {
            let (name, quoted) = line.split_once('=')?;
            let value = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
            Some((name.to_owned(), value.replace(r"'\''", "'")))
        };
        Self(text.lines().filter_map(setting).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_were_written() {
        let written = Environment::new([("A", "it's = 'x'".to_owned()), ("B", String::new())]);
        let read = Environment::parse(&written.lines());
        assert_eq!((read.get("A"), read.get("B"), read.get("C")), (Some("it's = 'x'"), None, None));
        assert_eq!(read.lines(), written.lines());
    }
}
