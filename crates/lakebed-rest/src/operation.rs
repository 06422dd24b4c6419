//! Operations: a path, who may call it, what it takes, what it does - in this order, and none can be left out.
//!
//! `get("getBranch", "/repositories/{repository}/branches/{branch}")` gives a [`Route`], which can do nothing but take
//! its access ([`Route::requires`] and kin); the [`Guarded`] route takes its input, and only then its handler.

use std::future::Future;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use lakebed_http::Served;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::access::{self, Access, Requirement};
use crate::authenticate::{self, Identity};
use crate::call::Call;
use crate::description::operation::{JsonBody, schema_of};
use crate::description::{self, Described};
use crate::error::RestError;
use crate::json;
use crate::reply::Reply;

/// One operation of the API description, ready to run.
pub(crate) struct Operation {
    pub id: &'static str,
    pub method: Method,
    pub path: &'static str,
    /// What kind of access was declared.
    pub access: AccessKind,
    /// The JSON body it reads.
    pub body: Option<JsonBody>,
    /// What is said of it; its parameters are read by this.
    pub described: &'static Described,
    run: Box<dyn Fn(Call) -> BoxFuture<'static, Reply> + Send + Sync>,
}

/// [`Access`] without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessKind {
    Public,
    AnonymousToo,
    Authenticated,
    EachItem,
    Requires,
}

impl Operation {
    pub(crate) fn run(&self, call: Call) -> BoxFuture<'static, Reply> {
        (self.run)(call)
    }

    /// The names of the parameters in its path, in order.
    pub(crate) fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// True if it has parameters besides those in its path.
    pub(crate) fn takes_parameters(&self) -> bool {
        self.described.parameters.iter().any(|parameter| !parameter.is_in_path())
    }
}

/// A path that nobody may call yet.
pub(crate) struct Route {
    id: &'static str,
    method: Method,
    path: &'static str,
}

pub(crate) fn get(id: &'static str, path: &'static str) -> Route {
    Route { id, method: Method::GET, path }
}

pub(crate) fn head(id: &'static str, path: &'static str) -> Route {
    Route { id, method: Method::HEAD, path }
}

pub(crate) fn post(id: &'static str, path: &'static str) -> Route {
    Route { id, method: Method::POST, path }
}

pub(crate) fn put(id: &'static str, path: &'static str) -> Route {
    Route { id, method: Method::PUT, path }
}

pub(crate) fn patch(id: &'static str, path: &'static str) -> Route {
    Route { id, method: Method::PATCH, path }
}

pub(crate) fn delete(id: &'static str, path: &'static str) -> Route {
    Route { id, method: Method::DELETE, path }
}

impl Route {
    /// Open to everybody.
    pub(crate) fn public<I>(self) -> Guarded<I> {
        Guarded { route: self, access: Access::Public }
    }

    /// Anonymous callers are let in as such.
    pub(crate) fn anonymous_too<I>(self) -> Guarded<I> {
        Guarded { route: self, access: Access::AnonymousToo }
    }

    /// Any known caller.
    pub(crate) fn authenticated<I>(self) -> Guarded<I> {
        Guarded { route: self, access: Access::Authenticated }
    }

    /// The handler asks for each item.
    pub(crate) fn each_item<I>(self) -> Guarded<I> {
        Guarded { route: self, access: Access::EachItem }
    }

    /// Callers with these permissions.
    pub(crate) fn requires<I>(
        self,
        needed: impl Fn(&Call, &I) -> Requirement + Send + Sync + 'static,
    ) -> Guarded<I> {
        Guarded { route: self, access: Access::Requires(Box::new(needed)) }
    }
}

/// A path with its access.
pub(crate) struct Guarded<I> {
    route: Route,
    access: Access<I>,
}

impl Guarded<()> {
    /// Takes nothing but what is in the path.
    pub(crate) fn bare(self) -> Taking<()> {
        self.query(|_| Ok(()))
    }
}

impl<I: Send + Sync + 'static> Guarded<I> {
    /// Takes query and headers. A body is left to the handler.
    pub(crate) fn query(self, parse: fn(&Call) -> Result<I, RestError>) -> Taking<I> {
        Taking { guarded: self, body: None, parse: Box::new(move |call, _| parse(call)) }
    }

    /// Takes a JSON body, with query and headers.
    pub(crate) fn json<T: DeserializeOwned + JsonSchema + 'static>(
        self,
        parse: fn(&Call, T) -> Result<I, RestError>,
    ) -> Taking<I> {
        Taking {
            guarded: self,
            body: Some(JsonBody { schema: schema_of::<T>, required: true }),
            parse: Box::new(move |call, body| parse(call, json::required(call.headers(), body)?)),
        }
    }

    /// Takes a JSON body that may be absent.
    pub(crate) fn optional_json<T: DeserializeOwned + JsonSchema + 'static>(
        self,
        parse: fn(&Call, Option<T>) -> Result<I, RestError>,
    ) -> Taking<I> {
        Taking {
            guarded: self,
            body: Some(JsonBody { schema: schema_of::<T>, required: false }),
            parse: Box::new(move |call, body| parse(call, json::optional(call.headers(), body)?)),
        }
    }
}

type Parse<I> = Box<dyn Fn(&Call, &[u8]) -> Result<I, RestError> + Send + Sync>;

/// A guarded path with its input.
pub(crate) struct Taking<I> {
    guarded: Guarded<I>,
    body: Option<JsonBody>,
    parse: Parse<I>,
}

impl<I: Send + Sync + 'static> Taking<I> {
    /// Does this.
    pub(crate) fn does<H, F>(self, handler: H) -> Operation
    where
        H: Fn(Call, I) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let Taking { guarded: Guarded { route: Route { id, method, path }, access }, body, parse } = self;
        let described = description::of(id);
        let reads_body = body.is_some();
        let kind = match &access {
            Access::Public => AccessKind::Public,
            Access::AnonymousToo => AccessKind::AnonymousToo,
            Access::Authenticated => AccessKind::Authenticated,
            Access::EachItem => AccessKind::EachItem,
            Access::Requires(_) => AccessKind::Requires,
        };
        let shared = std::sync::Arc::new((access, parse, handler));
        let run = move |mut call: Call| {
            let shared = shared.clone();
            async move {
                let (access, parse, handler) = &*shared;
                described.check(&call.params, call.headers())?;
                let body = match call.body.take_if(|_| reads_body) {
                    Some(body) => json::read(body).await?,
                    None => Bytes::new(),
                };
                let input = parse(&call, &body)?;
                admit(&mut call, access, &input).await?;
                handler(call, input).await
            }
            .boxed()
        };
        Operation { id, method, path, access: kind, body, described, run: Box::new(run) }
    }
}

/// Finds out who calls and whether they may.
async fn admit<I>(call: &mut Call, access: &Access<I>, input: &I) -> Result<(), RestError> {
    if matches!(access, Access::Public) {
        return Ok(());
    }
    match authenticate::identify(&call.rest, &call.parts).await? {
        Identity::Known(principal) => {
            Served::note(|served| {
                if served.in_detail {
                    served.user = Some(principal.user_id.clone());
                }
            });
            call.principal = Some(principal);
        }
        Identity::Anonymous if matches!(access, Access::AnonymousToo) => return Ok(()),
        Identity::Anonymous => return Err(RestError::unauthenticated()),
    }
    if let Access::Requires(needed) = access {
        let requirement = needed(call, input);
        access::decide(call.principal()?, &requirement)?;
    }
    Ok(())
}
