//! Which operation a request means: method, place, sub-resource and telling headers, never the verb alone
//! (`s3-gateway` §2.3).

use http::request::Parts;
use http::{Method, StatusCode};

use crate::call::Call;
use crate::copy_source::COPY_SOURCE;
use crate::error::{Code, S3Error};
use crate::operation::perform;
use crate::ops;
use crate::place::Place;
use crate::reply::{self, Reply};

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

/// Whether an unsigned request's path begins with something that may be a bucket's name.
pub(crate) fn may_be_bucket(parts: &Parts) -> bool {
    /// First segments that are never buckets here.
    const RESERVED: [&str; 11] = [
        "api",
        "auth",
        "oidc",
        "iceberg",
        "metrics",
        "_health",
        "_pprof",
        "assets",
        "logout",
        "openapi.json",
        "mds",
    ];
    let first = parts.uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
    !first.is_empty() && !RESERVED.contains(&first)
}

/// Whether an unsigned request to a host that is not the gateway's is a browser's form upload to a bucket.
pub(crate) fn is_form(parts: &Parts) -> bool {
    let path = parts.uri.path().trim_matches('/');
    parts.method == Method::POST
        && !path.contains('/')
        && may_be_bucket(parts)
        && ops::form::is_form_data(&parts.headers)
}

/// The sub-resource a request names; `list-type` and `uploadId` select too, but are read by their operations.
fn subresource(call: &Call) -> Option<&str> {
    call.query.pairs().map(|(name, _)| name).find(|name| SUBRESOURCES.contains(name))
}

/// Headers that say whose a bucket is expected to be: of the request, of a copy's source.
const EXPECTED_OWNERS: [&str; 2] = ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"];

/// Whoever asks owns what they see. Accounts that clients name otherwise are the object store's, and refused only if told
/// to (`strict_owner`).
fn check_owner(call: &Call) -> Result<(), S3Error> {
    let another = |name: &&str| {
        let expected = call.headers().get(*name);
        expected.is_some_and(|owner| !owner.is_empty() && owner != call.principal.user_id.as_str())
    };
    if call.s3.config().strict_owner && EXPECTED_OWNERS.iter().any(another) {
        return Err(S3Error::of(Code::AccessDenied));
    }
    Ok(())
}

/// Runs the operation a request means.
pub(crate) async fn dispatch(call: Call) -> Reply {
    check_owner(&call)?;
    let sub = subresource(&call).map(str::to_owned);
    let s3 = call.s3.clone();
    if let Some(fallback) = s3.fallback()
        && fallback.takes(&call).await?
    {
        return Box::pin(fallback.hand_on(call, sub.as_deref())).await;
    }
    match &call.place {
        Place::Service => service(call, sub.as_deref()).await,
        Place::Bucket(_) => bucket(call, sub.as_deref()).await,
        Place::Object { .. } => object(call, sub.as_deref()).await,
    }
}

async fn service(call: Call, sub: Option<&str>) -> Reply {
    match (&call.parts.method, sub) {
        (&Method::GET, None) => perform::<ops::buckets::ListBuckets>(call).await,
        _ => Ok(reply::empty(StatusCode::NOT_FOUND)),
    }
}

async fn bucket(call: Call, sub: Option<&str>) -> Reply {
    let method = call.parts.method.clone();
    match (&method, sub) {
        (&Method::GET, None | Some("list-type")) => match call.query.get("list-type") {
            None | Some("" | "1") => perform::<ops::list_objects::ListObjects>(call).await,
            Some("2") => perform::<ops::list_objects::ListObjectsV2>(call).await,
            Some(_) => {
                Err(S3Error::new(Code::BadRequest, "list-type must be 2, or absent for the first version."))
            }
        },
        (&Method::GET, Some("events")) => Err(S3Error::new(
            Code::NotImplemented,
            "Changes are not listened to through the S3 API; use hooks of the REST API.",
        )),
        (&Method::GET, Some("uploads")) => perform::<ops::list_uploads::ListMultipartUploads>(call).await,
        (&Method::POST, Some("delete")) => perform::<ops::delete_many::DeleteObjects>(call).await,
        (&Method::GET, Some("versions")) => perform::<ops::versions::ListObjectVersions>(call).await,
        (&Method::GET, Some(name)) if ops::bucket_config::is_known(name) => {
            perform::<ops::bucket_config::GetBucketConfig>(call).await
        }
        (&Method::PUT | &Method::DELETE, Some(name)) if ops::bucket_config::is_known(name) => {
            perform::<ops::bucket_config::SetBucketConfig>(call).await
        }
        (&Method::HEAD, _) => perform::<ops::buckets::HeadBucket>(call).await,
        (&Method::PUT, None) => perform::<ops::bucket_life::CreateBucket>(call).await,
        (&Method::DELETE, None) => perform::<ops::bucket_life::DeleteBucket>(call).await,
        (&Method::GET | &Method::PUT | &Method::DELETE | &Method::POST, _) => {
            Box::pin(unsupported(call, sub)).await
        }
        _ => Ok(reply::empty(StatusCode::NOT_FOUND)),
    }
}

async fn object(call: Call, sub: Option<&str>) -> Reply {
    let method = call.parts.method.clone();
    let is_copy = call.headers().contains_key(COPY_SOURCE);
    match (&method, sub) {
        (&Method::GET | &Method::HEAD, None) => perform::<ops::get::GetObject>(call).await,
        (&Method::GET, Some("acl")) => perform::<ops::acl::GetObjectAcl>(call).await,
        (&Method::GET, Some("attributes")) => perform::<ops::attributes::GetObjectAttributes>(call).await,
        (&Method::GET, Some("tagging")) => perform::<ops::get_tagging::GetObjectTagging>(call).await,
        (&Method::GET, Some("torrent" | "legal-hold" | "retention")) => {
            perform::<ops::absent::GetAbsent>(call).await
        }
        (&Method::PUT, None) if is_copy => perform::<ops::copy::CopyObject>(call).await,
        (&Method::PUT, None) => perform::<ops::put::PutObject>(call).await,
        (&Method::DELETE, None) => perform::<ops::delete::DeleteObject>(call).await,
        (&Method::POST, Some("uploads")) => perform::<ops::uploads::CreateMultipartUpload>(call).await,
        (&Method::PUT, Some("uploadId")) if is_copy => {
            perform::<ops::upload_part::UploadPartCopy>(call).await
        }
        (&Method::PUT, Some("uploadId")) => perform::<ops::upload_part::UploadPart>(call).await,
        (&Method::GET, Some("uploadId")) => perform::<ops::list_uploads::ListParts>(call).await,
        (&Method::POST, Some("uploadId")) => perform::<ops::complete::CompleteMultipartUpload>(call).await,
        (&Method::DELETE, Some("uploadId")) => perform::<ops::uploads::AbortMultipartUpload>(call).await,
        (&Method::PUT | &Method::DELETE, Some("tagging")) => {
            perform::<ops::put_tagging::SetObjectTagging>(call).await
        }
        (&Method::PUT, Some("renameObject")) => perform::<ops::rename::RenameObject>(call).await,
        (&Method::PUT, Some("acl")) => perform::<ops::acl::PutObjectAcl>(call).await,
        (&Method::POST, None) => Ok(reply::empty(StatusCode::METHOD_NOT_ALLOWED)),
        (&Method::GET | &Method::HEAD | &Method::PUT | &Method::DELETE | &Method::POST, _) => {
            Box::pin(unsupported(call, sub)).await
        }
        _ => Ok(reply::empty(StatusCode::NOT_FOUND)),
    }
}

/// What is known and not served. Told to ignore that (`verify_unsupported`), the request is what it is without the
/// sub-resource.
async fn unsupported(call: Call, sub: Option<&str>) -> Reply {
    if sub.is_none() || call.s3.config().verify_unsupported {
        return perform::<ops::absent::Unsupported>(call).await;
    }
    match &call.place {
        Place::Service => service(call, None).await,
        Place::Bucket(_) => bucket(call, None).await,
        Place::Object { .. } => object(call, None).await,
    }
}
