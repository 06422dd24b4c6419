//! The description against what it describes: every operation is called with what its description says it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use lakebed_auth::{Auth, AuthConfig};
use lakebed_blocks::{BlockStore, MemStore};
use lakebed_catalog::{Catalog, CatalogConfig};
use lakebed_core::{ManualClock, SeededEntropy, Timestamp};
use lakebed_kv::{Kv, MemKv};
use serde_json::{Value, json};

use super::operation::{Described, Served};
use super::parameters::{Kind, Parameter, Place};
use super::{operations, prose};
use crate::operation::Operation;
use crate::query::reads;
use crate::routes::table;
use crate::{Rest, RestConfig};

const KEY: &str = "access-key";
const SECRET: &str = "secret-key";

/// A door over engines in memory, with an administrator and the repository `lake`.
async fn door() -> Rest {
    let kv: Arc<dyn Kv> = Arc::new(MemKv::new());
    let blocks = Arc::new(MemStore::new());
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
    let entropy = Arc::new(SeededEntropy::new(7));
    let config = RestConfig::for_store(&blocks.info(), "1.84.0");
    let catalog = Catalog::new(CatalogConfig {
        kv: kv.clone(),
        blocks,
        clock: clock.clone(),
        entropy: entropy.clone(),
        node_cache_bytes: 1 << 20,
        signing_key: b"key".to_vec(),
    });
    let auth = Auth::new(AuthConfig {
        kv,
        clock,
        entropy: entropy.clone(),
        secret_key: b"a secret of at least sixteen bytes".to_vec(),
        login_duration_secs: 3600,
    });
    auth.setup("admin", Some((KEY.to_owned(), SECRET.to_owned()))).await.unwrap();
    let rest = Rest::new(catalog, auth, config, entropy);
    let new = json!({"name": "lake", "storage_namespace": "mem://lake"});
    let (status, body) = ask(&rest, Method::POST, "/repositories", &[], Some(&new)).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    rest
}

async fn ask(
    rest: &Rest,
    method: Method,
    at: &str,
    headers: &[(&str, String)],
    body: Option<&Value>,
) -> (StatusCode, String) {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/api/v1{at}"))
        .header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(format!("{KEY}:{SECRET}"))))
        .header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    let response = rest.handle(request.body(Full::new(Bytes::from(body))).unwrap()).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn document() -> Value {
    let rest = door().await;
    let (status, body) = ask(&rest, Method::GET, "/openapi.json", &[], None).await;
    assert_eq!(status, StatusCode::OK);
    serde_json::from_str(&body).unwrap()
}

/// A value of a parameter that the operation must understand.
fn good(parameter: &Parameter) -> String {
    match parameter.kind {
        Kind::Text | Kind::AtMost(_) | Kind::Texts => "main".to_owned(),
        Kind::Pattern(_) => "bytes=0-1".to_owned(),
        Kind::DateTime => "2026-01-02T03:04:05Z".to_owned(),
        Kind::Boolean => "true".to_owned(),
        Kind::Integer(least, _) => least.max(1).to_string(),
        Kind::Word(words) => words[0].to_owned(),
    }
}

/// The smallest value a schema takes.
fn smallest(schema: &Value, all: &Value, field: &str) -> Value {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return smallest(&all[reference.rsplit('/').next().unwrap()], all, field);
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        return smallest(&parts[0], all, field);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words[0].clone();
    }
    match schema["type"].as_str() {
        Some("string") if field == "storage_namespace" => json!("mem://other"),
        Some("string") => json!("main"),
        Some("integer") => json!(schema.get("minimum").and_then(Value::as_i64).unwrap_or(0)),
        Some("boolean") => json!(false),
        Some("array") if schema.get("minItems").is_some() => json!([smallest(&schema["items"], all, "")]),
        Some("array") => json!([]),
        Some("object") => {
            let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            let fields = required.iter().map(|name| {
                let name = name.as_str().unwrap();
                (name.to_owned(), smallest(&schema["properties"][name], all, name))
            });
            Value::Object(fields.collect())
        }
        other => panic!("{field}: {other:?}"),
    }
}

fn segment(described: &Described, part: &str) -> String {
    let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return part.to_owned();
    };
    if name == "repository" {
        return "lake".to_owned();
    }
    let declared = described.parameters.iter().find(|parameter| parameter.name == name);
    declared.map_or_else(|| "main".to_owned(), good)
}

/// A request with everything that the description names.
fn full_request(
    operation: &Operation,
    document: &Value,
) -> (String, Vec<(&'static str, String)>, Option<Value>) {
    let described = operation.described;
    let path: Vec<String> = operation.path.split('/').map(|part| segment(described, part)).collect();
    let mut query = form_urlencoded::Serializer::new(String::new());
    let mut headers = Vec::new();
    for parameter in described.parameters {
        match parameter.place {
            Place::Path => {}
            Place::Query => drop(query.append_pair(parameter.name, &good(parameter))),
            Place::Header => headers.push((parameter.name, good(parameter))),
        }
    }
    let shown = &document["paths"][operation.path][operation.method.as_str().to_ascii_lowercase()];
    let schema = &shown["requestBody"]["content"]["application/json"]["schema"];
    let body = operation.body.map(|_| smallest(schema, &document["components"]["schemas"], ""));
    (format!("{}?{}", path.join("/"), query.finish()), headers, body)
}

#[tokio::test]
async fn what_operations_read_is_what_they_declare() {
    let document = document().await;
    for operation in table() {
        if operation.described.served == Served::No {
            continue;
        }
        let rest = door().await;
        let (at, headers, body) = full_request(&operation, &document);
        reads::take();
        let (status, answer) = ask(&rest, operation.method.clone(), &at, &headers, body.as_ref()).await;
        let read = reads::take();
        let declared: BTreeSet<String> = operation
            .described
            .parameters
            .iter()
            .filter(|parameter| !parameter.is_in_path())
            .map(|parameter| match parameter.place {
                Place::Header => parameter.name.to_ascii_lowercase(),
                _ => parameter.name.to_owned(),
            })
            .collect();
        assert_eq!(read, declared, "{} reads the left, declares the right", operation.id);
        let understood = !answer.contains("has an error") && !answer.contains("Invalid format");
        assert!(understood, "{} does not understand what it describes: {status} {answer}", operation.id);
    }
}

#[tokio::test]
async fn a_missing_required_parameter_is_refused_by_name() {
    let document = document().await;
    let rest = door().await;
    for operation in table() {
        for required in operation.described.parameters {
            if !required.required || required.is_in_path() || operation.described.served == Served::No {
                continue;
            }
            let (at, headers, body) = full_request(&operation, &document);
            let without = at.split_once('?').unwrap().0;
            let (status, answer) =
                ask(&rest, operation.method.clone(), without, &headers, body.as_ref()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{} without {}", operation.id, required.name);
            if operation.method != Method::HEAD {
                assert!(answer.contains(required.name), "{}: {answer}", operation.id);
            }
        }
    }
}

#[test]
fn every_operation_is_described_and_nothing_else_is() {
    let served: BTreeSet<&str> = table().iter().map(|operation| operation.id).collect();
    let mut described = BTreeSet::new();
    for operation in operations::ALL.iter().flat_map(|some| some.iter()) {
        assert!(described.insert(operation.id), "{} is described twice", operation.id);
        assert!(!operation.summary.is_empty() && !operation.answers.is_empty(), "{}", operation.id);
        assert!(!operation.summary.ends_with('.'), "{}", operation.id);
        for tag in operation.tags {
            assert!(prose::TAGS.iter().any(|(name, _)| name == tag), "{}: {tag}", operation.id);
        }
    }
    assert_eq!(served, described);
}

#[tokio::test]
async fn the_document_holds_together() {
    let document = document().await;
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (at, _) in text.match_indices("#/components/schemas/") {
        let name = text[at + "#/components/schemas/".len()..].split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is referred to");
    }
    let mut ids = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id, format!("{method} {path}")).is_none());
            for parameter in operation["parameters"].as_array().unwrap() {
                assert_ne!(parameter["description"], json!(""), "{method} {path}: {parameter}");
            }
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let said = answer.get("$ref").is_some() || answer["description"] != json!("");
                assert!(said, "{method} {path}: {status}");
            }
        }
    }
    assert_eq!(ids.len(), table().len());
}

#[tokio::test]
async fn it_is_sent_once_to_those_who_keep_it() {
    let rest = door().await;
    let first = rest.describe(None);
    assert_eq!(first.status(), StatusCode::OK);
    let etag = first.headers()[header::ETAG].clone();
    let again = rest.describe(Some(&etag));
    assert_eq!((again.status(), &again.headers()[header::ETAG]), (StatusCode::NOT_MODIFIED, &etag));
    assert_eq!(rest.describe(Some(&"\"other\"".parse().unwrap())).status(), StatusCode::OK);
    let (status, _) =
        ask(&rest, Method::GET, "/openapi.json", &[("If-None-Match", "*".to_owned())], None).await;
    assert_eq!(status, StatusCode::OK, "only a named document is known");
}
