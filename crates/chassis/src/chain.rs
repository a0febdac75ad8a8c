//! An error and its causes in one line, without repetition.

use std::error::Error;

/// Returns the error's text, followed by what its causes add. Many errors, such as sqlx's, repeat their cause in their
/// own text; it is not printed again.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let text_of_cause = source.to_string();
        if !text.contains(&text_of_cause) {
            text = format!("{text}: {text_of_cause}");
        }
        cause = source.source();
    }
    text
}

#[cfg(all(test, feature = "database"))]
mod tests {
    use crate::service::StartError;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is full")]
    struct Full;

    #[derive(Debug, thiserror::Error)]
    #[error("nothing can be written")]
    struct Unwritable(#[source] Full);

    #[test]
    fn causes_are_appended_once() {
        assert_eq!(chain(&Unwritable(Full)), "nothing can be written: the disk is full");
        let wrapped = StartError::from(sqlx::Error::Io(std::io::Error::other(Full)));
        let text = chain(&wrapped);
        assert_eq!(text.matches("the disk is full").count(), 1, "{text}");
        assert!(text.starts_with("the database refused: "), "{text}");
    }
}
