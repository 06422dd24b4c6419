//! Merge, its conflicts and its base (`versioning-api` §11).

use std::collections::BTreeMap;

use lakebed_api::{
    ConflictSide, FindMergeBaseResult, Merge, MergeConflict, MergeConflictList, MergeResolution, MergeResult,
    MergeSide, MergeSummary, ResolvedObject,
};
use lakebed_catalog::{
    CatalogError, ConflictResolution, DiffRequest, EntryBytes, EntryDraft, MergeRequest, MergeStrategy,
};
use lakebed_core::{CommitId, ObjectPath};

use super::{list, object_writes};
use crate::call::Call;
use crate::error::RestError;
use crate::idempotency;
use crate::reply::{self, Reply};

pub(crate) fn input(_: &Call, body: Option<Merge>) -> Result<Merge, RestError> {
    Ok(body.unwrap_or_default())
}

/// As the catalog is asked for it.
pub(super) fn request(call: &Call, wanted: Merge) -> Result<MergeRequest, RestError> {
    let once = idempotency::once(call, &wanted)?;
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
        resolutions: resolutions(wanted.resolutions.unwrap_or_default())?,
        squash: wanted.squash_merge,
        allow_empty: wanted.allow_empty,
        force: wanted.force,
        once,
    })
}

/// Each path once, each with what its side needs.
fn resolutions(wanted: Vec<MergeResolution>) -> Result<BTreeMap<ObjectPath, ConflictResolution>, RestError> {
    let mut by_path = BTreeMap::new();
    for MergeResolution { path, take, object } in wanted {
        let refused =
            |why: &str| RestError::bad_request(format!("resolutions: '{path}': {why}: validation error"));
        let resolution = match (take, object) {
            (MergeSide::Source, None) => ConflictResolution::Source,
            (MergeSide::Destination, None) => ConflictResolution::Destination,
            (MergeSide::Base, None) => ConflictResolution::Base,
            (MergeSide::Object, Some(object)) => given(object, &refused)?,
            (MergeSide::Object, None) => return Err(refused("take 'object' needs an object")),
            (_, Some(_)) => return Err(refused("an object is only for take 'object'")),
        };
        if by_path.insert(path.parse()?, resolution).is_some() {
            return Err(refused("it is named twice"));
        }
    }
    Ok(by_path)
}

fn given(
    object: ResolvedObject,
    refused: &dyn Fn(&str) -> RestError,
) -> Result<ConflictResolution, RestError> {
    let checksum = object.checksum.trim_matches([' ', '"']);
    if checksum.is_empty() {
        return Err(refused("the object's checksum is required"));
    }
    let draft = EntryDraft {
        size: object_writes::size(object.size_bytes)?,
        checksum: checksum.to_owned(),
        content_type: object.content_type,
        metadata: object.user_metadata,
        ..EntryDraft::default()
    };
    Ok(ConflictResolution::Object { address: object.physical_address, draft })
}

pub(crate) fn conflicts_input(call: &Call) -> Result<DiffRequest, RestError> {
    let query = call.query();
    Ok(DiffRequest {
        prefix: query.text("prefix")?,
        after: query.text("after")?,
        delimiter: String::new(),
        amount: query.amount()?,
    })
}

/// What a merge would stop at (ours).
pub(crate) async fn conflicts(call: Call, input: DiffRequest) -> Reply {
    let id = call.repository()?;
    let source = call.reference("sourceRef")?;
    let destination = call.named("destinationBranch", "branch")?;
    let page = call.catalog().merge_conflicts(&id, &source, &destination, &input).await?;
    let repository = call.catalog().repository(&id).await?;
    let side = |entry: Option<EntryBytes>| {
        let entry = entry?;
        let view = entry.view()?;
        Some(ConflictSide {
            physical_address: view.full_address(&repository.storage_namespace).to_string(),
            checksum: view.checksum.to_owned(),
            size_bytes: view.size,
            mtime: view.mtime_secs,
            content_type: view.content_type().to_owned(),
            metadata: view.metadata().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        })
    };
    let shown = list(page, |conflict| MergeConflict {
        path: conflict.path,
        base: side(conflict.base),
        source: side(conflict.source),
        destination: side(conflict.destination),
    });
    reply::ok(&MergeConflictList { pagination: shown.pagination, results: shown.results })
}

pub(crate) async fn merge(call: Call, wanted: Merge) -> Reply {
    let repository = call.repository()?;
    let source = call.reference("sourceRef")?;
    let destination = call.named("destinationBranch", "branch")?;
    let asks_for_conflicts = wanted.resolutions.is_some();
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
            reply::ok(&MergeResult {
                reference: outcome.reference.to_hex(),
                summary,
                ..MergeResult::default()
            })
        }
        Err(error) => {
            let CatalogError::Conflicts { count, paths, .. } = &error else { return Err(error.into()) };
            let summary = legacy.then_some(MergeSummary { conflict: *count, ..MergeSummary::default() });
            let result = MergeResult {
                summary,
                conflicts: asks_for_conflicts.then(|| paths.clone()),
                conflict_count: asks_for_conflicts.then_some(*count),
                ..MergeResult::default()
            };
            Err(RestError::from(error).into_merge_form(result))
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
