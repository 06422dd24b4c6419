//! Deleting many objects by one request (`s3-gateway` §8.7): one batch per ref, an answer per key.

use std::collections::BTreeMap;

use http::StatusCode;
use lakebed_catalog::{CatalogError, ErrorKind, Precondition};
use lakebed_core::{BranchId, ObjectPath, RepositoryId};

use super::delete::{may_delete, only_current};
use crate::bucket::Key;
use crate::call::{self, Call};
use crate::error::{Code, S3Error};
use crate::operation::{Needs, Operation};
use crate::payload;
use crate::place::Place;
use crate::reply::{self, Reply};
use crate::write_conditions::{all, matches, modified_at};
use crate::xml::{Element, Writer};

/// The longest document.
const LONGEST: usize = 2 << 20;

/// Keys of a request at most.
const MOST_KEYS: usize = 1000;

/// `POST /bucket?delete`
pub(crate) struct DeleteObjects;

/// What the document asks for one key.
struct Asked {
    key: Key,
    version: Option<String>,
    precondition: Precondition,
}

struct Request {
    quiet: bool,
    objects: Vec<Asked>,
}

impl Request {
    fn parse(document: &[u8], place: &Place) -> Result<Self, S3Error> {
        let malformed = || S3Error::of(Code::MalformedXML);
        let root = Element::parse(document, "Delete")?;
        let quiet = root.child("Quiet").map(Element::value).transpose()?.unwrap_or(false);
        let mut objects = Vec::new();
        for object in root.all("Object") {
            let key = object.required("Key")?.text();
            if key.is_empty() || objects.len() == MOST_KEYS {
                return Err(malformed());
            }
            let mut conditions = Vec::new();
            if let Some(etag) = object.child("ETag") {
                conditions.push(matches(etag.text()));
            }
            if let Some(time) = object.child("LastModifiedTime") {
                conditions.push(modified_at(time.text()).ok_or_else(malformed)?);
            }
            if let Some(size) = object.child("Size") {
                conditions.push(Precondition::Size(size.value()?));
            }
            objects.push(Asked {
                key: place.key_of(key)?,
                version: object.child("VersionId").map(|version| version.text().to_owned()),
                precondition: all(conditions),
            });
        }
        if objects.is_empty() {
            return Err(malformed());
        }
        Ok(Self { quiet, objects })
    }
}

/// What is said of a key on a protected branch.
const PROTECTED: &str = "error deleting object: Attempted to write to a protected branch";

impl Operation for DeleteObjects {
    fn parse(_call: &Call) -> Result<Self, S3Error> {
        Ok(Self)
    }

    fn needs(&self, _call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::EachKey)
    }

    async fn run(self, mut call: Call) -> Reply {
        let repository = call.repository()?;
        let body = payload::document(&mut call, LONGEST).await?;
        let request = Request::parse(&body, &call.place)?;
        let mut allowed = Vec::with_capacity(request.objects.len());
        for object in &request.objects {
            allowed.push(call.authorize(&[may_delete(repository.as_str(), object.key.path())]));
        }
        // Who may delete nothing does not learn whether the repository is there.
        if allowed.iter().any(Result::is_ok) && call.catalog().repository(&repository).await?.read_only {
            return Err(S3Error::of(Code::ErrReadOnlyRepository));
        }
        let results = delete_all(&call, &repository, &request.objects, allowed).await?;
        let mut xml = Writer::result("DeleteResult");
        for (object, result) in request.objects.iter().zip(&results) {
            match result {
                Ok(()) if request.quiet => {}
                Ok(()) => {
                    xml.open("Deleted").text("Key", object.key.as_str());
                    if let Some(version) = &object.version {
                        xml.text("VersionId", version);
                    }
                    xml.close("Deleted");
                }
                Err(error) => {
                    xml.open("Error").text("Key", object.key.as_str());
                    if let Some(version) = &object.version {
                        xml.text("VersionId", version);
                    }
                    let message = match error.code() {
                        // Clients compare this one.
                        Code::ErrWriteToProtectedBranch => PROTECTED,
                        _ => error.message(),
                    };
                    xml.text("Code", error.code().as_str()).text("Message", message);
                    xml.close("Error");
                }
            }
        }
        Ok(reply::xml(StatusCode::OK, xml.finish("DeleteResult")))
    }
}

/// One key's result.
type Deleted = Result<(), S3Error>;

/// Deletes what may be deleted; results in the order asked for.
async fn delete_all(
    call: &Call,
    repository: &RepositoryId,
    objects: &[Asked],
    allowed: Vec<Deleted>,
) -> Result<Vec<Deleted>, S3Error> {
    let mut results: Vec<Deleted> = Vec::with_capacity(objects.len());
    // By branch: where in the request, and which path.
    let mut batches: BTreeMap<BranchId, Vec<(usize, ObjectPath)>> = BTreeMap::new();
    for (at, (object, allowed)) in objects.iter().zip(allowed).enumerate() {
        let result = match allowed.and_then(|()| plan(object)) {
            Ok(None) => Ok(()),
            Ok(Some((branch, path))) if object.precondition == Precondition::None => {
                batches.entry(branch).or_default().push((at, path));
                Ok(())
            }
            Ok(Some((branch, path))) => {
                let precondition = object.precondition.clone();
                missing_is_deleted(
                    call.catalog().delete_object(repository, &branch, &path, precondition, false).await,
                )
            }
            Err(error) => Err(error),
        };
        results.push(result);
    }
    for (branch, batch) in batches {
        let paths: Vec<ObjectPath> = batch.iter().map(|(_, path)| path.clone()).collect();
        match call.catalog().delete_objects(repository, &branch, &paths, false).await {
            Ok(deleted) => {
                for ((at, _), result) in batch.iter().zip(deleted) {
                    results[*at] = missing_is_deleted(result);
                }
            }
            Err(error) => {
                for (at, _) in batch {
                    let same = CatalogError::refused(error.kind(), error.to_string());
                    results[at] = missing_is_deleted(Err(same));
                }
            }
        }
    }
    Ok(results)
}

/// A branch that is not there has no objects to delete.
fn missing_is_deleted(result: Result<(), CatalogError>) -> Deleted {
    match result {
        Err(error) if error.kind() == ErrorKind::BranchNotFound => Ok(()),
        other => Ok(other?),
    }
}

/// What is to be deleted for one key; `None`: there is nothing.
fn plan(object: &Asked) -> Result<Option<(BranchId, ObjectPath)>, S3Error> {
    only_current(object.version.as_deref())?;
    if object.key.path().is_empty() {
        return Ok(None);
    }
    let branch = match call::branch(&object.key) {
        Err(error) if error.code() == Code::NoSuchBucket => return Ok(None),
        other => other?,
    };
    Ok(Some((branch, call::path(&object.key)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::S3Config;
    use crate::bucket::Bucket;

    fn parse(document: &str) -> Result<Request, Code> {
        let place = Place::Bucket(Bucket::new("repo", &S3Config::default()));
        Request::parse(document.as_bytes(), &place).map_err(|error| error.code())
    }

    #[test]
    fn requests_name_1_to_1000_keys() {
        let of = |count: usize| {
            let objects = "<Object><Key>main/x</Key></Object>".repeat(count);
            parse(&format!("<Delete>{objects}</Delete>")).map(|request| request.objects.len())
        };
        assert_eq!(of(0), Err(Code::MalformedXML));
        assert_eq!(of(1000), Ok(1000));
        assert_eq!(of(1001), Err(Code::MalformedXML));
        assert!(parse("<Delete><Object><Key></Key></Object></Delete>").is_err());
    }

    #[test]
    fn conditions_of_keys_are_read() {
        let request = parse(
            "<Delete><Quiet> true </Quiet><Object><Key>main/a b</Key><VersionId>null</VersionId><ETag>\"e\"</ETag>\
             <LastModifiedTime>2013-05-24T00:00:00Z</LastModifiedTime><Size>3</Size></Object>\
             <Object><Key>main/c</Key></Object></Delete>",
        )
        .unwrap();
        assert!(request.quiet);
        assert_eq!(request.objects[0].key.as_str(), "main/a b");
        assert_eq!(request.objects[0].version.as_deref(), Some("null"));
        assert_eq!(
            request.objects[0].precondition,
            Precondition::All(vec![
                Precondition::Matches("e".to_owned()),
                Precondition::ModifiedAt(1_369_353_600),
                Precondition::Size(3),
            ])
        );
        assert_eq!(request.objects[1].precondition, Precondition::None);
    }
}
