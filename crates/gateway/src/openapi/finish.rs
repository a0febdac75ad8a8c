//! Finishes the document with what the handlers do not declare: servers, refusals, common headers, webhooks, and
//! references to shared schemas.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::{refusals, webhooks};
use crate::family::Family;

/// Finishes the document. `base` is the URL at which clients reach this gateway, `cookie` the name of its cookie.
pub(crate) fn finish(
    document: OpenApi,
    base: Option<&str>,
    cookie: Option<&str>,
) -> Result<Value, serde_json::Error> {
    let examples = serde_json::from_str(EXAMPLES)?;
    let mut document = serde_json::to_value(document)?;
    document["servers"] = json!([{"url": base.unwrap_or("/")}]);
    for (path, item) in fields_mut(&mut document["paths"]) {
        for (method, operation) in fields_mut(item) {
            finish_operation(method, path, &examples, operation);
        }
    }
    document["components"]["securitySchemes"]["cookie"] = json!({
        "type": "apiKey", "in": "cookie", "name": cookie.unwrap_or("AUTH_COOKIE"),
        "description": "The same token in the cookie that the setting `AUTH_COOKIE` names, for pages of an existing \
            application. Without the setting no cookie is read."
    });
    document["webhooks"] = webhooks::section();
    document["components"]["responses"] = Value::Object(refusals::shared());
    document["components"]["headers"] = refusals::headers();
    reference_schemas(&mut document);
    Ok(document)
}

/// Examples of requests and answers, by operation id.
const EXAMPLES: &str = include_str!("examples.json");

fn finish_operation(method: &str, path: &str, examples: &Value, operation: &mut Value) {
    let tags = operation["tags"].as_array().cloned().unwrap_or_default();
    // By tag, because a nest's path below `/api/v1/live` looks like that of a live room.
    let family = if tags.contains(&json!("Nests")) { Family::Nests } else { Family::of(path) };
    for (_, response) in fields_mut(&mut operation["responses"]) {
        response["headers"]["x-request-id"] = json!({"$ref": "#/components/headers/RequestId"});
    }
    refusals::write(operation, method, family);
    let id = operation["operationId"].as_str().unwrap_or_default();
    write_examples(&examples[id], operation);
    // utoipa takes the first line of a doc comment, which ends with a full stop.
    if let Some(Value::String(summary)) = operation.get_mut("summary") {
        let title = summary.trim_end_matches('.').to_owned();
        *summary = title;
    }
}

/// Writes the example of the request, and the example of the answer into each success: all successes have the same
/// body.
fn write_examples(example: &Value, operation: &mut Value) {
    if let Some(request) = operation.pointer_mut("/requestBody/content/application~1json") {
        request["example"] = example["request"].clone();
    }
    for (status, response) in fields_mut(&mut operation["responses"]) {
        if let Some(answer) = response.pointer_mut("/content/application~1json")
            && status.starts_with('2')
        {
            answer["example"] = example["answer"].clone();
        }
    }
}

fn fields_mut(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}

/// Replaces each inline copy of a component's schema by a reference to the component. Generic answers have such copies.
fn reference_schemas(document: &mut Value) {
    let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    for (name, schema) in fields_mut(&mut document["components"]["schemas"]) {
        for (_, part) in fields_mut(schema) {
            reference(part, &schemas, name);
        }
    }
    reference(&mut document["paths"], &schemas, "");
}

/// Replaces copies of components in `value` by references. `value` is a part of the component `within`.
fn reference(value: &mut Value, schemas: &Map<String, Value>, within: &str) {
    // Without `within` a component would become a reference to itself.
    let mut components = schemas.iter().filter(|(name, schema)| *name != within && is_shared(schema));
    if let Some((name, _)) = components.find(|(_, schema)| **schema == *value) {
        *value = json!({"$ref": format!("#/components/schemas/{name}")});
        return;
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|field| reference(field, schemas, within)),
        Value::Array(items) => items.iter_mut().for_each(|item| reference(item, schemas, within)),
        _ => {}
    }
}

/// Whether a schema is an object or an enum. A schema that is only `string` equals many schemas with another meaning.
fn is_shared(schema: &Value) -> bool {
    schema.get("properties").is_some() || schema.get("enum").is_some()
}
