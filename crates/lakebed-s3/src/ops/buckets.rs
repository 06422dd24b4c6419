//! Buckets: repositories (`s3-gateway` §8.1, §8.2).

use http::{HeaderValue, StatusCode};
use lakebed_auth::Permission;
use lakebed_catalog::PageRequest;

use crate::call::Call;
use crate::error::S3Error;
use crate::operation::{Needs, Operation};
use crate::reply::{self, BUCKET_REGION, Reply};
use crate::xml::Writer;

/// `GET /`
pub(crate) struct ListBuckets;

impl Operation for ListBuckets {
    fn parse(_call: &Call) -> Result<Self, S3Error> {
        Ok(Self)
    }

    fn needs(&self, _call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(Permission::global("fs:ListRepositories")))
    }

    async fn run(self, call: Call) -> Reply {
        let mut xml = Writer::result("ListAllMyBucketsResult");
        xml.open("Owner").text("ID", &call.principal.user_id).close("Owner").open("Buckets");
        let mut request = PageRequest { amount: 1000, ..PageRequest::default() };
        loop {
            let page = call.catalog().list_repositories(&request, "").await?;
            for repository in &page.items {
                xml.open("Bucket").text("Name", repository.id.as_str()).close("Bucket");
            }
            if !page.has_more {
                break;
            }
            request.after = page.next_offset;
        }
        xml.close("Buckets");
        Ok(reply::xml(StatusCode::OK, xml.finish("ListAllMyBucketsResult")))
    }
}

/// `HEAD /bucket`
pub(crate) struct HeadBucket;

impl Operation for HeadBucket {
    fn parse(_call: &Call) -> Result<Self, S3Error> {
        Ok(Self)
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(Permission::repository("fs:ReadRepository", call.place.bucket().unwrap_or_default())))
    }

    async fn run(self, call: Call) -> Reply {
        call.catalog().repository(&call.repository()?).await?;
        let mut response = reply::empty(StatusCode::OK);
        if let Ok(region) = HeaderValue::from_str(&call.s3.config().region) {
            response.headers_mut().insert(BUCKET_REGION, region);
        }
        Ok(response)
    }
}
