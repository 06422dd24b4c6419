//! Beginning and dropping multipart uploads (`s3-gateway` §8.8).

use http::{HeaderName, HeaderValue, StatusCode};
use lakebed_catalog::{EntryDraft, Precondition};

use super::acl;
use super::delete::may_delete;
use super::put::may_write;
use super::upload_target::{Agreed, named, options};
use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::metadata;
use crate::operation::{Needs, Operation};
use crate::payload::checksum::{CHECKSUM_ALGORITHM, CHECKSUM_TYPE};
use crate::reply::{self, Reply};
use crate::write_conditions::modified_at;
use crate::xml::Writer;

/// `POST /bucket/key?uploads`
pub(crate) struct CreateMultipartUpload {
    draft: EntryDraft,
    agreed: Option<Agreed>,
}

impl Operation for CreateMultipartUpload {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        acl::is_canned(call)?;
        Ok(Self { draft: metadata::draft(call.headers())?, agreed: Agreed::parse(call.headers())? })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(may_write(call)?))
    }

    async fn run(self, call: Call) -> Reply {
        let (repository, branch, path) = call.target().await?;
        let options = options(&call, self.agreed);
        let upload = call.catalog().create_upload(&repository, &branch, &path, self.draft, options).await?;
        let mut xml = Writer::result("InitiateMultipartUploadResult");
        xml.text("Bucket", call.place.bucket().unwrap_or_default())
            .text("Key", call.key()?.as_str())
            .text("UploadId", &upload.id);
        let mut response = reply::xml(StatusCode::OK, xml.finish("InitiateMultipartUploadResult"));
        if let Some(Agreed { algorithm, kind }) = self.agreed {
            let headers = response.headers_mut();
            headers.insert(CHECKSUM_ALGORITHM, HeaderValue::from_static(algorithm.name()));
            headers.insert(CHECKSUM_TYPE, HeaderValue::from_static(kind.name()));
        }
        Ok(response)
    }
}

/// When the upload must have been begun.
const IF_MATCH_INITIATED: HeaderName = HeaderName::from_static("x-amz-if-match-initiated-time");

/// `DELETE /bucket/key?uploadId`
pub(crate) struct AbortMultipartUpload;

impl Operation for AbortMultipartUpload {
    fn parse(_call: &Call) -> Result<Self, S3Error> {
        Ok(Self)
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(may_delete(call.place.repository(), call.key()?.path())))
    }

    async fn run(self, call: Call) -> Reply {
        let target = named(&call).await?;
        if let Some(time) = call.header(IF_MATCH_INITIATED) {
            let initiated = call.catalog().upload(&target).await?.initiated.secs();
            let (now, asked) = (call.catalog().clock().now().secs(), modified_at(time));
            // A time to come is no condition, S3 says.
            let is_to_come = matches!(asked, Some(Precondition::ModifiedAt(at)) if at > now);
            if !is_to_come && asked != Some(Precondition::ModifiedAt(initiated)) {
                return Err(
                    S3Error::of(Code::PreconditionFailed).with("Condition", IF_MATCH_INITIATED.as_str())
                );
            }
        }
        call.catalog().abort_upload(&target).await?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }
}
