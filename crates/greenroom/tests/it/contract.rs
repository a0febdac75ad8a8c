//! The OpenAPI document as a contract: JSON must match its schema and have no unknown field.

use jsonschema::{Draft, Validator};
use reqwest::StatusCode;
use serde_json::{Value, json};

pub struct Contract {
    document: Value,
}

impl Contract {
    pub fn of(mut document: Value) -> Self {
        let mut parts = Vec::new();
        references_in_all_of(&document, &mut parts);
        for (name, schema) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
            close(schema, parts.contains(name));
        }
        close(&mut document["paths"], false);
        Self { document }
    }

    /// Checks an answer of a service: its status, its body, and the code of a refusal must be documented.
    pub fn check_answer(&self, operation: &Value, status: StatusCode, body: &Value) {
        let id = &operation["operationId"];
        let response = operation["responses"].get(status.as_str());
        let response = response.unwrap_or_else(|| panic!("{id} answers {status}, which is not documented"));
        let response = self.resolved(response);
        if let Some(json) = response["content"].get("application/json") {
            self.check(&format!("the {status} of {id}"), &json["schema"], body);
        }
        if status.is_client_error() || status.is_server_error() {
            let code =
                body["code"].as_str().unwrap_or_else(|| panic!("{id}: {status} without a code: {body}"));
            let documented = response["description"].as_str().expect("a description");
            assert!(documented.contains(&format!("`{code}`")), "{id} refuses with {code}, not {documented}");
        }
    }

    pub fn check(&self, what: &str, schema: &Value, value: &Value) {
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        let errors: Vec<String> = validator(&schema)
            .iter_errors(value)
            .map(|error| format!("{} {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{what}: {errors:#?} in {value:#}");
    }

    /// The target of a reference, or the value itself.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let reference = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        reference.map_or(value, |pointer| self.document.pointer(pointer).expect("a reference within"))
    }

    /// All operations of the document.
    pub fn operations(&self) -> impl Iterator<Item = &Value> {
        let items = self.document["paths"].as_object().expect("paths").values();
        items.flat_map(|item| item.as_object().expect("operations").values())
    }
}

fn validator(schema: &Value) -> Validator {
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
    options.build(schema).expect("a JSON schema")
}

/// Makes schemas refuse unknown fields. Parts of an `allOf` are left out: a part does not know the fields of the
/// others.
fn close(value: &mut Value, is_part: bool) {
    match value {
        Value::Object(schema) => {
            let is_object = schema.contains_key("properties") || schema.contains_key("allOf");
            if is_object && !is_part && !schema.contains_key("additionalProperties") {
                schema.insert("unevaluatedProperties".to_owned(), json!(false));
            }
            for (keyword, part) in schema {
                close_parts(part, keyword == "allOf");
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(|part| close(part, is_part)),
        _ => {}
    }
}

/// Collects the names of the components that are part of an `allOf`.
fn references_in_all_of(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let parts = fields.get("allOf").and_then(Value::as_array).into_iter().flatten();
            let references = parts.filter_map(|part| part["$ref"].as_str()?.rsplit('/').next());
            names.extend(references.map(str::to_owned));
            fields.values().for_each(|field| references_in_all_of(field, names));
        }
        Value::Array(items) => items.iter().for_each(|item| references_in_all_of(item, names)),
        _ => {}
    }
}

fn close_parts(value: &mut Value, are_parts: bool) {
    match value {
        Value::Array(parts) => parts.iter_mut().for_each(|part| close(part, are_parts)),
        value => close(value, false),
    }
}

#[test]
fn contract_refuses_unknown_fields_and_wrong_types() {
    let document = json!({"paths": {}, "components": {"schemas": {
        "Base": {"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}}},
        "Part": {"type": "object", "properties": {"a": {"type": "integer"}}},
        "Open": {"allOf": [{"$ref": "#/components/schemas/Part"}, {"properties": {"b": {"type": "null"}}}]}
    }}});
    let contract = Contract::of(document);
    let fits = |name: &str, value: Value| {
        let mut schema = json!({"$ref": format!("#/components/schemas/{name}")});
        schema["components"] = contract.document["components"].clone();
        validator(&schema).is_valid(&value)
    };
    assert!(fits("Base", json!({"id": "0198f3a2-4c1e-7d10-9a3b-5e6f708192a3"})));
    assert!(!fits("Base", json!({"id": "1"})) && !fits("Base", json!({"other": 1})));
    assert!(fits("Open", json!({"a": 1, "b": null})));
    assert!(!fits("Open", json!({"a": 1, "c": null})) && !fits("Open", json!({"a": "1"})));
}

#[test]
fn every_operation_has_examples_that_fit_its_schemas() {
    let contract = Contract::of(gateway::openapi(None).expect("a document"));
    for operation in contract.operations() {
        let id = operation["operationId"].as_str().expect("an operation id");
        for text in ["summary", "description"] {
            assert!(operation[text].as_str().is_some_and(|text| !text.is_empty()), "{id} has no {text}");
        }
        let request = operation["requestBody"]["content"].get("application/json");
        let successes = operation["responses"].as_object().expect("responses").iter();
        let success = successes.filter(|(status, _)| status.starts_with('2'));
        let answers = success.filter_map(|(_, response)| response["content"].get("application/json"));
        for (what, json) in
            request.into_iter().map(|json| ("request", json)).chain(answers.map(|json| ("answer", json)))
        {
            let example = json.get("example").unwrap_or_else(|| panic!("{id} has no example of its {what}"));
            contract.check(&format!("the example {what} of {id}"), &json["schema"], example);
        }
    }
}
