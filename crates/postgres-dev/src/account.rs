//! The account that runs Postgres: it refuses to run as root, so root starts it under an account without privileges.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use anyhow::Context;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Returns `postgres`, or else `nobody`, when this process runs as root. None when this account can run the server.
    pub fn for_server() -> anyhow::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").context("/etc/passwd cannot be read")?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::in_passwd(&accounts, name))
            .map(Some)
            .context("Postgres refuses to run as root, and there is no user `postgres` or `nobody`; create one of them")
    }

    fn in_passwd(accounts: &str, name: &str) -> Option<Self> {
        let mut fields = accounts
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
        // The iterator is after the name: skips the password, takes the uid, then the gid.
        Some(Self {
            name: name.to_owned(),
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    }

    /// Whether this account can reach the files in `dir`.
    pub fn can_enter(&self, dir: &Path) -> bool {
        let Ok(dir) = dir.canonicalize() else {
            return false;
        };
        dir.ancestors().all(|part| {
            part.metadata().is_ok_and(|part| {
                // As the kernel checks it: only the most specific class counts, even if a wider one would
                // allow more.
                let bit = match part {
                    _ if part.uid() == self.uid => 0o100,
                    _ if part.gid() == self.gid => 0o010,
                    _ => 0o001,
                };
                part.mode() & bit != 0
            })
        })
    }

    pub fn own(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }

    /// Lets this account pass through `dir`, which remains closed to all other accounts.
    pub fn allow_traversal(&self, dir: &Path) -> io::Result<()> {
        // The group before the mode: between the two steps the directory is not open to another group.
        chown(dir, None, Some(self.gid))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o710))
    }

    /// Runs `command` as this account, without root's groups.
    pub fn run(&self, command: &mut Command) {
        // Setting the uid drops root's supplementary groups too.
        command.uid(self.uid).gid(self.gid);
    }
}

/// Whether `path` belongs to the user of this process.
pub fn is_ours(path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path)?.uid() == rustix::process::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\nbad:x:one:2";

    #[test]
    fn accounts_are_read_from_passwd() {
        let account = Account::in_passwd(PASSWD, "nobody").unwrap();
        assert_eq!((account.uid, account.gid), (65534, 65533));
        assert_eq!(Account::in_passwd(PASSWD, "postgres"), None);
        assert_eq!(Account::in_passwd(PASSWD, "bad"), None);
    }

    #[test]
    fn directory_below_a_closed_one_cannot_be_entered() {
        let stranger = Account { name: "stranger".into(), uid: 4_000_000, gid: 4_000_000 };
        let closed = tempfile::tempdir().unwrap();
        fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let inner = closed.path().join("inner");
        fs::create_dir(&inner).unwrap();
        assert!(!stranger.can_enter(&inner));
        assert!(stranger.can_enter(Path::new("/")));
    }
}
