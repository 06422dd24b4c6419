//! Merge and merge base (`versioning-api` §11).

use lakebed_api::{FindMergeBaseResult, Merge, MergeResult, MergeSummary};
use lakebed_catalog::{CatalogError, MergeRequest, MergeStrategy};
use lakebed_core::CommitId;

use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};

pub(crate) fn input(_: &Call, body: Option<Merge>) -> Result<Merge, RestError> {
    Ok(body.unwrap_or_default())
}

/// As the catalog is asked for it.
pub(super) fn request(call: &Call, wanted: Merge) -> Result<MergeRequest, RestError> {
    let strategy = match wanted.strategy.as_str() {
        "" => MergeStrategy::None,
        "source-wins" => MergeStrategy::SourceWins,
        "dest-wins" => MergeStrategy::DestinationWins,
        _ => {
            return Err(RestError::bad_request(
                "argument strategy: it must be source-wins, dest-wins or empty: invalid value: validation error",
            ));
        }
    };
    Ok(MergeRequest {
        message: wanted.message,
        committer: call.committer()?,
        metadata: wanted.metadata,
        strategy,
        squash: wanted.squash_merge,
        allow_empty: wanted.allow_empty,
        force: wanted.force,
        once: None,
    })
}

pub(crate) async fn merge(call: Call, wanted: Merge) -> Reply {
    let repository = call.repository()?;
    let source = call.reference("sourceRef")?;
    let destination = call.named("destinationBranch", "branch")?;
    let request = request(&call, wanted)?;
    // The summary left the API long ago; only clients of that time look for it.
    let legacy = call.is_legacy_client();
    match call.catalog().merge(&repository, &source, &destination, request).await {
        Ok(outcome) => {
            let summary = legacy.then_some(MergeSummary {
                added: outcome.summary.added,
                changed: outcome.summary.changed,
                conflict: outcome.summary.conflicts,
                removed: outcome.summary.removed,
            });
            reply::ok(&MergeResult { reference: outcome.reference.to_hex(), summary, message: None })
        }
        Err(error) => {
            let conflicts = match &error {
                CatalogError::Conflicts { count, .. } => *count,
                _ => return Err(error.into()),
            };
            let summary = legacy.then_some(MergeSummary { conflict: conflicts, ..MergeSummary::default() });
            Err(RestError::from(error).into_merge_form(summary))
        }
    }
}

/// The names on the wire are swapped: the source's commit travels as the destination's and the other way round.
pub(crate) async fn base(call: Call, (): ()) -> Reply {
    let repository = call.repository()?;
    let source = call.reference("sourceRef")?;
    let destination = call.reference("destinationBranch")?;
    let (source, destination, base) = call.catalog().merge_base(&repository, &source, &destination).await?;
    reply::ok(&FindMergeBaseResult {
        base_commit_id: base.map(CommitId::to_hex).unwrap_or_default(),
        destination_commit_id: source.to_hex(),
        source_commit_id: destination.to_hex(),
    })
}
