//! Buckets: repositories (`s3-gateway` §8.1, §8.2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use lakebed_auth::{AuthError, Permission};
use lakebed_catalog::PageRequest;

use super::listing::write_owner;
use crate::auth::date_time;
use crate::call::Call;
use crate::error::S3Error;
use crate::operation::{Needs, Operation};
use crate::reply::{self, Reply};
use crate::xml::Writer;

/// The most buckets of one answer, when the client says how many.
const MOST_BUCKETS: usize = 10_000;

/// `GET /`
pub(crate) struct ListBuckets {
    prefix: String,
    after: String,
    /// All, if the client says nothing.
    most: Option<usize>,
    /// Buckets of another region are asked for: there are none.
    elsewhere: bool,
    /// Clients that ask by region are told the region.
    with_region: bool,
}

impl Operation for ListBuckets {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let query = &call.query;
        let most = match query.get("max-buckets") {
            None => None,
            Some(text) => match text.parse() {
                Ok(number) if (1..=MOST_BUCKETS).contains(&number) => Some(number),
                _ => {
                    let message = "max-buckets must be an integer between 1 and 10000";
                    return Err(S3Error::argument("max-buckets", text, message));
                }
            },
        };
        let token = query.get("continuation-token").unwrap_or_default();
        let after = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let after = after.ok_or_else(|| {
            S3Error::argument("continuation-token", token, "The continuation token provided is incorrect")
        })?;
        Ok(Self {
            prefix: query.get("prefix").unwrap_or_default().to_owned(),
            after,
            most,
            with_region: query.has("bucket-region"),
            elsewhere: query.get("bucket-region").is_some_and(|region| region != call.s3.config().region),
        })
    }

    /// Who may not list them all sees those they may read; if there are none, the refusal.
    fn needs(&self, _call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::EachKey)
    }

    async fn run(self, call: Call) -> Reply {
        let (auth, principal) = (call.s3.auth(), &call.principal);
        let refusal = match auth.authorize(principal, &Permission::global("fs:ListRepositories")).await {
            Ok(()) => None,
            Err(denied @ AuthError::Denied { .. }) => Some(denied),
            Err(error) => return Err(error.into()),
        };
        let mut xml = Writer::result("ListAllMyBucketsResult");
        write_owner(&mut xml, &call, "Owner");
        xml.open("Buckets");
        let (mut shown, mut last, mut more) = (0usize, None, false);
        let mut page = PageRequest { prefix: self.prefix.clone(), after: self.after, amount: 1000 };
        'pages: loop {
            if self.elsewhere {
                break;
            }
            let found = call.catalog().list_repositories(&page, "").await?;
            for repository in found.items {
                let name = repository.id.as_str();
                if refusal.is_some() {
                    match auth.authorize(principal, &Permission::repository("fs:ReadRepository", name)).await
                    {
                        Ok(()) => {}
                        Err(AuthError::Denied { .. }) => continue,
                        Err(error) => return Err(error.into()),
                    }
                }
                if self.most.is_some_and(|most| shown >= most) {
                    more = true;
                    break 'pages;
                }
                xml.open("Bucket").text("Name", name);
                xml.text("CreationDate", &date_time::iso(repository.created));
                if self.with_region {
                    xml.text("BucketRegion", &call.s3.config().region);
                }
                xml.close("Bucket");
                shown += 1;
                last = Some(repository.id);
            }
            if !found.has_more {
                break;
            }
            page.after = found.next_offset;
        }
        if let Some(refusal) = refusal
            && shown == 0
        {
            return Err(refusal.into());
        }
        xml.close("Buckets");
        if more && let Some(last) = &last {
            xml.text("ContinuationToken", &URL_SAFE_NO_PAD.encode(last.as_str()));
        }
        if !self.prefix.is_empty() {
            xml.text("Prefix", &self.prefix);
        }
        Ok(reply::xml(StatusCode::OK, xml.finish("ListAllMyBucketsResult")))
    }
}

/// The permission to know of a bucket.
pub(crate) fn may_know(call: &Call) -> Needs {
    Needs::one(Permission::repository("fs:ReadRepository", call.place.repository()))
}

/// `HEAD /bucket`
pub(crate) struct HeadBucket;

impl Operation for HeadBucket {
    fn parse(_call: &Call) -> Result<Self, S3Error> {
        Ok(Self)
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(may_know(call))
    }

    async fn run(self, call: Call) -> Reply {
        call.existing().await?;
        let mut response = reply::empty(StatusCode::OK);
        reply::name_region(&mut response, &call.s3.config().region);
        Ok(response)
    }
}
