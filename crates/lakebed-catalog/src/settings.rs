//! Settings: branch protection, collection rules (`versioning-api` §4, §5.1).

use lakebed_core::{BranchId, RepositoryId};
use lakebed_kv::{Check, Outcome, Transaction};

use crate::catalog::Inner;
use crate::publish::MOVE_ATTEMPTS;
use crate::working::busy;
use crate::{Catalog, CatalogError, ErrorKind, PageRequest, keys, wire};

/// Branches given a barrier per page when rules change.
const BARRIER_PAGE: usize = 256;

impl Catalog {
    /// The protection patterns and their ETag (empty if never set).
    pub async fn branch_protection(
        &self,
        repository: &RepositoryId,
    ) -> Result<(Vec<String>, String), CatalogError> {
        let (repository, _) = self.inner.repository(repository).await?;
        match self.inner.kv.get(&keys::rules(&repository.birth)).await? {
            Some(row) => {
                let rules: wire::RulesRow = wire::decode(&row.value, "branch protection")?;
                Ok((rules.patterns, etag(&row.value)))
            }
            None => Ok((Vec::new(), String::new())),
        }
    }

    /// Replaces the patterns; `if_match` must equal the ETag if given. In force when it answers: every matching
    /// branch was given a barrier, so whatever is written afterwards was checked against the new rules.
    pub async fn set_branch_protection(
        &self,
        repository: &RepositoryId,
        patterns: &[String],
        if_match: Option<&str>,
    ) -> Result<(), CatalogError> {
        let inner = &self.inner;
        let id = repository;
        let (repository, _) = inner.repository(id).await?;
        Inner::check_writable(&repository, false)?;
        let mut kept: Vec<String> = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            if pattern.is_empty() {
                return Err(CatalogError::refused(
                    ErrorKind::Invalid,
                    "argument pattern: required value: a branch name, with * and ? as wildcards",
                ));
            }
            if !kept.contains(pattern) {
                kept.push(pattern.clone());
            }
        }
        let key = keys::rules(&repository.birth);
        let value = wire::encode(&wire::RulesRow { patterns: kept });
        let mut done = false;
        for _ in 0..MOVE_ATTEMPTS {
            let old = inner.kv.get(&key).await?;
            let old_etag = old.as_ref().map(|row| etag(&row.value)).unwrap_or_default();
            if if_match.is_some_and(|wanted| wanted != old_etag) {
                return Err(CatalogError::refused(
                    ErrorKind::PreconditionFailed,
                    "branch protection rules were changed meanwhile: precondition failed, read them again",
                ));
            }
            let check = old.map_or(Check::Absent, |row| Check::Version(row.version));
            let transaction = Transaction::new().check(key.clone(), check).put(key.clone(), value.clone());
            if let Outcome::Done(_) = inner.kv.transact(transaction).await? {
                inner.exports.mark(id);
                done = true;
                break;
            }
        }
        if !done {
            return Err(busy("branch protection rules"));
        }
        // Read again: what a restore brought meanwhile is to have its barrier, too.
        let (repository, _) = inner.repository(id).await?;
        let mut page = PageRequest { amount: BARRIER_PAGE, ..PageRequest::default() };
        loop {
            let branches = self.list_branches(id, &page, true).await?;
            for branch in &branches.items {
                if matches_any(&value, &branch.id)? {
                    inner.barrier(&repository, &branch.id, None).await?;
                }
            }
            if !branches.has_more {
                return Ok(());
            }
            page.after = branches.next_offset;
        }
    }

    /// The collection rules as the JSON the client sent; `None` if not set.
    pub async fn gc_rules(&self, repository: &RepositoryId) -> Result<Option<String>, CatalogError> {
        let (repository, _) = self.inner.repository(repository).await?;
        let row = self.inner.kv.get(&keys::gc_rules(&repository.birth)).await?;
        row.map(|row| String::from_utf8(row.value.to_vec()))
            .transpose()
            .map_err(|_| CatalogError::Damaged { what: "collection rules" })
    }

    /// Replaces the collection rules; `None` removes them.
    pub async fn set_gc_rules(
        &self,
        repository: &RepositoryId,
        rules: Option<&str>,
    ) -> Result<(), CatalogError> {
        let (repository, pin) = self.inner.pinned(repository).await?;
        Inner::check_writable(&repository, false)?;
        let key = keys::gc_rules(&repository.birth);
        let transaction = Transaction::new().check(pin.0, pin.1);
        let transaction = match rules {
            Some(rules) => transaction.put(key, rules.as_bytes().to_vec()),
            None => transaction.delete(key),
        };
        match self.inner.kv.transact(transaction).await? {
            Outcome::Done(_) => {
                self.inner.exports.mark(&repository.id);
                Ok(())
            }
            Outcome::Refused(_) | Outcome::Unknown => Err(busy("collection rules")),
        }
    }
}

/// Empty as long as there are no rules.
fn etag(rules: &[u8]) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let digest = blake3::hash(rules);
    hex::encode(digest.as_bytes())
}

/// Whether any of the stored patterns matches a branch.
pub(crate) fn matches_any(rules: &[u8], branch: &BranchId) -> Result<bool, CatalogError> {
    let rules: wire::RulesRow = wire::decode(rules, "branch protection")?;
    Ok(rules.patterns.iter().any(|pattern| glob(pattern.as_bytes(), branch.as_str().as_bytes())))
}

/// `*` stands for any text, `?` for one character; the whole name must match. Linear in pattern times name.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after_star, from)) => {
                    retry = Some((after_star, from + 1));
                    p = after_star;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, matches) in [
            ("main", "main", true),
            ("main", "main2", false),
            ("*", "x", true),
            ("stable-*", "stable-1", true),
            ("stable-*", "unstable-1", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?", "ab", false),
            ("r?l*", "rel-1", true),
            ("[", "x", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), matches, "{pattern} {name}");
        }
    }
}
