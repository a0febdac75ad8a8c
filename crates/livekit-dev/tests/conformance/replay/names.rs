//! The ids of this run that replace recorded ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};

#[derive(Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    pub fn insert(&mut self, recorded: &str, actual: String) {
        self.0.insert(recorded.to_owned(), actual);
    }

    pub fn get(&self, recorded: &str) -> Option<&String> {
        self.0.get(recorded)
    }

    /// Returns the value with the ids of this run.
    pub fn translated(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => json!(self.get(text).unwrap_or(text)),
            Value::Array(items) => items.iter().map(|item| self.translated(item)).collect(),
            Value::Object(fields) => Value::Object(
                fields.iter().map(|(key, value)| (key.clone(), self.translated(value))).collect(),
            ),
            other => other.clone(),
        }
    }

    /// Pairs the ids of two values of the same shape.
    pub fn learn(&mut self, recorded: &Value, actual: &Value) {
        match (recorded, actual) {
            (Value::String(recorded), Value::String(actual)) if recorded.starts_with("UUID_") => {
                self.insert(recorded, actual.clone());
            }
            (Value::Object(recorded), Value::Object(actual)) => {
                for (key, value) in recorded {
                    self.learn(value, actual.get(key).unwrap_or(&Value::Null));
                }
            }
            _ => {}
        }
    }
}

/// Expands placeholders: recorded times are texts, and long runs of one letter are shortened: `xxx… (70000 times)`.
pub fn written_out(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("TIME_") => json!("1"),
        Value::String(text) => json!(repeated(text).unwrap_or_else(|| text.clone())),
        Value::Array(items) => items.iter().map(written_out).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), written_out(value))).collect())
        }
        other => other.clone(),
    }
}

fn repeated(text: &str) -> Option<String> {
    let (letters, times) = text.split_once("… (")?;
    let times = times.strip_suffix(" times)")?.parse().ok()?;
    Some(letters.get(..1)?.repeat(times))
}
