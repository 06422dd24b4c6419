//! Sub-resources of a bucket that have nothing behind them (`s3-gateway` §8.12): the answers that say so in each one's
//! own way, so that clients which ask go on.

use http::{Method, StatusCode};

use super::acl::{is_canned, no_grants};
use super::buckets::may_know;
use super::get_tagging::tag_set;
use super::listing::{of_bucket, write_owner};
use crate::CorsConfig;
use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::operation::{Needs, Operation};
use crate::payload::document;
use crate::reply::{self, Reply};
use crate::xml::{Element, Writer};

/// The longest document read.
const LONGEST_DOCUMENT: usize = 64 << 10;

/// What a GET finds.
enum Answer {
    /// There is none, in these words.
    None(Code),
    /// A document with this root and nothing in it.
    Empty(&'static str),
    /// A document with this root and a child with this text.
    One(&'static str, &'static str, &'static str),
}

/// `GET /bucket?<name>`
pub(crate) struct GetBucketConfig(String);

fn answer(name: &str) -> Option<Answer> {
    Some(match name {
        "policy" => Answer::None(Code::NoSuchBucketPolicy),
        "policyStatus" => Answer::One("PolicyStatus", "IsPublic", "FALSE"),
        "cors" => Answer::None(Code::NoSuchCORSConfiguration),
        "lifecycle" => Answer::None(Code::NoSuchLifecycleConfiguration),
        "encryption" => Answer::None(Code::ServerSideEncryptionConfigurationNotFoundError),
        "website" => Answer::None(Code::NoSuchWebsiteConfiguration),
        "replication" => Answer::None(Code::ReplicationConfigurationNotFoundError),
        "object-lock" => Answer::None(Code::ObjectLockConfigurationNotFoundError),
        "publicAccessBlock" => Answer::None(Code::NoSuchPublicAccessBlockConfiguration),
        "logging" => Answer::Empty("BucketLoggingStatus"),
        "notification" => Answer::Empty("NotificationConfiguration"),
        "accelerate" => Answer::Empty("AccelerateConfiguration"),
        "versioning" => Answer::Empty("VersioningConfiguration"),
        "requestPayment" => Answer::One("RequestPaymentConfiguration", "Payer", "BucketOwner"),
        "analytics" => Answer::One("ListBucketAnalyticsConfigurationResult", "IsTruncated", "false"),
        "inventory" => Answer::One("ListInventoryConfigurationsResult", "IsTruncated", "false"),
        "metrics" => Answer::One("ListMetricsConfigurationsResult", "IsTruncated", "false"),
        "intelligent-tiering" => {
            Answer::One("ListBucketIntelligentTieringConfigurationsOutput", "IsTruncated", "false")
        }
        _ => return None,
    })
}

/// Sub-resources of buckets that this answers.
pub(crate) fn is_known(name: &str) -> bool {
    matches!(name, "location" | "acl" | "tagging" | "ownershipControls") || answer(name).is_some()
}

/// The one a request names.
fn named(call: &Call) -> Option<&str> {
    call.query.pairs().map(|(name, _)| name).find(|name| is_known(name))
}

impl Operation for GetBucketConfig {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        Ok(Self(named(call).unwrap_or_default().to_owned()))
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(may_know(call))
    }

    async fn run(self, call: Call) -> Reply {
        let repository = call.existing().await?;
        let answer = match self.0.as_str() {
            "location" => {
                let region = &call.s3.config().region;
                let mut xml = Writer::result("LocationConstraint");
                if region != "us-east-1" {
                    xml.inner(region);
                }
                xml.finish("LocationConstraint")
            }
            "acl" => acl(&call),
            "ownershipControls" => {
                let mut xml = Writer::result("OwnershipControls");
                xml.open("Rule").text("ObjectOwnership", "BucketOwnerEnforced").close("Rule");
                xml.finish("OwnershipControls")
            }
            "cors" if call.s3.config().cors.is_some() => {
                call.s3.config().cors.as_ref().map(CorsConfig::document).unwrap_or_default()
            }
            "tagging" if repository.metadata.is_empty() => return Err(S3Error::of(Code::NoSuchTagSet)),
            "tagging" => tag_set(repository.metadata.iter()),
            name => match answer(name) {
                Some(Answer::None(code)) => return Err(S3Error::of(code)),
                Some(Answer::Empty(root)) => Writer::result(root).finish(root),
                Some(Answer::One(root, name, value)) => {
                    let mut xml = Writer::result(root);
                    xml.text(name, value);
                    xml.finish(root)
                }
                None => return Err(S3Error::of(Code::ERRLakeFSNotSupported)),
            },
        };
        of_bucket(&call, answer)
    }
}

/// Whoever asks owns the bucket or object, and has full control: what others may is decided by policies.
pub(crate) fn acl(call: &Call) -> String {
    let mut xml = Writer::result("AccessControlPolicy");
    write_owner(&mut xml, call, "Owner");
    xml.open("AccessControlList").open("Grant");
    let xsi = ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance");
    xml.start("Grantee", &[xsi, ("xsi:type", "CanonicalUser")]);
    let principal = &call.principal;
    xml.text("ID", &principal.user_id);
    xml.text("DisplayName", principal.friendly_name.as_deref().unwrap_or(&principal.user_id));
    xml.close("Grantee").text("Permission", "FULL_CONTROL").close("Grant").close("AccessControlList");
    xml.finish("AccessControlPolicy")
}

/// PUT and DELETE of a bucket's sub-resources: there is nothing to set, and so nothing to delete.
pub(crate) struct SetBucketConfig;

impl Operation for SetBucketConfig {
    fn parse(_call: &Call) -> Result<Self, S3Error> {
        Ok(Self)
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(may_know(call))
    }

    async fn run(self, mut call: Call) -> Reply {
        call.catalog().repository(&call.repository()?).await?;
        let is_delete = call.parts.method == Method::DELETE;
        match named(&call).unwrap_or_default() {
            "acl" if !is_delete => {
                if is_canned(&call)? {
                    return Ok(reply::empty(StatusCode::OK));
                }
                let body = document(&mut call, LONGEST_DOCUMENT).await?;
                Element::parse(&body, "AccessControlPolicy")?;
                Err(no_grants())
            }
            "versioning" if !is_delete => {
                let body = document(&mut call, LONGEST_DOCUMENT).await?;
                let asked = Element::parse(&body, "VersioningConfiguration")?;
                if asked.child("Status").is_some_and(|status| status.text().trim() == "Suspended") {
                    return Ok(reply::empty(StatusCode::OK));
                }
                Err(S3Error::new(
                    Code::NotImplemented,
                    "Buckets are not versioned the way of S3: commits are the versions.",
                ))
            }
            // What every bucket has cannot be deleted.
            "acl" | "versioning" | "location" => Err(S3Error::of(Code::ERRLakeFSNotSupported)),
            _ if is_delete => Ok(reply::empty(StatusCode::NO_CONTENT)),
            _ => Err(S3Error::of(Code::ERRLakeFSNotSupported)),
        }
    }
}
