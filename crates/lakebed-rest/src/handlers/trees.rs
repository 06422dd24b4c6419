//! Trees as files (`versioning-api` §16).

use http::{HeaderValue, StatusCode, header};
use lakebed_core::NodeId;
use serde::Serialize;

use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};

#[derive(Serialize)]
struct Location {
    location: String,
}

/// The tree a path parameter names. What is no id names no tree.
fn id(call: &Call, parameter: &str) -> Result<NodeId, RestError> {
    let text = call.param(parameter);
    text.parse().map_err(|_| RestError::not_found(format!("tree '{text}' not found")))
}

/// Where a tree's root node lies.
pub(crate) async fn meta_range(call: Call, (): ()) -> Reply {
    located(&call, "meta_range").await
}

/// Where a node lies.
pub(crate) async fn range(call: Call, (): ()) -> Reply {
    located(&call, "range").await
}

async fn located(call: &Call, parameter: &str) -> Reply {
    let location = call.catalog().tree_location(&call.repository()?, &id(call, parameter)?).await?;
    let header = HeaderValue::from_str(&location);
    let mut response = reply::ok(&Location { location })?;
    if let Ok(value) = header {
        response.headers_mut().insert(header::LOCATION, value);
    }
    Ok(response)
}

pub(crate) fn file_input(call: &Call) -> Result<bool, RestError> {
    match call.param("type") {
        "range" | "meta_range" => call.query().flag("presign"),
        _ => Err(RestError::bad_request(
            "parameter \"type\" in path has an error: it must be range or meta_range",
        )),
    }
}

/// A node's bytes. Their form is ours: not the one that jobs made for lakeFS read.
pub(crate) async fn file(call: Call, presign: bool) -> Reply {
    if presign {
        return Err(RestError::bad_request("presigned URLs are not supported by this block store"));
    }
    let bytes = call.catalog().tree_file(&call.repository()?, &id(&call, "object_id")?).await?;
    let mut response = reply::raw_json(StatusCode::OK, bytes.to_vec());
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
