//! Tags (`versioning-api` §13).

use lakebed_core::traces::SPAN;
use lakebed_core::{Incarnation, RefExpr, RepositoryId, TagId};
use lakebed_kv::{Check, Outcome, Transaction, Version};

use crate::catalog::Inner;
use crate::neighbours::rows_at;
use crate::publish::MOVE_ATTEMPTS;
use crate::working::busy;
use crate::{Catalog, CatalogError, ErrorKind, Page, PageRequest, Repository, Tag, keys, wire};

impl Catalog {
    /// Makes a tag at the commit of `target`.
    #[tracing::instrument(target = SPAN, name = "catalog create tag", skip_all)]
    pub async fn create_tag(
        &self,
        repository: &RepositoryId,
        tag: &TagId,
        target: &RefExpr,
        force: bool,
    ) -> Result<Tag, CatalogError> {
        let inner = &self.inner;
        let call = Incarnation::random(&*inner.entropy);
        let mut unsure = false;
        for _ in 0..MOVE_ATTEMPTS {
            let refs = |repository: &Repository| {
                let reference = |name| keys::reference(&repository.incarnation, name);
                vec![reference(target.base()), reference(tag.as_str())]
            };
            let (repository, version, refs) = inner.repository_with(repository, refs).await?;
            let pin = (keys::repository(&repository.id), Check::Version(version));
            let [base, taken] = &refs[..] else {
                return Err(CatalogError::Damaged { what: "answer of the key-value engine" });
            };
            Inner::check_writable(&repository, force)?;
            if unsure {
                // Absent may mean that it was made and deleted since: then it is not made again.
                let Some(row) = inner.kv.get(&keys::tag(&repository.incarnation, tag)).await? else { break };
                let row: wire::RefRow = wire::decode(&row.value, "ref")?;
                if row.call == call.as_bytes() {
                    return Ok(Tag { id: tag.clone(), commit: wire::commit_id(&row.tag)? });
                }
            }
            let commit = inner.resolve_in(&repository, target, base.as_ref()).await?;
            inner.name_is_free(&repository, tag.as_str(), "tag", taken.as_ref()).await?;
            let key = keys::tag(&repository.incarnation, tag);
            let row = wire::RefRow {
                branch: None,
                tag: commit.id.as_bytes().to_vec(),
                call: call.as_bytes().to_vec(),
            };
            let transaction = Transaction::new()
                .check(pin.0, pin.1)
                .check(key.clone(), Check::Absent)
                .put(key, wire::encode(&row))
                .put(keys::tag_index(&repository.incarnation, tag.as_str()), "");
            match inner.kv.transact(transaction).await? {
                Outcome::Done(_) => {
                    inner.exports.mark(&repository.id);
                    return Ok(Tag { id: tag.clone(), commit: commit.id });
                }
                Outcome::Refused(_) => {}
                Outcome::Unknown => unsure = true,
            }
        }
        Err(busy(&format!("create tag '{tag}'")))
    }

    /// The tag.
    pub async fn tag(&self, repository: &RepositoryId, tag: &TagId) -> Result<Tag, CatalogError> {
        let (repository, _) = self.inner.repository(repository).await?;
        Ok(self.inner.find_tag(&repository, tag).await?.0)
    }

    /// Tags by id.
    pub async fn list_tags(
        &self,
        repository: &RepositoryId,
        page: &PageRequest,
    ) -> Result<Page<Tag>, CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        let r = &repository.incarnation;
        let index = |name: &str| keys::tag_index(r, name);
        let names = inner.page_of_names(index, &page.prefix, &page.after, page.amount + 1).await?;
        let wanted: Vec<_> = names.iter().map(|name| keys::reference(r, name)).collect();
        let found = rows_at(&*inner.kv, &wanted).await?;
        let mut items = Vec::with_capacity(names.len());
        for (name, row) in names.iter().zip(found) {
            let Some(row) = row else { continue };
            let row: wire::RefRow = wire::decode(&row.value, "ref")?;
            items.push(Tag { id: name.parse()?, commit: wire::commit_id(&row.tag)? });
        }
        Ok(crate::repositories::page_of(items, page.amount, |tag| tag.id.to_string()))
    }

    /// Removes a tag.
    pub async fn delete_tag(
        &self,
        repository: &RepositoryId,
        tag: &TagId,
        force: bool,
    ) -> Result<(), CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        Inner::check_writable(&repository, force)?;
        let mut unsure = false;
        for _ in 0..MOVE_ATTEMPTS {
            let (_, version) = match inner.find_tag(&repository, tag).await {
                // Gone is what was asked for, whoever did it.
                Err(error) if unsure && error.kind() == ErrorKind::TagNotFound => return Ok(()),
                found => found?,
            };
            let key = keys::tag(&repository.incarnation, tag);
            let transaction = Transaction::new()
                .check(key.clone(), Check::Version(version))
                .delete(key)
                .delete(keys::tag_index(&repository.incarnation, tag.as_str()));
            match inner.kv.transact(transaction).await? {
                Outcome::Done(_) => {
                    inner.exports.mark(&repository.id);
                    return Ok(());
                }
                Outcome::Refused(_) => {}
                Outcome::Unknown => unsure = true,
            }
        }
        Err(busy(&format!("delete tag '{tag}'")))
    }
}

impl Inner {
    async fn find_tag(&self, repository: &Repository, tag: &TagId) -> Result<(Tag, Version), CatalogError> {
        let not_found = || {
            CatalogError::refused(
                ErrorKind::TagNotFound,
                format!("tag '{tag}' of repository '{}' not found", repository.id),
            )
        };
        let row = self.kv.get(&keys::tag(&repository.incarnation, tag)).await?.ok_or_else(not_found)?;
        let decoded: wire::RefRow = wire::decode(&row.value, "ref")?;
        if decoded.branch.is_some() {
            return Err(not_found());
        }
        Ok((Tag { id: tag.clone(), commit: wire::commit_id(&decoded.tag)? }, row.version))
    }
}
