//! Which operation a request means: method, place, sub-resource and telling headers, never the verb alone
//! (`s3-gateway` §2.3).

use http::request::Parts;
use http::{Method, header};

use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::operation::perform;
use crate::ops;
use crate::place::Place;
use crate::reply::Reply;

/// Query names that select an operation.
const SUBRESOURCES: [&str; 38] = [
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
    "events",
    "list-type",
];

/// Whether a request is a browser's form upload to a bucket.
pub(crate) fn is_form(parts: &Parts) -> bool {
    /// First segments that are never buckets here.
    const RESERVED: [&str; 8] = ["api", "auth", "oidc", "iceberg", "metrics", "_health", "_pprof", "assets"];
    let path = parts.uri.path().trim_matches('/');
    parts.method == Method::POST
        && !path.is_empty()
        && !path.contains('/')
        && !RESERVED.contains(&path)
        && parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"multipart/form-data"))
}

/// The sub-resource a request names; `list-type` and `uploadId` select too, but are read by their operations.
fn subresource(call: &Call) -> Option<&str> {
    call.query.pairs().map(|(name, _)| name).find(|name| SUBRESOURCES.contains(name))
}

/// Runs the operation a request means.
pub(crate) async fn dispatch(call: Call) -> Reply {
    let method = call.parts.method.clone();
    let sub = subresource(&call).map(str::to_owned);
    match (&call.place, &method, sub.as_deref()) {
        (Place::Service, &Method::GET, None) => perform::<ops::buckets::ListBuckets>(call).await,
        (Place::Bucket(_), &Method::HEAD, None) => perform::<ops::buckets::HeadBucket>(call).await,
        _ => Err(S3Error::of(Code::ERRLakeFSNotSupported)),
    }
}
