//! Diffs (`versioning-api` §7, §10).

use lakebed_api::{Diff, DiffObjectStat, DiffType, PathType};
use lakebed_catalog::{DiffEntry, DiffKind, DiffMode, DiffRequest, EntryView};

use super::list;
use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};

pub(crate) struct Input {
    request: DiffRequest,
    mode: DiffMode,
    right_stats: bool,
}

pub(crate) fn input(call: &Call) -> Result<Input, RestError> {
    let query = call.query();
    let request = DiffRequest {
        prefix: query.text("prefix")?,
        after: query.text("after")?,
        delimiter: query.text("delimiter")?,
        amount: query.amount()?,
    };
    Ok(Input { request, mode: DiffMode::ThreeDot, right_stats: false })
}

pub(crate) fn refs_input(call: &Call) -> Result<Input, RestError> {
    let query = call.query();
    let modes = [("two_dot", DiffMode::TwoDot), ("three_dot", DiffMode::ThreeDot)];
    Ok(Input {
        mode: query.choice("type", &modes)?.unwrap_or_default(),
        right_stats: query.flag("include_right_stats")?,
        ..input(call)?
    })
}

pub(crate) async fn refs(call: Call, input: Input) -> Reply {
    let repository = call.repository()?;
    let (left, right) = (call.reference("leftRef")?, call.reference("rightRef")?);
    let page = call.catalog().diff_refs(&repository, &left, &right, input.mode, &input.request).await?;
    reply::ok(&list(page, |entry| show(entry, input.right_stats)))
}

/// What is uncommitted. The size of what was removed is not shown here.
pub(crate) async fn branch(call: Call, input: Input) -> Reply {
    let page = call.catalog().diff_branch(&call.repository()?, &call.branch()?, &input.request).await?;
    reply::ok(&list(page, |entry| {
        let mut diff = show(entry, false);
        if diff.kind == DiffType::Removed {
            diff.size_bytes = Some(0);
        }
        diff
    }))
}

fn show(diff: DiffEntry, right_stats: bool) -> Diff {
    let (kind, path_type) = match diff.kind {
        DiffKind::Added => (DiffType::Added, PathType::Object),
        DiffKind::Removed => (DiffType::Removed, PathType::Object),
        DiffKind::Changed => (DiffType::Changed, PathType::Object),
        DiffKind::Conflict => (DiffType::Conflict, PathType::Object),
        DiffKind::PrefixChanged => (DiffType::PrefixChanged, PathType::CommonPrefix),
    };
    let view = diff.entry.as_ref().and_then(lakebed_catalog::EntryBytes::view);
    Diff {
        right: view.as_ref().filter(|_| right_stats).map(stat),
        size_bytes: view.map(|view| view.size),
        path: diff.path,
        path_type,
        kind,
    }
}

fn stat(view: &EntryView<'_>) -> DiffObjectStat {
    DiffObjectStat {
        checksum: view.checksum.to_owned(),
        content_type: Some(view.content_type().to_owned()),
        metadata: Some(view.metadata().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
        mtime: view.mtime_secs,
    }
}
