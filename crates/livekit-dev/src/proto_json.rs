//! Twirp's JSON: the names and the order of the `.proto` file, and every field, where the protocol crate's own serde
//! writes camelCase and leaves defaults out. One table for each message that we answer with says what to add.

mod tables;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use Field::{Choice, Enum, Flag, List, Long, Message, Messages, Number, Text, Texts};

/// A message's fields in `.proto` spelling.
pub(crate) type Fields = &'static [(&'static str, Field)];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    Text,
    Number,
    /// 64 bits: a string in JSON.
    Long,
    Flag,
    /// Written by name; this is the name of 0.
    Enum(&'static str),
    /// A map of strings; its keys are data and stay as they are.
    Texts,
    List,
    Message(Fields),
    Messages(Fields),
    /// One of several messages: absent unless it is the one, and then only what it says.
    Choice,
}

/// A message that a method answers with.
pub(crate) trait Answer: Serialize {
    const FIELDS: Fields;
}

/// A message as a Twirp server writes it.
#[derive(Debug)]
pub(crate) enum Json {
    Value(Value),
    List(Vec<Json>),
    Message(Vec<(&'static str, Json)>),
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::List(items) => items.serialize(serializer),
            Self::Message(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

pub(crate) fn to_json<T: Answer>(message: &T) -> Result<Json, serde_json::Error> {
    Ok(complete(serde_json::to_value(message)?, T::FIELDS))
}

fn complete(message: Value, fields: Fields) -> Json {
    let Value::Object(mut given) = message else {
        return Json::Value(message);
    };
    let field = |(name, field): &(&'static str, Field)| {
        // Removed as it is written: what is left over is not in the table, and is left out.
        let value = given.remove(&camel(name)).map(|value| field.complete(value));
        Some((*name, value.or_else(|| field.default().map(Json::Value))?))
    };
    Json::Message(fields.iter().filter_map(field).collect())
}

impl Field {
    fn default(self) -> Option<Value> {
        Some(match self {
            Text => json!(""),
            Number => json!(0),
            Long => json!("0"),
            Flag => json!(false),
            Enum(zero) => json!(zero),
            Texts => json!({}),
            List | Messages(_) => json!([]),
            Message(_) => Value::Null,
            // One of several messages: a default would claim that it is set.
            Choice => return None,
        })
    }

    fn complete(self, value: Value) -> Json {
        match (self, value) {
            // A field that is absent is null, one that is there is completed inside.
            (Message(fields), value) => complete(value, fields),
            (Messages(fields), Value::Array(items)) => {
                Json::List(items.into_iter().map(|item| complete(item, fields)).collect())
            }
            (Choice, value) => Json::Value(snaked(value)),
            (_, value) => Json::Value(value),
        }
    }
}

/// Keys as the `.proto` file has them.
fn snaked(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (snake(&key), snaked(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(snaked).collect(),
        value => value,
    }
}

fn snake(camel: &str) -> String {
    camel.chars().fold(String::new(), |mut name, letter| {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
        name
    })
}

fn camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let initial = letters.next().map(|letter| letter.to_ascii_uppercase());
        name + &initial.into_iter().chain(letters).collect::<String>()
    })
}
