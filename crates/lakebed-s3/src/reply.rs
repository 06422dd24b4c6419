//! Answers.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use lakebed_http::AnswerBody;

use crate::error::S3Error;

/// What an operation gives back.
pub(crate) type Reply = Result<Response<AnswerBody>, S3Error>;

/// The region, on answers about buckets.
const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// Says where a bucket is.
pub(crate) fn name_region(response: &mut Response<AnswerBody>, region: &str) {
    if let Ok(region) = HeaderValue::from_str(region) {
        response.headers_mut().insert(BUCKET_REGION, region);
    }
}

/// A status without a body.
pub(crate) fn empty(status: StatusCode) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::empty());
    *response.status_mut() = status;
    response
}

/// A document.
pub(crate) fn xml(status: StatusCode, document: String) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(document));
    *response.status_mut() = status;
    response
}

/// The type of documents and of answers without content, as lakeFS chooses it by the client's `Accept`
/// (`s3-gateway` §5).
pub(crate) fn xml_type(request: &HeaderMap) -> HeaderValue {
    let Some(accept) = request.get(header::ACCEPT) else {
        return HeaderValue::from_static("application/xml");
    };
    let accept = accept.to_str().unwrap_or_default();
    if accept.is_empty() || accept.split(',').any(|kind| kind.trim() == "application/xml") {
        HeaderValue::from_static("application/xml")
    } else if accept == "text/xml" {
        HeaderValue::from_static("text/xml")
    } else {
        HeaderValue::from_static("text/xml; charset=utf-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_the_type_asked_for() {
        let of = |accept: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            xml_type(&headers).to_str().unwrap().to_owned()
        };
        assert_eq!(of(None), "application/xml");
        assert_eq!(of(Some("text/xml, application/xml")), "application/xml");
        assert_eq!(of(Some("text/xml")), "text/xml");
        assert_eq!(of(Some("*/*")), "text/xml; charset=utf-8");
    }
}
