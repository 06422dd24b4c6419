//! Requests that may be sent again: a commit, merge, revert or cherry-pick that carries a client's key happens once,
//! and whoever repeats it within a day is given what the first one made.
//!
//! The row that remembers is written by the publish itself, so there is no instant at which the head has moved and the
//! key is not known (`protocol.md`, Publish).

use async_trait::async_trait;
use lakebed_core::CommitId;
use lakebed_kv::{Check, Write};

use crate::catalog::Inner;
use crate::publish::Joined;
use crate::staging::Along;
use crate::working::busy;
use crate::{CatalogError, ErrorKind, MergeSummary, Once, Repository, keys, wire};

/// What a request with this key made.
pub(crate) struct Done {
    pub(crate) commit: CommitId,
    pub(crate) summary: MergeSummary,
}

/// Remembers a key together with the head it moves.
pub(crate) struct Remember<'a> {
    once: &'a Once,
    summary: MergeSummary,
}

impl<'a> Remember<'a> {
    /// For the key of a request, if it has one.
    pub(crate) fn of(once: Option<&'a Once>) -> Option<Self> {
        once.map(|once| Self { once, summary: MergeSummary::default() })
    }

    /// Remembers what was merged, too.
    pub(crate) fn with(self, summary: MergeSummary) -> Self {
        Self { summary, ..self }
    }
}

#[async_trait]
impl Joined for Remember<'_> {
    async fn along(
        &self,
        inner: &Inner,
        repository: &Repository,
        head: &CommitId,
    ) -> Result<Option<Along>, CatalogError> {
        let key = keys::once(&repository.incarnation, &self.once.key);
        if inner.kv.get(&key).await?.is_some() {
            return Ok(None);
        }
        let row = wire::OnceRow {
            request: self.once.request.to_vec(),
            commit: head.as_bytes().to_vec(),
            added: self.summary.added,
            removed: self.summary.removed,
            changed: self.summary.changed,
            conflicts: self.summary.conflicts,
        };
        Ok(Some(Along {
            checks: vec![(key.clone(), Check::Absent)],
            writes: vec![
                (keys::expiry(inner.clock.now(), &key), Write::Put("".into())),
                (key, Write::Put(wire::encode(&row))),
            ],
            ..Along::default()
        }))
    }
}

impl Inner {
    /// What a request with this key made before, if any. Refused if the key came with another request.
    pub(crate) async fn done_before(
        &self,
        repository: &Repository,
        once: Option<&Once>,
    ) -> Result<Option<Done>, CatalogError> {
        let Some(once) = once else { return Ok(None) };
        let Some(row) = self.kv.get(&keys::once(&repository.incarnation, &once.key)).await? else {
            return Ok(None);
        };
        let row: wire::OnceRow = wire::decode(&row.value, "idempotency key")?;
        if row.request != once.request {
            return Err(CatalogError::refused(
                ErrorKind::KeyReused,
                "this idempotency key was used with another request: use a fresh key",
            ));
        }
        let summary = MergeSummary {
            added: row.added,
            removed: row.removed,
            changed: row.changed,
            conflicts: row.conflicts,
        };
        Ok(Some(Done { commit: wire::commit_id(&row.commit)?, summary }))
    }

    /// As [`Inner::done_before`], for a publish that was told so.
    pub(crate) async fn done_meanwhile(
        &self,
        repository: &Repository,
        once: Option<&Once>,
    ) -> Result<Done, CatalogError> {
        self.done_before(repository, once).await?.ok_or_else(|| busy("a repeated request"))
    }
}
