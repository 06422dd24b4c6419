//! Schemas of the wire types, in the dialect of OpenAPI 3.0 that client generators know.
//!
//! `schemars` derives them. What is changed here: an optional field is one that may be absent, not one that may be
//! `null`; a list of words is an `enum`; number formats are those that OpenAPI has.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Marks a field whose `null` is part of the answer.
const NULL_COUNTS: &str = "x-nullable";

/// Names that clients know, where the rule "item, then list" gives another.
const KNOWN_AS: &[(&str, &str)] = &[
    ("PullRequestList", "PullRequestsList"),
    ("MergeResultAsyncStatus", "MergeAsyncStatus"),
    ("GarbageCollectionPrepareResponseAsyncStatus", "PrepareGarbageCollectionCommitsStatus"),
];

const REFERENCE: &str = "#/components/schemas/";

/// Collects schemas.
pub(crate) fn generator() -> SchemaGenerator {
    SchemaSettings::openapi3().into_generator()
}

/// All schemas that were referred to.
pub(crate) fn collected(generator: &mut SchemaGenerator) -> Value {
    let mut all = Map::new();
    for (name, mut schema) in generator.take_definitions(true) {
        tidy(&mut schema);
        all.insert(known_as(&name).to_owned(), schema);
    }
    Value::Object(all)
}

fn known_as(name: &str) -> &str {
    KNOWN_AS.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, known)| *known)
}

/// Puts a schema and what is in it into the form described above.
pub(crate) fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(object) => {
            words(object);
            optional(object);
            format(object);
            if let Some(Value::String(reference)) = object.get_mut("$ref")
                && let Some(name) = reference.strip_prefix(REFERENCE)
            {
                *reference = format!("{REFERENCE}{}", known_as(name));
            }
            if let Some(Value::String(text)) = object.get_mut("description") {
                // Links between items of the code lead nowhere here.
                *text = text.replace("[`", "`").replace("`]", "`");
            }
            object.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

/// An enumeration of described words becomes one list, its descriptions one text.
fn words(object: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get("oneOf") else { return };
    let mut listed = Vec::new();
    let mut text = object.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    for choice in choices {
        let Some(Value::Array(some)) = choice.get("enum") else { return };
        if let (Some(word), Some(meaning)) =
            (some.first().and_then(Value::as_str), choice.get("description").and_then(Value::as_str))
        {
            text.extend(["\n- `", word, "`: ", meaning]);
        }
        listed.extend(some.iter().cloned());
    }
    object.remove("oneOf");
    object.insert("type".to_owned(), json!("string"));
    object.insert("enum".to_owned(), Value::Array(listed));
    object.insert("description".to_owned(), json!(text));
}

/// An optional field may be absent. That it may be `null` as well is a courtesy to clients, not a promise.
fn optional(object: &mut Map<String, Value>) {
    if object.remove(NULL_COUNTS).is_some() {
        object.insert("nullable".to_owned(), json!(true));
    } else {
        object.remove("nullable");
    }
    let Some(Value::Array(choices)) = object.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("enum").is_none_or(|words| *words != json!([null])));
    if choices.len() == 1
        && let Some(choice) = object.remove("anyOf")
    {
        object.insert("allOf".to_owned(), choice);
    }
}

fn format(object: &mut Map<String, Value>) {
    let Some(Value::String(format)) = object.get("format") else { return };
    let known = match format.as_str() {
        "uint64" => Some("int64"),
        "int8" | "int16" | "uint8" | "uint16" | "uint32" => Some("int32"),
        "uint" | "int" => None,
        _ => return,
    };
    match known {
        Some(known) => object.insert("format".to_owned(), json!(known)),
        None => object.remove("format"),
    };
    // What a type could hold is no limit of the field.
    for limit in ["maximum", "minimum"] {
        let of_the_type = [i64::from(u8::MAX), i64::from(u16::MAX), i64::from(i16::MIN), i64::from(i16::MAX)];
        if object.get(limit).and_then(Value::as_i64).is_some_and(|value| of_the_type.contains(&value)) {
            object.remove(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lakebed_api::{AsyncTaskStatus, Diff, List, MergeResult, PullRequest, StagingLocation};

    fn schemas() -> Value {
        let mut generator = generator();
        generator.subschema_for::<List<PullRequest>>();
        generator.subschema_for::<AsyncTaskStatus<MergeResult>>();
        generator.subschema_for::<Diff>();
        generator.subschema_for::<StagingLocation>();
        collected(&mut generator)
    }

    #[test]
    fn names_are_those_that_clients_know() {
        let all = schemas();
        assert!(all.get("PullRequestsList").is_some());
        assert!(all.get("PullRequestList").is_none());
        assert_eq!(
            all["MergeAsyncStatus"]["properties"]["result"],
            json!({"allOf": [{"$ref": "#/components/schemas/MergeResult"}], "description": "What it made."})
        );
    }

    #[test]
    fn a_list_of_words_is_an_enum() {
        let kind = &schemas()["DiffType"];
        assert_eq!(kind["enum"], json!(["added", "removed", "changed", "conflict", "prefix_changed"]));
        assert_eq!(kind["type"], json!("string"));
        assert!(kind["description"].as_str().unwrap().contains("\n- `added`: Only right has it."));
    }

    #[test]
    fn only_what_says_so_may_be_null() {
        let all = schemas();
        assert_eq!(all["StagingLocation"]["properties"]["presigned_url"]["nullable"], json!(true));
        let text = all.to_string();
        assert_eq!(text.matches("nullable").count(), 1, "{text}");
    }

    #[test]
    fn number_formats_are_those_of_openapi() {
        let text = schemas().to_string();
        assert!(!text.contains("\"uint"), "{text}");
        assert!(!text.contains("65535"), "{text}");
    }
}
