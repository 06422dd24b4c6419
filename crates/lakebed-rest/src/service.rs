//! The door itself.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use lakebed_auth::{Auth, Permission};
use lakebed_catalog::Catalog;
use lakebed_core::Entropy;
use lakebed_http::{AnswerBody, BoxError, InBody, Served};

use crate::authenticate::{Identity, identify};
use crate::call::Call;
use crate::config::RestConfig;
use crate::description::Document;
use crate::error::RestError;
use crate::reply;
use crate::router::Router;
use crate::routes;
use crate::usage::Usage;

/// Where the API begins.
const PREFIX: &str = "/api/v1";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// The REST door. Cheap to clone; holds nothing but caches and counters.
#[derive(Clone)]
pub struct Rest(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    auth: Auth,
    config: RestConfig,
    entropy: Arc<dyn Entropy>,
    router: Router,
    document: Document,
    usage: Usage,
}

impl Rest {
    /// A door to this catalog. `entropy` makes request ids.
    ///
    /// # Panics
    /// Never in a build whose tests passed: the table of operations must not claim a place twice.
    #[allow(clippy::expect_used)] // the table is part of the program, and a test builds it
    pub fn new(catalog: Catalog, auth: Auth, config: RestConfig, entropy: Arc<dyn Entropy>) -> Self {
        let router = Router::new(routes::table()).expect("the operations' paths do not collide");
        let document = Document::new(router.operations(), &config.version);
        Self(Arc::new(Inner { catalog, auth, config, entropy, router, document, usage: Usage::default() }))
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.auth
    }

    pub(crate) fn config(&self) -> &RestConfig {
        &self.0.config
    }

    pub(crate) fn usage(&self) -> &Usage {
        &self.0.usage
    }

    /// Answers a request for the description of the API: an OpenAPI document, the same as the operation
    /// `getApiDescription` answers. Nobody needs credentials for it.
    pub fn describe(&self, if_none_match: Option<&HeaderValue>) -> Response<AnswerBody> {
        self.0.document.answer(if_none_match)
    }

    /// Whether the sender of a request that belongs to no operation has a permission.
    ///
    /// # Errors
    ///
    /// The answer to one who has not.
    pub async fn permit(&self, parts: &Parts, needed: &Permission) -> Result<(), Box<Response<AnswerBody>>> {
        let decided = match identify(self, parts).await {
            Ok(Identity::Known(principal)) => principal.authorize(needed).map_err(RestError::from),
            Ok(Identity::Anonymous) => Err(RestError::unauthenticated()),
            Err(error) => Err(error),
        };
        decided.map_err(|error| Box::new(error.into_response()))
    }

    /// Answers a request under `/api/v1`. The answer is complete but for `Date` and what belongs to the connection.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.0.usage.count(self.0.catalog.clock().now());
        let is_head = *request.method() == Method::HEAD;
        let mut response = self.answer(request).await;
        if is_head && (response.status().is_client_error() || response.status().is_server_error()) {
            *response.body_mut() = AnswerBody::empty();
            if response.status() == StatusCode::UNAUTHORIZED {
                response.headers_mut().remove(header::CONTENT_TYPE);
            }
        }
        let headers = response.headers_mut();
        if !is_head {
            headers.insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        if let Ok(id) = HeaderValue::from_str(&self.request_id()) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }

    async fn answer<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let Some(found) = self.0.router.find(&parts.method, path) else {
            return RestError::not_found("invalid API endpoint").into_response();
        };
        Served::note(|served| {
            served.operation = Some(found.operation.id);
            if served.in_detail {
                let param = |wanted: &[&str]| {
                    let found = found.params.iter().find(|(name, _)| wanted.contains(name));
                    found.map(|(_, value)| value.clone())
                };
                served.repository = param(&["repository"]);
                served.reference = param(&["branch", "ref", "tag", "sourceRef", "leftRef", "commitId"]);
            }
        });
        let call = Call {
            rest: self.clone(),
            params: found.params,
            principal: None,
            described: found.operation.described,
            body: Some(InBody::new(body)),
            parts,
        };
        match found.operation.run(call).await {
            Ok(response) => response,
            Err(error) => error.into_response(),
        }
    }

    fn request_id(&self) -> String {
        let mut bytes = [0; 16];
        self.0.entropy.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// The answer to a path that only clients of the time before 1.0 know.
pub(crate) fn unknown_endpoint() -> reply::Reply {
    Err(RestError::not_found("invalid API endpoint"))
}
