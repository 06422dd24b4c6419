//! Making and deleting buckets: repositories, where the configuration allows it (`s3-gateway` §8.2). By default a
//! repository is neither made nor deleted by an S3 client.

use http::{HeaderValue, StatusCode, header};
use lakebed_auth::Permission;
use lakebed_catalog::{CatalogError, ErrorKind, NewRepository};
use lakebed_core::RepositoryId;

use super::acl;
use crate::RepositoryTemplate;
use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::operation::{Needs, Operation};
use crate::payload::document;
use crate::reply::{self, Reply};
use crate::xml::Element;

/// The longest document read.
const LONGEST_DOCUMENT: usize = 64 << 10;

/// Names that S3 keeps for itself.
const RESERVED_PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
const RESERVED_SUFFIXES: [&str; 4] = ["-s3alias", "--ol-s3", "--x-s3", "--table-s3"];

/// The name of a bucket to be: a repository's, and one that S3 lets a bucket have, so that every client can name it.
fn new_name(name: &str) -> Result<RepositoryId, S3Error> {
    let invalid = || S3Error::of(Code::InvalidBucketName).with("BucketName", name);
    let reserved = RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || RESERVED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    if reserved || name.ends_with('-') {
        return Err(invalid());
    }
    name.parse().map_err(|_| invalid())
}

/// `PUT /bucket`
pub(crate) struct CreateBucket;

impl Operation for CreateBucket {
    const OF_BUCKET: bool = false;

    fn parse(call: &Call) -> Result<Self, S3Error> {
        acl::is_canned(call)?;
        let lock = call.headers().get("x-amz-bucket-object-lock-enabled");
        if lock.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true")) {
            return Err(S3Error::of(Code::NotImplemented).with("Header", "x-amz-bucket-object-lock-enabled"));
        }
        Ok(Self)
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(Permission::repository("fs:CreateRepository", call.place.repository())))
    }

    async fn run(self, mut call: Call) -> Reply {
        // A bucket that is a ref is as old as the ref.
        if call.place.named_ref().is_some() {
            call.existing().await?;
            return Err(S3Error::of(Code::BucketAlreadyOwnedByYou));
        }
        let known = call.repository().map_err(|_| new_name(call.place.repository()).err());
        let id = match known {
            Ok(id) => id,
            Err(error) => return Err(error.unwrap_or_else(|| S3Error::of(Code::InvalidBucketName))),
        };
        match call.catalog().repository(&id).await {
            Ok(_) => return Err(S3Error::of(Code::BucketAlreadyOwnedByYou)),
            Err(error) if error.kind() == ErrorKind::RepositoryNotFound => {}
            Err(error) => return Err(error.into()),
        }
        let Some(template) = call.s3.config().create_repository.clone() else {
            return Err(S3Error::new(
                Code::NotImplemented,
                "Repositories cannot be created through the S3 API; use the REST API, lakectl or the UI.",
            ));
        };
        let id = new_name(id.as_str())?;
        let body = document(&mut call, LONGEST_DOCUMENT).await?;
        check_location(&body, &call)?;
        match create(&call, &id, &template).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(S3Error::of(Code::BucketAlreadyOwnedByYou));
            }
            Err(error) => return Err(error.into()),
        }
        let mut response = reply::empty(StatusCode::OK);
        if let Ok(location) = HeaderValue::from_str(&format!("/{id}")) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }
}

/// Whether the region a client wants its bucket in is one that we can say to be.
fn check_location(document: &[u8], call: &Call) -> Result<(), S3Error> {
    if document.trim_ascii().is_empty() {
        return Ok(());
    }
    let root = Element::parse(document, "CreateBucketConfiguration")?;
    let Some(asked) = root.child("LocationConstraint") else { return Ok(()) };
    let (asked, config) = (asked.text().trim(), call.s3.config());
    let usual = ["", "us-east-1", "auto"].contains(&asked) || asked == config.region;
    if usual || !config.strict_region {
        return Ok(());
    }
    Err(S3Error::of(Code::InvalidLocationConstraint).with("LocationConstraint", asked))
}

async fn create(call: &Call, id: &RepositoryId, template: &RepositoryTemplate) -> Result<(), CatalogError> {
    let new = |namespace: String| NewRepository {
        id: id.clone(),
        storage_namespace: namespace,
        storage_id: template.storage_id.clone(),
        default_branch: Some(template.default_branch.clone()),
        bare: false,
        read_only: false,
    };
    let namespace = template.storage_namespace.replace("{name}", id.as_str());
    match call.catalog().create_repository(new(namespace.clone())).await {
        // A bucket of this name was there before: its bytes stay where they are, this one is a new one.
        Err(error) if error.kind() == ErrorKind::NamespaceRefused => {
            let mut ending = [0; 8];
            call.catalog().entropy().fill(&mut ending);
            let namespace = format!("{}-{}", namespace.trim_end_matches('/'), hex::encode(ending));
            call.catalog().create_repository(new(namespace)).await.map(drop)
        }
        result => result.map(drop),
    }
}

/// `DELETE /bucket`
pub(crate) struct DeleteBucket;

impl Operation for DeleteBucket {
    fn parse(_call: &Call) -> Result<Self, S3Error> {
        Ok(Self)
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(Permission::repository("fs:DeleteRepository", call.place.repository())))
    }

    async fn run(self, call: Call) -> Reply {
        call.existing().await?;
        if !call.s3.config().allow_delete_repository || call.place.named_ref().is_some() {
            return Err(S3Error::new(
                Code::ERRLakeFSNotSupported,
                "Repositories cannot be deleted through the S3 API; use the REST API, lakectl or the UI.",
            ));
        }
        let id = call.repository()?;
        if !call.catalog().delete_repository_if_empty(&id).await? {
            return Err(S3Error::of(Code::BucketNotEmpty));
        }
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_both_allow() {
        for good in ["abc", "a-b", "0bucket", &"a".repeat(63)] {
            assert!(new_name(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "a.b", "Abc", "a_b", "-abc", "abc-", "xn--abc", "abc-s3alias", &"a".repeat(64)]
        {
            assert_eq!(new_name(bad).err().map(|error| error.code()), Some(Code::InvalidBucketName), "{bad}");
        }
    }
}
