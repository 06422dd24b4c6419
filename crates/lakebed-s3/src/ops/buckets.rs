//! Buckets: repositories (`s3-gateway` §8.1, §8.2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use lakebed_auth::{AuthError, Permission};
use lakebed_catalog::{ErrorKind, PageRequest, Repository};
use lakebed_core::RepositoryId;

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
                    let message = "Argument max-buckets must be an integer between 1 and 10000.";
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
        let refusal = match call.principal.authorize(&Permission::global("fs:ListRepositories")) {
            Ok(()) => None,
            Err(denied @ AuthError::Denied { .. }) => Some(denied),
            Err(error) => return Err(error.into()),
        };
        let mut buckets = Buckets::new(&call, &self);
        if !self.elsewhere {
            buckets.fill(refusal.is_some()).await?;
        }
        if let Some(refusal) = refusal
            && buckets.shown == 0
        {
            return Err(refusal.into());
        }
        let Buckets { mut xml, last, more, .. } = buckets;
        xml.close("Buckets");
        if more {
            xml.text("ContinuationToken", &URL_SAFE_NO_PAD.encode(last));
        }
        if !self.prefix.is_empty() {
            xml.text("Prefix", &self.prefix);
        }
        Ok(reply::xml(StatusCode::OK, xml.finish("ListAllMyBucketsResult")))
    }
}

/// The buckets of an answer: repositories by name, each followed by those of its branches if they are listed.
struct Buckets<'a> {
    call: &'a Call,
    asked: &'a ListBuckets,
    of_branches: bool,
    xml: Writer,
    shown: usize,
    /// The last one shown: `<repository>`, or `<repository>/<branch>`.
    last: String,
    more: bool,
}

impl<'a> Buckets<'a> {
    fn new(call: &'a Call, asked: &'a ListBuckets) -> Self {
        let config = call.s3.config();
        let mut xml = Writer::result("ListAllMyBucketsResult");
        write_owner(&mut xml, call, "Owner");
        xml.open("Buckets");
        let of_branches = config.list_branch_buckets && config.branch_buckets && !config.flat_mode;
        Self { call, asked, of_branches, xml, shown: 0, last: String::new(), more: false }
    }

    /// Shows what was asked for. `only_known`: those repositories that the sender may read.
    async fn fill(&mut self, only_known: bool) -> Result<(), S3Error> {
        let catalog = self.call.catalog();
        let asked = self.asked.after.as_str();
        let (after, branch) = asked.split_once('/').unwrap_or((asked, ""));
        // The page before ended among this repository's branches, or right before them.
        if self.of_branches
            && let Ok(id) = after.parse::<RepositoryId>()
        {
            match catalog.repository(&id).await {
                Ok(repository) => self.branches(&repository, branch).await?,
                Err(error) if error.kind() == ErrorKind::RepositoryNotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The names of branches come first in a bucket's name.
        let prefix = if self.of_branches { String::new() } else { self.asked.prefix.clone() };
        let mut page = PageRequest { prefix, after: after.to_owned(), amount: 1000 };
        while !self.more {
            let found = catalog.list_repositories(&page, "").await?;
            for repository in found.items {
                let name = repository.id.as_str();
                if only_known && !self.may("fs:ReadRepository", name)? {
                    continue;
                }
                if !self.show(name, name.to_owned(), &repository) {
                    return Ok(());
                }
                if self.of_branches {
                    self.branches(&repository, "").await?;
                    if self.more {
                        return Ok(());
                    }
                }
            }
            if !found.has_more {
                break;
            }
            page.after = found.next_offset;
        }
        Ok(())
    }

    /// Shows the branches of a repository that come after `after`, if its branches may be listed.
    async fn branches(&mut self, repository: &Repository, after: &str) -> Result<(), S3Error> {
        let id = &repository.id;
        if !self.of_branches || !self.may("fs:ListBranches", id.as_str())? {
            return Ok(());
        }
        let mut page = PageRequest { prefix: String::new(), after: after.to_owned(), amount: 1000 };
        loop {
            let found = match self.call.catalog().list_branches(id, &page, false).await {
                Ok(found) => found,
                // Deleted since it was listed.
                Err(error) if error.kind() == ErrorKind::RepositoryNotFound => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            for branch in found.items {
                let (bucket, place) = (format!("{}.{id}", branch.id), format!("{id}/{}", branch.id));
                if !self.show(&bucket, place, repository) {
                    return Ok(());
                }
            }
            if !found.has_more {
                return Ok(());
            }
            page.after = found.next_offset;
        }
    }

    fn may(&self, action: &'static str, repository: &str) -> Result<bool, S3Error> {
        let permission = Permission::repository(action, repository);
        match self.call.principal.authorize(&permission) {
            Ok(()) => Ok(true),
            Err(AuthError::Denied { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Shows one more; `false`: it is one more than was asked for. A bucket of a ref is as old as its repository.
    fn show(&mut self, name: &str, place: String, repository: &Repository) -> bool {
        if !name.starts_with(&self.asked.prefix) {
            return true;
        }
        if self.asked.most.is_some_and(|most| self.shown >= most) {
            self.more = true;
            return false;
        }
        let xml = &mut self.xml;
        xml.open("Bucket").text("Name", name).text("CreationDate", &date_time::iso(repository.created));
        if self.asked.with_region {
            xml.text("BucketRegion", &self.call.s3.config().region);
        }
        xml.close("Bucket");
        self.shown += 1;
        self.last = place;
        true
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
