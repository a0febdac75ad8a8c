//! Cleans texts for people, and checks ids, which are never cleaned.
//!
//! Characters that are invisible or change the direction of writing can make two texts look equal, or one text look like
//! another. They are removed from texts for people. Ids are compared byte by byte, so an id with such a character is
//! refused.

use std::borrow::Cow;

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};

/// The longest user id (`sub` of the identity provider), in bytes.
pub const LONGEST_ID: usize = 200;

const PARAGRAPH_SEPARATOR: char = '\u{2029}';

/// Cleans a text of one line: removes line breaks, and white space at its ends.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    clean(text, is_removed_from_lines, str::trim)
}

/// Cleans a text that may have several lines.
#[must_use]
pub fn prose(text: &str) -> Cow<'_, str> {
    // Line breaks are control characters too, but they belong to prose.
    clean(text, |character| !matches!(character, '\n' | '\r') && is_removed(character), |text| text)
}

/// Whether a text has a visible character.
#[must_use]
pub fn is_visible(text: &str) -> bool {
    text.chars().any(|character| !character.is_whitespace() && !is_invisible(character))
}

/// Whether a text can be the id of a user: 1 to 200 bytes, no white space at its ends, no line break, and no control
/// or invisible character.
#[must_use]
pub fn is_id(text: &str) -> bool {
    // Bytes, as the columns limit it.
    (1..=LONGEST_ID).contains(&text.len()) && is_plain(text)
}

/// As [`is_id`], for ids that are not a user's, of any length; an empty text is accepted too.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    // Refused and not trimmed: another service may compare the id as it was written.
    text.trim().len() == text.len()
        && !text
            .chars()
            .any(|character| is_invisible(character) || matches!(character, '\u{2028}' | PARAGRAPH_SEPARATOR))
}

fn clean(text: &str, is_removed: fn(char) -> bool, cut: fn(&str) -> &str) -> Cow<'_, str> {
    // The common case allocates nothing. An isolate alone does not decide: its pair must be checked.
    if text.chars().all(|character| !is_removed(character) && !is_isolate(character)) {
        return Cow::Borrowed(cut(text));
    }
    let kept: Vec<char> = text.chars().filter(|character| !is_removed(*character)).collect();
    let balanced = balanced(&kept);
    let cleaned: String = kept
        .iter()
        .zip(balanced)
        .filter_map(|(character, is_balanced)| (is_balanced || !is_isolate(*character)).then_some(*character))
        .collect();
    Cow::Owned(cut(&cleaned).to_owned())
}

fn is_removed(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2064}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
        )
}

fn is_removed_from_lines(character: char) -> bool {
    is_removed(character) || matches!(character, '\u{2028}' | PARAGRAPH_SEPARATOR)
}

fn is_isolate(character: char) -> bool {
    matches!(character, '\u{2066}'..='\u{2069}')
}

/// For each character: whether it belongs to a pair of isolates, an initiator and its U+2069 within one paragraph
/// (Unicode Standard Annex 9, BD9).
fn balanced(text: &[char]) -> Vec<bool> {
    let mut balanced = vec![false; text.len()];
    let mut open = Vec::new();
    for (index, character) in text.iter().enumerate() {
        match character {
            '\u{2066}'..='\u{2068}' => open.push(index),
            '\u{2069}' => {
                // An end without a beginning stays unbalanced, and is removed.
                if let Some(initiator) = open.pop() {
                    balanced[initiator] = true;
                    balanced[index] = true;
                }
            }
            // An isolate ends with its paragraph at the latest.
            '\n' | '\r' | &PARAGRAPH_SEPARATOR => open.clear(),
            _ => {}
        }
    }
    balanced
}

/// Whether a character is invisible and not white space: Unicode's `Default_Ignorable_Code_Point`, control characters, and
/// five that Unicode counts as visible although they are empty.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2800}' | '\u{fff9}'..='\u{fffb}' | '\u{1d159}')
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

/// Escapes text for HTML, between tags and in quoted attributes.
#[must_use]
pub fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The characters that the API promises to remove.
    const REMOVED: &[char] = &[
        '\u{ad}', '\u{115f}', '\u{1160}', '\u{180e}', '\u{200b}', '\u{202a}', '\u{202b}', '\u{202c}',
        '\u{202d}', '\u{202e}', '\u{2060}', '\u{2061}', '\u{2062}', '\u{2063}', '\u{2064}', '\u{3164}',
        '\u{feff}', '\u{ffa0}', '\0', '\u{7}', '\t', '\u{b}', '\u{c}', '\u{1b}', '\u{7f}', '\u{85}',
        '\u{9f}',
    ];
    const KEPT: &[char] = &[
        '\u{200c}',
        '\u{200d}',
        '\u{fe0f}',
        '\u{fe00}',
        '\u{e0100}',
        '\u{e0067}',
        '\u{200e}',
        '\u{200f}',
        '\u{61c}',
    ];

    #[test]
    fn invisible_characters_are_removed_from_texts() {
        for character in REMOVED {
            assert_eq!(line(&format!("Al{character}gebra")), "Algebra", "{character:?}");
            assert_eq!(prose(&format!("Al{character}gebra")), "Algebra", "{character:?}");
        }
        for character in KEPT {
            let text = format!("Al{character}gebra");
            assert_eq!((line(&text).as_ref(), prose(&text).as_ref()), (text.as_str(), text.as_str()));
        }
    }

    #[test]
    fn emoji_and_scripts_with_joiners_stay_whole() {
        for text in
            ["👩‍👩‍👧 ❤️", "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}", "می‌خواهم", "क्‍ष", "e\u{301}"]
        {
            assert_eq!(line(text), text);
            assert!(is_visible(text));
        }
    }

    #[test]
    fn prose_keeps_line_breaks_and_lines_do_not() {
        assert_eq!(prose("one\r\ntwo\nthree\u{2028}four"), "one\r\ntwo\nthree\u{2028}four");
        assert_eq!(line(" one\r\ntwo\u{2028}\u{2029} "), "onetwo");
        assert_eq!(prose(" one "), " one ");
    }

    #[test]
    fn isolates_stay_when_they_are_balanced() {
        for (text, cleaned) in [
            ("a\u{2066}b\u{2069}c", "a\u{2066}b\u{2069}c"),
            ("\u{2067}a\u{2068}b\u{2069}c\u{2069}", "\u{2067}a\u{2068}b\u{2069}c\u{2069}"),
            ("a\u{2066}b", "ab"),
            ("a\u{2069}b", "ab"),
            ("\u{2069}a\u{2066}", "a"),
            ("a\u{2067}b\u{2069}c\u{2069}\u{2068}", "a\u{2067}b\u{2069}c"),
        ] {
            assert_eq!(line(text), cleaned, "{text:?}");
        }
        assert_eq!(prose("\u{2066}a\nb\u{2069}"), "a\nb", "an isolate ends with its paragraph");
    }

    #[test]
    fn text_of_invisible_characters_is_not_visible() {
        for text in [
            "",
            " ",
            "\u{a0}\u{3000}",
            "\u{200c}\u{200d}",
            "\u{fe0f}",
            "\u{200e}\u{61c}",
            "\u{2800}",
            "\u{2066}\u{2069}",
            "\u{e0067}",
        ] {
            assert!(!is_visible(text), "{text:?}");
        }
        for text in ["a", "\u{301}", "。", "👍", "\u{600}"] {
            assert!(is_visible(text), "{text:?}");
        }
    }

    #[test]
    fn ids_have_no_blank_ends_and_nothing_invisible() {
        for id in ["ada", "auth0|5f7c", "Ada Lovelace", "ü", "a\u{a0}b", &"x".repeat(200)] {
            assert!(is_id(id), "{id:?}");
        }
        for id in [
            "",
            " ",
            " ada",
            "ada ",
            "ada\n",
            "\u{a0}ada",
            "ada\u{3000}",
            "a\nb",
            "a\tb",
            "a\0b",
            "a\u{85}b",
            "a\u{2028}b",
            "a\u{2029}b",
            "a\u{2800}b",
            &"x".repeat(201),
        ] {
            assert!(!is_id(id), "{id:?}");
        }
        for character in REMOVED.iter().chain(KEPT) {
            assert!(!is_id(&format!("ad{character}a")), "{character:?}");
        }
    }

    fn texts() -> impl Strategy<Value = String> {
        let special: Vec<char> = REMOVED
            .iter()
            .chain(KEPT)
            .copied()
            .chain("\u{2066}\u{2067}\u{2068}\u{2069}\u{2028}\u{2029}\r\n a".chars())
            .collect();
        prop::collection::vec(prop_oneof![prop::sample::select(special), any::<char>()], 0..40)
            .prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn cleaning_twice_is_cleaning_once(text in texts()) {
            let (once, prose_once) = (line(&text), prose(&text));
            prop_assert_eq!(line(&once), once.as_ref());
            prop_assert_eq!(prose(&prose_once), prose_once.as_ref());
        }

        #[test]
        fn cleaned_text_has_no_removed_character(text in texts()) {
            let (line, prose) = (line(&text), prose(&text));
            prop_assert!(!line.chars().any(|character| character.is_control() || REMOVED.contains(&character)));
            prop_assert!(!prose.chars().any(|character| REMOVED.contains(&character)));
            let count = |text: &str, wanted: fn(char) -> bool| text.chars().filter(|character| wanted(*character)).count();
            let (begun, ended) = (count(&prose, |c| ('\u{2066}'..='\u{2068}').contains(&c)), count(&prose, |c| c == '\u{2069}'));
            prop_assert_eq!(begun, ended);
        }

        #[test]
        fn cleaning_keeps_the_order_of_characters(text in texts()) {
            let cleaned = prose(&text);
            let mut rest = text.chars();
            prop_assert!(cleaned.chars().all(|kept| rest.any(|character| character == kept)));
        }
    }
}
