//! Finds all wrong fields of a JSON object or a query, and writes a message for each.
//!
//! serde stops at the first field that it cannot read, and its messages are not for clients. A document that cannot be
//! read is therefore read again: a sample that fits replaces the wrong field, which also shows what was expected, and
//! reading continues. This costs nothing for valid requests, and the work for others is bounded.

use std::fmt::Display;

use domain::field::FieldError;
use serde_json::{Value, json};
use serde_path_to_error::{Path, Segment};

/// Wrong fields that one answer names.
const MAX_ERRORS: usize = 20;
/// The first character of our own messages; serde's messages never begin with it.
const OURS: char = '\u{1}';

const TEXT: &str = "must be a text";
const WHOLE: &str = "must be a whole number";
const NUMBER: &str = "must be a number";
const FLAG: &str = "must be true or false";
const TIME: &str = "must be a time as RFC 3339 writes it, such as 2030-01-31T10:00:00Z";
const LOST_PLUS: &str = "must be a time as RFC 3339 writes it; there is a blank where the + of its offset was: in a URL, write %2B for +";
const UUID: &str = "must be a UUID";
const LIST: &str = "must be a list";
const OBJECT: &str = "must be a JSON object";
const OUT_OF_RANGE: &str = "is out of range";
const UNREADABLE: &str = "has a value that cannot be read";

/// Marks a message of our own: a `Deserialize` that fails with it makes clients receive it unchanged.
pub(crate) fn ours(message: &str) -> String {
    format!("{OURS}{message}")
}

#[derive(Clone, Debug, PartialEq)]
enum PathStep {
    Key(String),
    Index(usize),
}

/// The path at which reading stopped, and why.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    path: Vec<PathStep>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Missing,
    Unknown,
    Repeated,
    Ours(String),
    OneOf(Vec<String>),
    Other,
}

impl Failure {
    pub(super) fn of(path: &Path, error: &impl Display) -> Self {
        let mut path: Vec<PathStep> = path
            .iter()
            .filter_map(|segment| match segment {
                Segment::Seq { index } => Some(PathStep::Index(*index)),
                Segment::Map { key } => Some(PathStep::Key(key.clone())),
                Segment::Enum { .. } | Segment::Unknown => None,
            })
            .collect();
        let text = error.to_string();
        let named = [
            ("missing field `", Kind::Missing),
            ("unknown field `", Kind::Unknown),
            ("duplicate field `", Kind::Repeated),
        ];
        for (start, kind) in named {
            if let Some(name) = text.strip_prefix(start).and_then(|rest| rest.split('`').next()) {
                let name = PathStep::Key(name.to_owned());
                // serde reports some paths with the field and some without it; the name must not be there
                // twice.
                if kind == Kind::Missing || path.last() != Some(&name) {
                    path.push(name);
                }
                return Self { path, kind };
            }
        }
        let kind = if let Some(message) = text.strip_prefix(OURS) {
            // serde_json appends the position in the text.
            Kind::Ours(message.split(" at line ").next().unwrap_or_default().to_owned())
        } else if let Some((_, expected)) =
            text.strip_prefix("unknown variant `").and_then(|text| text.split_once("expected"))
        {
            Kind::OneOf(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
        } else {
            Kind::Other
        };
        Self { path, kind }
    }

    fn is_within(&self, path: &[PathStep]) -> bool {
        self.path.starts_with(path)
    }

    /// Returns the name of the field for clients: `guest.name`, `topic_keys.[2]`.
    fn field(&self, whole: &str) -> String {
        let steps = self.path.iter().map(|step| match step {
            PathStep::Key(key) => key.clone(),
            PathStep::Index(index) => format!("[{index}]"),
        });
        if self.path.is_empty() { whole.to_owned() } else { steps.collect::<Vec<_>>().join(".") }
    }
}

/// How a kind of document is read, and the samples that its fields are tried with.
pub(super) struct Reading<'a> {
    /// The name of the document as a whole.
    pub(super) whole: &'a str,
    pub(super) samples: Vec<(Value, &'static str)>,
    pub(super) read: &'a dyn Fn(&Value) -> Option<Failure>,
}

/// Returns samples of JSON values, each with the message that is right if the sample fits.
pub(super) fn samples_of_json() -> Vec<(Value, &'static str)> {
    let mut samples = vec![(json!(""), TEXT), (json!(1), WHOLE), (json!(0.5), NUMBER), (json!(false), FLAG)];
    samples.extend(texts());
    samples.extend([(json!([]), LIST), (json!({}), OBJECT)]);
    samples
}

/// Returns samples of query values, which are all texts.
pub(super) fn samples_of_query() -> Vec<(Value, &'static str)> {
    let mut samples = vec![(json!("1"), WHOLE), (json!("0.5"), NUMBER), (json!("true"), FLAG)];
    samples.extend(texts());
    samples.push((json!("x"), TEXT));
    samples
}

fn texts() -> [(Value, &'static str); 2] {
    [(json!("2030-01-31T10:00:00Z"), TIME), (json!("00000000-0000-0000-0000-000000000000"), UUID)]
}

impl Reading<'_> {
    /// Returns all errors of a document; the error that was found `first` comes first.
    pub(super) fn find(&self, mut document: Value, first: &Failure) -> Vec<FieldError> {
        let first_field = first.field(self.whole);
        let mut errors = Vec::new();
        // A repeated field cannot be found again: the document has only its last value.
        if first.kind == Kind::Repeated {
            errors.push(FieldError {
                field: first_field.clone(),
                message: "is there more than once".to_owned(),
            });
        }
        // Each round replaces one wrong value, so the limit also bounds the reads of a document.
        while errors.len() < MAX_ERRORS
            && let Some(failure) = (self.read)(&document)
        {
            let field = failure.field(self.whole);
            let (message, goes_on) = self.correct(&mut document, failure);
            errors.push(FieldError { field, message });
            if !goes_on {
                break;
            }
        }
        if let Some(index) = errors.iter().position(|error| error.field == first_field) {
            errors[..=index].rotate_right(1);
        } else {
            errors.insert(0, FieldError { field: first_field, message: UNREADABLE.to_owned() });
        }
        errors
    }

    /// Returns the message of a failure, and whether the rest of the document can be read.
    fn correct(&self, document: &mut Value, failure: Failure) -> (String, bool) {
        let Failure { path, kind } = failure;
        let given = at(document, &path).cloned();
        match kind {
            Kind::Unknown => (String::from("is not known here"), remove(document, &path)),
            Kind::Missing => {
                (String::from("is missing"), self.fit(document, &path, given.as_ref()).is_some())
            }
            Kind::Repeated => (String::from(UNREADABLE), false),
            Kind::Ours(message) => (message, self.fit(document, &path, given.as_ref()).is_some()),
            Kind::OneOf(names) => (one_of(&names), self.fit(document, &path, given.as_ref()).is_some()),
            Kind::Other => match self.fit(document, &path, given.as_ref()) {
                Some(expected) => (expected, true),
                None => (String::from(UNREADABLE), false),
            },
        }
    }

    /// Replaces a value by one that can be read, and returns what was expected. None: no sample fits.
    fn fit(&self, document: &mut Value, path: &[PathStep], given: Option<&Value>) -> Option<String> {
        let expected = self.expected(document, path, given)?;
        let fitting = at(document, path).cloned();
        // Null is best: a sample of an object lacks fields, and errors about those would confuse the client.
        if !self.fits(document, path, Value::Null)
            && let Some(fitting) = fitting
        {
            set(document, path, fitting);
        }
        Some(expected)
    }

    fn expected(&self, document: &mut Value, path: &[PathStep], given: Option<&Value>) -> Option<String> {
        // A form decodes `+` as a blank, so a time in a URL loses the sign of its offset.
        if let Some((before, after)) = given.and_then(Value::as_str).and_then(|text| text.rsplit_once(' '))
            && self.fits(document, path, format!("{before}+{after}").into())
        {
            return Some(LOST_PLUS.to_owned());
        }
        // The first sample that fits names what was expected.
        for (sample, expected) in &self.samples {
            if self.fits(document, path, sample.clone()) {
                let is_whole = *expected == WHOLE && given.is_some_and(is_whole);
                return Some(String::from(if is_whole { OUT_OF_RANGE } else { expected }));
            }
            // The sample had the right type, and is not one of the values: the field is an enum.
            if let Some(Failure { path: at, kind: Kind::OneOf(names) }) = (self.read)(document)
                && at == path
                && let Some(first) = names.first()
                && self.fits(document, path, first.as_str().into())
            {
                return Some(one_of(&names));
            }
        }
        self.fits(document, path, Value::Null).then(|| UNREADABLE.to_owned())
    }

    /// Sets a value, and returns whether it can be read. An object that only lacks fields counts as readable.
    fn fits(&self, document: &mut Value, path: &[PathStep], value: Value) -> bool {
        let is_object = value.is_object();
        set(document, path, value)
            && (self.read)(document).is_none_or(|failure| {
                // An error elsewhere means that this value was read.
                !failure.is_within(path)
                    || is_object && failure.kind == Kind::Missing && failure.path.len() > path.len()
            })
    }
}

fn is_whole(given: &Value) -> bool {
    given.is_i64() || given.is_u64() || given.as_str().is_some_and(|text| text.parse::<i128>().is_ok())
}

fn one_of(names: &[String]) -> String {
    match names {
        [] => UNREADABLE.to_owned(),
        [one] => format!("must be {one}"),
        [names @ .., last] => format!("must be {} or {last}", names.join(", ")),
    }
}

fn at<'a>(document: &'a mut Value, path: &[PathStep]) -> Option<&'a mut Value> {
    path.iter().try_fold(document, |value, step| match step {
        PathStep::Key(key) => value.get_mut(key),
        PathStep::Index(index) => value.get_mut(index),
    })
}

/// Sets a value. False: the path does not exist, or is the whole document.
fn set(document: &mut Value, path: &[PathStep], value: Value) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    // Only existing objects and lists: a path from serde may lead into a value that is not there.
    match (at(document, parents), last) {
        (Some(Value::Object(fields)), PathStep::Key(key)) => {
            fields.insert(key.clone(), value);
            true
        }
        (Some(Value::Array(values)), PathStep::Index(index)) if *index < values.len() => {
            values[*index] = value;
            true
        }
        _ => false,
    }
}

fn remove(document: &mut Value, path: &[PathStep]) -> bool {
    let Some((PathStep::Key(key), parents)) = path.split_last() else { return false };
    let parent = at(document, parents).and_then(Value::as_object_mut);
    parent.is_some_and(|fields| fields.remove(key).is_some())
}

#[cfg(test)]
#[path = "wrong_tests.rs"]
mod tests;
