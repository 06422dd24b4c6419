//! The document: what `/openapi.json` answers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use lakebed_api::Error;
use lakebed_http::AnswerBody;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::operation::{Answer, Body, Content, Described, JsonBody, SchemaOf, Served, schema_of};
use super::{operations, prose, schemas};
use crate::operation::{AccessKind, Operation};
use crate::reply;

/// The description of the API, as it is sent.
pub(crate) struct Document {
    json: Bytes,
    etag: HeaderValue,
}

impl Document {
    /// Describes these operations.
    pub(crate) fn new(operations: &[Operation], version: &str) -> Self {
        let json: Bytes = build(operations, version).to_string().into();
        let etag = format!("\"{}\"", &blake3::hash(&json).to_hex()[..32]);
        let etag = HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\""));
        Self { json, etag }
    }

    /// Answers a request for it.
    pub(crate) fn answer(&self, if_none_match: Option<&HeaderValue>) -> Response<AnswerBody> {
        let known = if_none_match.and_then(|sent| sent.to_str().ok()).is_some_and(|sent| {
            sent.split(',').any(|etag| etag.trim().trim_start_matches("W/") == self.etag)
        });
        let mut response = if known {
            reply::empty(StatusCode::NOT_MODIFIED)
        } else {
            let mut response = Response::new(AnswerBody::whole(self.json.clone()));
            response.headers_mut().insert(header::CONTENT_TYPE, reply::JSON);
            response
        };
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// Builds the document.
fn build(operations: &[Operation], version: &str) -> Value {
    let mut generator = schemas::generator();
    let mut paths = Map::new();
    let order = operations::ALL.iter().flat_map(|some| some.iter());
    for described in order {
        for operation in operations.iter().filter(|operation| operation.id == described.id) {
            let shown = show(operation, described, &mut generator);
            let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
            methods[operation.method.as_str().to_ascii_lowercase()] = shown;
        }
    }
    let error = error_schema(&mut generator);
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Lakebed API",
            "version": version,
            "description": prose::ABOUT,
            "license": {"name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0.html"},
        },
        "servers": [{"url": "/api/v1"}],
        "tags": prose::TAGS.iter().map(|(name, text)| json!({"name": name, "description": text})).collect::<Vec<_>>(),
        "security": SECURITY.iter().map(|name| json!({*name: []})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": security_schemes(),
            "responses": {"Error": {
                "description": "Something went wrong on the server's side; its log says more.",
                "content": {"application/json": {"schema": error}},
            }},
            "schemas": schemas::collected(&mut generator),
        },
    })
}

const SECURITY: [&str; 5] = ["basic_auth", "jwt_token", "cookie_auth", "oidc_auth", "saml_auth"];

fn security_schemes() -> Value {
    let cookie =
        |name: &str, text: &str| json!({"type": "apiKey", "in": "cookie", "name": name, "description": text});
    json!({
        "basic_auth": {"type": "http", "scheme": "basic", "description": "Access key id and secret access key."},
        "jwt_token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The token of a login."},
        "cookie_auth": cookie("internal_auth_session", "The session that a login sets."),
        "oidc_auth": cookie("oidc_auth_session", "The session of a sign-in through OpenID Connect."),
        "saml_auth": cookie("saml_auth_session", "The session of a sign-in through SAML."),
    })
}

fn error_schema(generator: &mut SchemaGenerator) -> Value {
    schema(generator, schema_of::<Error>)
}

fn schema(generator: &mut SchemaGenerator, of: SchemaOf) -> Value {
    let mut shown = of(generator).to_value();
    schemas::tidy(&mut shown);
    shown
}

fn show(operation: &Operation, described: &Described, generator: &mut SchemaGenerator) -> Value {
    let mut shown = json!({
        "operationId": described.id,
        "tags": described.tags,
        "summary": described.summary,
        "parameters": parameters(operation, described),
        "responses": answers(operation, described, generator),
    });
    let mut text = described.text.to_owned();
    if let Some((more, answers)) = match described.served {
        Served::Yes => None,
        Served::NotYet => {
            Some(("This server does not do it yet: it checks the request and answers 501.", 501))
        }
        Served::No => Some(("This server does not serve it: an unknown endpoint, 404.", 404)),
    } {
        text = if text.is_empty() { more.to_owned() } else { format!("{text}\n\n{more}") };
        shown["x-lakebed"] = json!({"served": false, "answers": answers});
    }
    if !text.is_empty() {
        shown["description"] = json!(text);
    }
    if described.ours {
        shown["x-lakebed"] = json!({"extension": true});
    }
    if described.deprecated {
        shown["deprecated"] = json!(true);
    }
    match operation.access {
        AccessKind::Public => shown["security"] = json!([]),
        AccessKind::AnonymousToo => {
            let known = SECURITY.iter().map(|name| json!({*name: []}));
            shown["security"] = known.chain([json!({})]).collect();
        }
        _ => {}
    }
    if let Some(body) = body(operation, described, generator) {
        shown["requestBody"] = body;
    }
    shown
}

/// Path parameters in the order of the path, then the declared ones.
fn parameters(operation: &Operation, described: &Described) -> Vec<Value> {
    let in_path = operation.path_parameters().map(|name| {
        described.parameters.iter().find(|parameter| parameter.name == name && parameter.is_in_path()).map_or_else(
            || {
                let text = prose::path_parameter(name);
                json!({"name": name, "in": "path", "required": true, "description": text, "schema": {"type": "string"}})
            },
            |declared| declared.to_json(),
        )
    });
    let declared = described.parameters.iter().filter(|parameter| !parameter.is_in_path());
    in_path.chain(declared.map(|parameter| parameter.to_json())).collect()
}

fn body(operation: &Operation, described: &Described, generator: &mut SchemaGenerator) -> Option<Value> {
    let json = |body: JsonBody, generator: &mut SchemaGenerator| {
        json!({
            "required": body.required,
            "content": {"application/json": {"schema": schema(generator, body.schema)}},
        })
    };
    match described.body {
        Body::Table => operation.body.map(|body| json(body, generator)),
        Body::Unread(body) => Some(json(body, generator)),
        Body::Object => {
            let bytes = json!({"type": "string", "format": "binary"});
            Some(json!({"content": {
                "application/octet-stream": {"schema": bytes},
                "multipart/form-data": {"schema": {"type": "object", "properties": {"content": bytes}}},
            }}))
        }
    }
}

/// The declared answers, and the refusals that follow from what the operation takes.
fn answers(operation: &Operation, described: &Described, generator: &mut SchemaGenerator) -> Value {
    let mut all: Map<String, Value> = Map::new();
    let served = described.served != Served::No;
    for answer in described.answers {
        all.insert(answer.status.to_string(), content(answer, generator));
    }
    let mut refusals = described.refusals.to_vec();
    let is_public = operation.access == AccessKind::Public;
    let has_body = operation.body.is_some() || matches!(described.body, Body::Object);
    let takes_something =
        operation.path_parameters().next().is_some() || !described.parameters.is_empty() || has_body;
    let mut add = |status: u16, condition: bool| {
        if condition {
            refusals.push(status);
        }
    };
    add(400, served && (takes_something || !is_public));
    add(401, served && !is_public);
    add(403, served && !is_public && !matches!(operation.method, Method::GET | Method::HEAD));
    add(404, !served || operation.path_parameters().next().is_some());
    add(413, served && operation.body.is_some());
    add(429, served && described.id != "healthCheck");
    add(501, described.served == Served::NotYet);
    for status in refusals {
        all.entry(status.to_string()).or_insert_with(|| refusal(status, operation, generator));
    }
    if operation.method == Method::HEAD {
        all.insert("default".to_owned(), json!({"description": prose::refusal(500)}));
    } else {
        all.insert("default".to_owned(), json!({"$ref": "#/components/responses/Error"}));
    }
    Value::Object(all)
}

fn refusal(status: u16, operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut content = json!({"application/json": {"schema": error_schema(generator)}});
    if status == 400 && operation.takes_parameters() {
        // A single value given twice, and an empty number, boolean, word or header.
        content["text/plain"] = json!({"schema": {"type": "string"}});
    }
    json!({"description": prose::refusal(status), "content": content})
}

fn content(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    let mut shown = json!({"description": answer.text});
    let text = || json!({"schema": {"type": "string"}});
    match answer.content {
        Content::Nothing => {}
        Content::Json(of) => {
            shown["content"] = json!({"application/json": {"schema": schema(generator, of)}});
        }
        Content::JsonOrText(of) => {
            shown["content"] = json!({
                "application/json": {"schema": schema(generator, of)},
                "text/plain": text(),
                // Never sent: lakeFS describes it so.
                "application/text": text(),
            });
        }
        Content::Text => shown["content"] = json!({"text/plain": text()}),
        Content::Bytes => {
            shown["content"] =
                json!({"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}});
        }
    }
    for (name, says) in answer.headers {
        shown["headers"][*name] = json!({"description": says, "schema": {"type": "string"}});
    }
    shown
}
