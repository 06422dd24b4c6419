//! The register of storage namespaces: whose each is, who names objects in it, and which were given up
//! (`protocol.md`, Create and Delete repository).
//!
//! A namespace belongs to one repository for ever: its claim in the engine and its marker in the store stay when the
//! repository goes. Others can depend on its bytes: bare and read-only repositories may share it, and entries elsewhere
//! may name addresses in it. Whoever comes to depend on a namespace rewrites its claim in the same transaction, so that
//! giving it up, which is on the claim's version, happens before (and they are refused) or after (and sees them).

use lakebed_blocks::{BlockAddress, BlockError, Namespace, PutOptions, StoreId, StoreInfo};
use lakebed_core::{Incarnation, ObjectName, RepositoryId};
use lakebed_kv::{Check, KeyRange, Outcome, Transaction, Version};

use crate::catalog::Inner;
use crate::publish::MOVE_ATTEMPTS;
use crate::sweep::after;
use crate::working::{busy, outcome_unknown};
use crate::{CatalogError, ErrorKind, Repository, keys, wire};

/// Says whose namespace it is: the repository's incarnation, written once, conditionally, never removed.
pub(crate) const MARKER: &str = "_lakebed/repository";

/// The marker of the server we replace: a namespace with its objects is in use, too.
const FOREIGN_MARKER: &str = "_lakefs/dummy";

/// The longest marker that is read.
const MARKER_BYTES: usize = 256;

/// The longest namespace, in bytes: keys of the engine hold two.
const MOST_BYTES: usize = 1024;

/// Rows read at once.
const PAGE: usize = 256;

/// What the register says of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The repository it was given to, which may be gone.
    owner: Incarnation,
    /// Its bytes are being deleted, or were.
    given_up: bool,
}

impl Claim {
    fn encode(self) -> Vec<u8> {
        let mut row = self.owner.as_bytes().to_vec();
        if self.given_up {
            row.push(1);
        }
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let (owner, given_up) = row.split_at_checked(16)?;
        Some(Self { owner: Incarnation::from_slice(owner)?, given_up: !given_up.is_empty() })
    }
}

/// The namespace that holds an object at this address, if it is one that we could have written there. Objects that
/// are not of this form are never deleted with a namespace.
fn namespace_of(address: &str) -> Option<&str> {
    let mut parts = address.rsplitn(4, '/');
    let (object, slice, data) = (parts.next()?, parts.next()?, parts.next()?);
    (data == "data" && is_name(slice) && is_name(object)).then(|| parts.next())?
}

/// Whether a key of a namespace is one that we write: an object, a tree, a commit, an export, a symlink manifest. The
/// marker stays.
pub(crate) fn is_ours(key: &str) -> bool {
    if let Some(object) = key.strip_prefix("data/") {
        return object.split_once('/').is_some_and(|(slice, object)| is_name(slice) && is_name(object));
    }
    key.starts_with("_lakebed/") && key != MARKER
        || key.starts_with("symlinks/") && key.ends_with("/symlink.txt")
}

fn is_name(text: &str) -> bool {
    text.parse::<ObjectName>().is_ok()
}

impl Inner {
    /// What the store of a repository is and can do.
    pub(crate) fn store_of(&self, repository: &Repository) -> Result<StoreInfo, CatalogError> {
        let store = repository.storage_namespace.store();
        self.blocks.info_of(store).ok_or_else(|| not_here(&repository.id, store))
    }

    /// The name under which the register has a namespace.
    pub(crate) fn registered(&self, namespace: &Namespace) -> Result<String, CatalogError> {
        let store = self.blocks.registered(namespace.store());
        let store = store.ok_or_else(|| unknown_store(namespace.store().as_str()))?;
        Ok(Namespace::new(store, namespace.as_str()).encode())
    }

    /// A namespace must be `scheme://bucket…` of its store; a trailing slash is insignificant.
    pub(crate) fn check_namespace(&self, namespace: &str, store: &str) -> Result<Namespace, CatalogError> {
        let store: StoreId = store.parse().map_err(|_| unknown_store(store))?;
        let scheme = self.blocks.info_of(&store).ok_or_else(|| unknown_store(store.as_str()))?.scheme;
        let refused = |why: &str| {
            Err(CatalogError::refused(
                ErrorKind::NamespaceRefused,
                format!("storage namespace '{namespace}': {why}: invalid namespace"),
            ))
        };
        let Some(rest) = namespace.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) else {
            return refused(&format!("failed to match required regex ^{scheme}://"));
        };
        let rest = rest.trim_end_matches('/');
        let hostile = |part: &str| part.is_empty() || part == "." || part == ".." || part == "_lakebed";
        if rest.is_empty() || rest.split('/').any(hostile) || rest.contains('\0') {
            return refused("a bucket or directory must follow the scheme, without empty, '.' or '..' parts");
        }
        if rest.len() > MOST_BYTES {
            return refused(&format!("it has more than {MOST_BYTES} bytes"));
        }
        Ok(Namespace::new(store, format!("{scheme}://{rest}")))
    }

    /// Takes a namespace for good: the claim in the engine, then the marker in the store. A claim of ours without a
    /// repository may be taken up again only by its own incarnation, so a crash in between leaves the namespace used.
    pub(crate) async fn claim(&self, namespace: &Namespace, owner: &Incarnation) -> Result<(), CatalogError> {
        let in_use = || {
            CatalogError::refused(
                ErrorKind::NamespaceRefused,
                format!(
                    "failed to create repository: found objects in the storage ({}) key({MARKER}): storage \
                     namespace already in use",
                    namespace.as_str()
                ),
            )
        };
        match self.blocks.head(&BlockAddress::in_namespace(namespace, FOREIGN_MARKER)).await {
            Ok(_) => return Err(in_use()),
            Err(BlockError::NotFound(_)) => {}
            Err(error) => return Err(unusable(namespace, &error)),
        }
        let key = keys::namespace_claim(&self.registered(namespace)?);
        let row = Claim { owner: *owner, given_up: false }.encode();
        let claim = Transaction::new().check(key.clone(), Check::Absent).put(key.clone(), row);
        match self.kv.transact(claim).await? {
            Outcome::Done(_) => {}
            Outcome::Refused(_) => return Err(in_use()),
            Outcome::Unknown => return Err(outcome_unknown("create repository")),
        }
        let marker = BlockAddress::in_namespace(namespace, MARKER);
        let options = PutOptions { if_absent: true, ..PutOptions::default() };
        match self.blocks.put_bytes(&marker, owner.to_string().into(), options).await {
            Ok(()) => Ok(()),
            Err(BlockError::Exists(_)) => Err(in_use()),
            Err(error) => {
                // The store never held our marker: the namespace must stay usable once the cause is gone.
                let release = Transaction::new().delete(key);
                self.kv.transact(release).await?;
                Err(unusable(namespace, &error))
            }
        }
    }

    async fn find_claim(&self, namespace: &Namespace) -> Result<Option<(Claim, Version)>, CatalogError> {
        let Some(row) = self.kv.get(&keys::namespace_claim(&self.registered(namespace)?)).await? else {
            return Ok(None);
        };
        let claim = Claim::decode(&row.value).ok_or(CatalogError::Damaged { what: "namespace claim" })?;
        Ok(Some((claim, row.version)))
    }

    /// Makes a transaction one that comes to depend on a namespace's bytes: refused when they were given up.
    pub(crate) async fn depend(
        &self,
        transaction: Transaction,
        namespace: &Namespace,
    ) -> Result<Transaction, CatalogError> {
        match self.find_claim(namespace).await? {
            None => Ok(transaction),
            Some((claim, version)) if !claim.given_up => {
                let key = keys::namespace_claim(&self.registered(namespace)?);
                Ok(transaction.check(key.clone(), Check::Version(version)).put(key, claim.encode()))
            }
            Some(_) => Err(CatalogError::refused(
                ErrorKind::NamespaceRefused,
                format!(
                    "storage namespace '{}': its repository was deleted together with its data, and a \
                     namespace is never given out twice: choose another: storage namespace already in use",
                    namespace.as_str()
                ),
            )),
        }
    }

    /// To be called before an entry of a repository names an address outside its namespace: if that is an object of
    /// another repository, it stays while this one lives.
    pub(crate) async fn mention(&self, repository: &Repository, address: &str) -> Result<(), CatalogError> {
        let Some(namespace) = namespace_of(address).filter(|namespace| namespace.len() <= 2 * MOST_BYTES)
        else {
            return Ok(());
        };
        let own = &repository.storage_namespace;
        let known = (repository.birth, namespace.to_owned());
        if namespace == own.as_str() || self.mentions.get(&known).is_some() {
            return Ok(());
        }
        let namespace = &Namespace::new(own.store().clone(), namespace);
        let mention = keys::namespace_mention(&self.registered(namespace)?, &self.registered(own)?);
        for _ in 0..MOVE_ATTEMPTS {
            let transaction = Transaction::new().put(mention.clone(), "");
            let transaction = match self.depend(transaction, namespace).await {
                Err(error) if error.kind() == ErrorKind::NamespaceRefused => {
                    let message = format!(
                        "physical address '{address}': it was of a repository that was deleted together with its data: \
                         validation error"
                    );
                    return Err(CatalogError::refused(ErrorKind::Invalid, message));
                }
                transaction => transaction?,
            };
            if transaction.checks.is_empty() {
                return Ok(());
            }
            if let Outcome::Done(_) = self.kv.transact(transaction).await? {
                // Holds as long as this repository lives: a namespace that a living one mentions is not given up.
                self.mentions.insert(known, ());
                return Ok(());
            }
        }
        Err(busy(&format!("naming an address of '{}'", namespace.as_str())))
    }

    /// Makes a transaction that deletes `repository` one that gives up its namespace, so that its bytes may go.
    /// [`ErrorKind::Conflict`] if the namespace is not this server's to give up, or another repository needs it.
    pub(crate) async fn give_up(
        &self,
        transaction: Transaction,
        repository: &Repository,
    ) -> Result<Transaction, CatalogError> {
        let namespace = &repository.storage_namespace;
        let refused = |why: String| {
            let message = format!(
                "the data of repository '{}' in '{}' cannot be deleted: {why}",
                repository.id,
                namespace.as_str()
            );
            Err(CatalogError::refused(ErrorKind::Conflict, message))
        };
        let Some((claim, version)) = self.find_claim(namespace).await? else {
            return refused(
                "no repository of this server owns the namespace: delete what is in it by hand".into(),
            );
        };
        if !self.holds_marker(namespace, &claim).await? {
            let why = "the marker in it names a repository of another server: delete what is in it by hand";
            return refused(why.to_owned());
        }
        // Read after the claim: whoever comes later changes its version.
        if let Some(other) = self.dependent(repository).await? {
            return refused(format!(
                "repository '{other}' shares the namespace or names objects in it: delete that first, or keep the data"
            ));
        }
        let registered = self.registered(namespace)?;
        let key = keys::namespace_claim(&registered);
        let freeing = wire::FreeingRow { given_up_ms: self.clock.now().millis(), passed: false };
        Ok(transaction
            .check(key.clone(), Check::Version(version))
            .put(key, Claim { given_up: true, ..claim }.encode())
            .put(keys::freeing(&registered), wire::encode(&freeing)))
    }

    /// Whether a namespace was given up here and is marked as ours.
    pub(crate) async fn may_free(&self, namespace: &Namespace) -> Result<bool, CatalogError> {
        match self.find_claim(namespace).await? {
            Some((claim, _)) if claim.given_up => self.holds_marker(namespace, &claim).await,
            _ => Ok(false),
        }
    }

    async fn holds_marker(&self, namespace: &Namespace, claim: &Claim) -> Result<bool, CatalogError> {
        let marker = BlockAddress::in_namespace(namespace, MARKER);
        match self.blocks.get_bytes(&marker, MARKER_BYTES).await {
            Ok(marker) => Ok(*marker == *claim.owner.to_string().as_bytes()),
            Err(BlockError::NotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Another living repository that shares the namespace of this one, or mentions it.
    async fn dependent(&self, repository: &Repository) -> Result<Option<String>, CatalogError> {
        let namespace = self.registered(&repository.storage_namespace)?;
        let mut range = KeyRange::prefix(&keys::repositories(""));
        loop {
            let rows = self.kv.scan(&range, PAGE).await?;
            let mut others = Vec::with_capacity(rows.len());
            for row in &rows {
                let name = keys::name_of(&row.key, 1).unwrap_or_default();
                if name == repository.id.as_str() {
                    continue;
                }
                let other: wire::RepositoryRow = wire::decode(&row.value, "repository")?;
                // One in a store that is not here shares nothing and names nothing here.
                let Ok(theirs) = self.registered(&other.namespace()?) else { continue };
                if theirs == namespace {
                    return Ok(Some(name.to_owned()));
                }
                others.push((name.to_owned(), keys::namespace_mention(&namespace, &theirs)));
            }
            let mentions: Vec<_> = others.iter().map(|(_, key)| key.clone()).collect();
            let found = self.kv.get_many(&mentions).await?;
            if let Some(((name, _), _)) = others.into_iter().zip(found).find(|(_, found)| found.is_some()) {
                return Ok(Some(name));
            }
            match rows.last() {
                Some(last) if rows.len() == PAGE => range.start = after(&last.key),
                _ => return Ok(None),
            }
        }
    }
}

/// The store of a repository is one of another server's, or was taken out of the configuration since this one started.
pub(crate) fn not_here(id: &RepositoryId, store: &StoreId) -> CatalogError {
    let why = if store.is_empty() {
        "it names no store, and no store of this server's is backward_compatible".to_owned()
    } else {
        format!("its store '{store}' is not configured on this server")
    };
    CatalogError::refused(ErrorKind::StoreFailed, format!("repository '{id}' cannot be used: {why}"))
}

fn unknown_store(id: &str) -> CatalogError {
    let why = if id.is_empty() {
        "name one of the stores in GET /config, for none of them serves repositories without a storage id"
            .to_owned()
    } else {
        format!("'{id}' is none of the stores in GET /config")
    };
    CatalogError::refused(ErrorKind::Invalid, format!("storage id: {why}: invalid value: validation error"))
}

fn unusable(namespace: &Namespace, error: &BlockError) -> CatalogError {
    CatalogError::refused(
        ErrorKind::NamespaceRefused,
        format!("storage namespace '{}' cannot be used: {error}", namespace.as_str()),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use lakebed_core::{SeededEntropy, Timestamp};

    use super::*;

    fn name() -> String {
        ObjectName::ascending(Timestamp::from_millis(1), &SeededEntropy::new(7)).to_string()
    }

    #[test]
    fn an_address_of_ours_names_its_namespace() {
        let name = name();
        assert_eq!(namespace_of(&format!("s3://b/a/data/{name}/{name}")), Some("s3://b/a"));
        for foreign in [
            format!("s3://b/a/data/{name}"),
            format!("s3://b/a/date/{name}/{name}"),
            format!("s3://b/a/data/{name}/x.parquet"),
            format!("data/{name}/{name}"),
            "s3://b".to_owned(),
        ] {
            assert_eq!(namespace_of(&foreign), None, "{foreign}");
        }
    }

    #[test]
    fn only_what_we_write_is_ours() {
        let name = name();
        for ours in [
            format!("data/{name}/{name}"),
            "_lakebed/nodes/aa".to_owned(),
            "symlinks/lake/main/t/symlink.txt".to_owned(),
        ] {
            assert!(is_ours(&ours), "{ours}");
        }
        for foreign in [
            format!("data/{name}/{name}/x"),
            format!("data/inner/data/{name}/{name}"),
            "data/x.parquet".to_owned(),
            "symlinks/lake/x".to_owned(),
            "raw/x".to_owned(),
            MARKER.to_owned(),
        ] {
            assert!(!is_ours(&foreign), "{foreign}");
        }
    }
}
