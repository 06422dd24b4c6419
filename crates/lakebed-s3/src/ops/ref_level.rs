//! The first level of a bucket: its branches, and its tags if they are listed, as common prefixes `branch/`, in the order
//! S3 keys have (`s3-gateway` §8.3).
//!
//! That order is not the order of names: `-` sorts before `/`, so `a-b/` comes before `a/`. In the catalog's order a name
//! stands directly before all that begin with it and a `-`; so it is held back until they have passed. At any time only
//! names that begin with one another are held.

use std::collections::VecDeque;

use lakebed_catalog::{Catalog, CatalogError, ErrorKind, PageRequest};
use lakebed_core::{BranchId, RefExpr, RepositoryId, TagId};

use crate::ListedRefs;
use crate::call::is_no_ref;

/// Names read from the catalog at once.
const BATCH: usize = 1000;

/// Names that start with `prefix` and whose `name/` comes after `after`, at most `amount`; and whether more follow.
pub(crate) async fn names(
    level: &Level<'_>,
    prefix: &str,
    after: &str,
    amount: usize,
) -> Result<(Vec<String>, bool), CatalogError> {
    let mut order = Order::new(amount);
    for name in held_at(after) {
        if name.starts_with(prefix) && level.lists(name).await? {
            order.hold(name.to_owned());
        }
    }
    let mut names = Names::new(level, prefix, after);
    while let Some(name) = names.next().await? {
        order.push(name);
        if order.is_full() {
            break;
        }
    }
    Ok(order.finish())
}

/// The first level of a bucket.
pub(crate) struct Level<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) repository: &'a RepositoryId,
    pub(crate) listed: ListedRefs,
}

impl Level<'_> {
    fn has_tags(&self) -> bool {
        self.listed == ListedRefs::BranchesAndTags
    }

    /// Whether a name is one of those that are listed.
    async fn lists(&self, name: &str) -> Result<bool, CatalogError> {
        if let Ok(branch) = name.parse::<BranchId>() {
            match self.catalog.branch(self.repository, &branch).await {
                Ok(branch) => return Ok(!branch.hidden),
                Err(error) if is_no_ref(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        if self.has_tags()
            && let Ok(tag) = name.parse::<TagId>()
        {
            match self.catalog.tag(self.repository, &tag).await {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::TagNotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// What is listed, in the order of names. Branches and tags share one space of names, so none comes twice.
struct Names<'a> {
    level: &'a Level<'a>,
    branches: Batch,
    tags: Batch,
}

/// The names of one kind, read some at a time.
struct Batch {
    page: PageRequest,
    held: VecDeque<String>,
    more: bool,
}

impl<'a> Names<'a> {
    fn new(level: &'a Level<'a>, prefix: &str, after: &str) -> Self {
        let batch = |more| Batch {
            page: PageRequest { prefix: prefix.to_owned(), after: after.to_owned(), amount: BATCH },
            held: VecDeque::new(),
            more,
        };
        Self { level, branches: batch(true), tags: batch(level.has_tags()) }
    }

    async fn next(&mut self) -> Result<Option<String>, CatalogError> {
        let Level { catalog, repository, .. } = *self.level;
        while self.branches.is_due() {
            let found = catalog.list_branches(repository, &self.branches.page, false).await?;
            let names = found.items.into_iter().map(|branch| branch.id.to_string());
            self.branches.fill(names, found.has_more, found.next_offset);
        }
        while self.tags.is_due() {
            let found = catalog.list_tags(repository, &self.tags.page).await?;
            let names = found.items.into_iter().map(|tag| tag.id.to_string());
            self.tags.fill(names, found.has_more, found.next_offset);
        }
        let of_tags = match (self.branches.held.front(), self.tags.held.front()) {
            (Some(branch), Some(tag)) => tag < branch,
            (branch, _) => branch.is_none(),
        };
        Ok(if of_tags { self.tags.held.pop_front() } else { self.branches.held.pop_front() })
    }
}

impl Batch {
    fn is_due(&self) -> bool {
        self.held.is_empty() && self.more
    }

    fn fill(&mut self, names: impl Iterator<Item = String>, more: bool, next: String) {
        self.held.extend(names);
        (self.more, self.page.after) = (more, next);
    }
}

/// Whether a name is a tag, a commit or an expression: a level of its own though it is not listed. A branch that is not
/// listed is hidden.
pub(crate) async fn is_unlisted(
    catalog: &Catalog,
    repository: &RepositoryId,
    name: &str,
) -> Result<bool, CatalogError> {
    let Ok(expr) = name.parse::<RefExpr>() else { return Ok(false) };
    match catalog.resolve(repository, &expr).await {
        Ok(_) => Ok(!catalog.is_branch(repository, name).await?),
        Err(error) if error.kind() == ErrorKind::AmbiguousRef || is_no_ref(error.kind()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The names that come after `after` as `name/` though they do not come after it as names: those that it begins with
/// and that a character before `/`, or nothing, follows. Shortest first.
fn held_at(after: &str) -> impl Iterator<Item = &str> {
    (1..=after.len())
        .filter(|end| {
            after.is_char_boundary(*end) && after.as_bytes().get(*end).is_none_or(|next| *next < b'/')
        })
        .map(|end| &after[..end])
}

/// Turns names in their own order into the order of `name/`.
struct Order {
    held: Vec<String>,
    out: Vec<String>,
    amount: usize,
}

impl Order {
    fn new(amount: usize) -> Self {
        Self { held: Vec::new(), out: Vec::new(), amount }
    }

    fn hold(&mut self, name: String) {
        self.held.push(name);
    }

    fn push(&mut self, name: String) {
        while let Some(last) = self.held.pop() {
            if name.strip_prefix(last.as_str()).is_some_and(|rest| rest.as_bytes().first() < Some(&b'/')) {
                self.held.push(last);
                break;
            }
            self.out.push(last);
        }
        self.held.push(name);
    }

    /// One more than asked for is known: that is enough to say that more follow.
    fn is_full(&self) -> bool {
        self.out.len() > self.amount
    }

    fn finish(mut self) -> (Vec<String>, bool) {
        if !self.is_full() {
            self.out.extend(self.held.into_iter().rev());
        }
        let more = self.out.len() > self.amount;
        self.out.truncate(self.amount);
        (self.out, more)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What [`names`] does, over a set of names.
    fn page(names: &BTreeSet<String>, after: &str, amount: usize) -> (Vec<String>, bool) {
        let mut order = Order::new(amount);
        for name in held_at(after) {
            if names.contains(name) {
                order.hold(name.to_owned());
            }
        }
        for name in names.iter().filter(|name| name.as_str() > after) {
            order.push(name.clone());
            if order.is_full() {
                break;
            }
        }
        order.finish()
    }

    proptest! {
        #[test]
        fn pages_are_those_of_the_sorted_keys(
            names in proptest::collection::btree_set("[a-b_][-ab]{0,3}", 0..20),
            after in "[-ab/]{0,4}",
            amount in 0usize..6,
        ) {
            let mut keys: Vec<String> = names.iter().map(|name| format!("{name}/")).collect();
            keys.sort();
            let left: Vec<&String> = keys.iter().filter(|key| key.as_str() > after.as_str()).collect();
            let (found, more) = page(&names, &after, amount);
            let found: Vec<String> = found.into_iter().map(|name| name + "/").collect();
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), left.iter().take(amount).copied().collect::<Vec<_>>());
            prop_assert_eq!(more, left.len() > amount);
        }
    }
}
