//! Writing an object's tags (`s3-gateway` §8.10): a staged entry with the same bytes.

use http::{Method, StatusCode};

use super::put::may_write;
use crate::call::Call;
use crate::error::S3Error;
use crate::operation::{Needs, Operation};
use crate::payload;
use crate::reply::{self, Reply};
use crate::stored::TAGGING;
use crate::tags::Tags;

use super::delete::only_current;

/// The longest document of tags.
const LONGEST: usize = 1 << 20;

/// `PUT /bucket/key?tagging` and `DELETE /bucket/key?tagging`
pub(crate) struct SetObjectTagging;

impl Operation for SetObjectTagging {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        only_current(call.query.get("versionId"))?;
        Ok(Self)
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(may_write(call)?))
    }

    async fn run(self, mut call: Call) -> Reply {
        let (repository, branch, path) = call.target().await?;
        let (tags, status) = if call.parts.method == Method::DELETE {
            (None, StatusCode::NO_CONTENT)
        } else {
            let body = payload::document(&mut call, LONGEST).await?;
            (Tags::from_document(&body)?.kept(), StatusCode::OK)
        };
        call.catalog()
            .update_entry(&repository, &branch, &path, false, &|entry| match &tags {
                Some(tags) => {
                    entry.headers.insert(TAGGING.to_owned(), tags.clone());
                }
                None => {
                    entry.headers.remove(TAGGING);
                }
            })
            .await?;
        Ok(reply::empty(status))
    }
}
