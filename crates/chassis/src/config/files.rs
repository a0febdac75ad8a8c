//! Secrets from files: `<NAME>_FILE` names the file that has the value of the secret setting `<NAME>`. Docker and
//! Kubernetes mount secrets as files, which no child process and no `inspect` shows.

use std::{fs::File, io::Read};

use super::{Problems, non_blank};

/// The size up to which a file can be a secret. It bounds the memory when the path is wrong.
const MAX_SIZE: u64 = 64 * 1024;

impl Problems {
    /// Reads the file of a secret setting into its value, if a file is given. Idempotent. Line breaks at the end are
    /// cut, because editors and `echo` write one. The contents never appear in a problem.
    pub fn secret_file(&mut self, setting: &str, value: &mut Option<String>, file: &mut Option<String>) {
        let Some(path) = non_blank(file.take()) else { return };
        if value.as_deref().is_some_and(|value| !value.trim().is_empty()) {
            self.add(&format!("{setting}, {setting}_FILE"), "both are set; unset one of the two");
            return;
        }
        *value = read(&path)
            .map_err(|problem| self.add(&format!("{setting}_FILE"), format_args!("{path} {problem}")))
            .ok();
    }

    /// Whether the file of this setting was refused. The value is then not reported as missing as well.
    #[must_use]
    pub fn is_file_refused(&self, setting: &str) -> bool {
        let start = format!("{setting}_FILE: ");
        self.0.iter().any(|problem| problem.starts_with(&start))
    }
}

fn read(path: &str) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    // One byte more than the limit shows that the file is larger.
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(format!("has more than {} KiB", MAX_SIZE / 1024));
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::{InternalArgs, check};

    const TOKEN: &str = "a-token-of-at-least-thirty-two-bytes";

    /// A file that is removed at the end of the test.
    struct Mounted(std::path::PathBuf);

    impl Mounted {
        fn with(contents: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("greenroom-secret-{}", uuid::Uuid::new_v4()));
            std::fs::write(&path, contents).unwrap();
            Self(path)
        }

        fn path(&self) -> String {
            self.0.to_str().unwrap().to_owned()
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn token(value: Option<&str>, file: &str) -> Result<Option<String>, String> {
        let (mut value, mut file) = (value.map(str::to_owned), Some(file.to_owned()));
        check(|problems| {
            problems.secret_file("INTERNAL_TOKEN", &mut value, &mut file);
            Some(value)
        })
        .map_err(|problems| problems.to_string())
    }

    #[test]
    fn secret_is_read_from_its_file_without_the_line_break() {
        for end in ["", "\n", "\r\n"] {
            let file = Mounted::with(format!("{TOKEN}{end}").as_bytes());
            // A blank value counts as missing: compose files cannot leave a variable out conditionally.
            for value in [None, Some(""), Some(" ")] {
                assert_eq!(token(value, &file.path()).unwrap().as_deref(), Some(TOKEN));
            }
        }
        let spaces = Mounted::with(b" inner and outer spaces are kept ");
        assert_eq!(token(None, &spaces.path()).unwrap().unwrap(), " inner and outer spaces are kept ");
        assert_eq!(token(Some("value"), " ").unwrap().as_deref(), Some("value"));
    }

    #[test]
    fn value_and_file_at_once_are_refused() {
        let file = Mounted::with(TOKEN.as_bytes());
        let problems = token(Some("another-secret"), &file.path()).unwrap_err();
        assert!(problems.contains("INTERNAL_TOKEN, INTERNAL_TOKEN_FILE: both are set"), "{problems}");
        assert!(!problems.contains("another-secret") && !problems.contains(TOKEN), "{problems}");
    }

    #[test]
    fn unreadable_or_empty_file_is_the_only_problem() {
        let (empty, blank) = (Mounted::with(b""), Mounted::with(b" \n"));
        let (binary, large) = (Mounted::with(&[0xff]), Mounted::with("x".repeat(64 * 1024 + 1).as_bytes()));
        let folder = std::env::temp_dir().to_str().unwrap().to_owned();
        for (path, problem) in [
            (empty.path(), "is empty"),
            (blank.path(), "is empty"),
            (binary.path(), "is not UTF-8 text"),
            (large.path(), "has more than 64 KiB"),
            (folder, "cannot be read"),
            ("/nowhere/token".to_owned(), "cannot be read: No such file"),
        ] {
            let args = InternalArgs { internal_token_file: Some(path.clone()), ..InternalArgs::default() };
            let problems = check(|problems| args.check(problems)).unwrap_err().to_string();
            assert!(problems.starts_with("1 problem(s)"), "{problems}");
            assert!(problems.contains(&format!("INTERNAL_TOKEN_FILE: {path} {problem}")), "{problems}");
        }
    }
}
