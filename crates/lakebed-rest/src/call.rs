//! One request on its way through: what handlers are given.

use std::str::FromStr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use lakebed_auth::Principal;
use lakebed_catalog::Catalog;
use lakebed_core::{BranchId, RefExpr, RepositoryId, TagId};

use crate::description::Described;
use crate::error::RestError;
use crate::query::Query;
use crate::service::Rest;
use lakebed_http::InBody;

/// A request that found its operation.
pub(crate) struct Call {
    pub rest: Rest,
    pub parts: Parts,
    /// What the operation declares.
    pub described: &'static Described,
    /// Path parameters by name, decoded once.
    pub params: Vec<(&'static str, String)>,
    /// Who asks; `None` only for operations that are open to everybody.
    pub principal: Option<Arc<Principal>>,
    /// The body, until it is taken: operations with a JSON body have theirs taken before the handler runs.
    pub body: Option<InBody>,
}

impl Call {
    pub(crate) fn catalog(&self) -> &Catalog {
        self.rest.catalog()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query::new(self.parts.uri.query(), self.described.parameters)
    }

    /// A declared header, byte for byte.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        crate::query::note_read(name.as_str());
        self.headers().get(name)
    }

    /// A path parameter as the client meant it; empty if the operation's path has none of this name.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn repository(&self) -> Result<RepositoryId, RestError> {
        self.named("repository", "repository")
    }

    pub(crate) fn branch(&self) -> Result<BranchId, RestError> {
        self.named("branch", "branch")
    }

    pub(crate) fn tag(&self) -> Result<TagId, RestError> {
        self.named("tag", "tag")
    }

    /// The ref expression in a path parameter.
    pub(crate) fn reference(&self, name: &str) -> Result<RefExpr, RestError> {
        self.named(name, "ref")
    }

    /// A name that holds a slash travels as `%2F` in one segment: nothing can have such a name, so it is not found.
    pub(crate) fn named<T>(&self, name: &str, what: &str) -> Result<T, RestError>
    where
        T: FromStr,
        RestError: From<T::Err>,
    {
        let text = self.param(name);
        text.parse().map_err(|error| {
            if text.contains('/') {
                RestError::not_found(format!("{what} not found"))
            } else {
                RestError::from(error)
            }
        })
    }

    pub(crate) fn principal(&self) -> Result<&Principal, RestError> {
        self.principal.as_deref().ok_or_else(RestError::unauthenticated)
    }

    /// Whom commits name.
    pub(crate) fn committer(&self) -> Result<String, RestError> {
        Ok(self.principal()?.committer().to_owned())
    }

    /// True for clients of the time before 1.0 (`api-legacy-clients` §1), which need fields and operations that are
    /// gone since.
    pub(crate) fn is_legacy_client(&self) -> bool {
        self.headers()
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
            .is_some_and(|agent| agent.starts_with("lakefs-python-sdk/0.") || agent.ends_with("-legacy"))
    }
}
