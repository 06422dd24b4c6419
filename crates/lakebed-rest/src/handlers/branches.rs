//! Branches (`versioning-api` §5, §12.3, §12.4).

use http::StatusCode;
use lakebed_api::{BranchCreation, Ref, ResetCreation, ResetType};
use lakebed_catalog::{Branch, PageRequest, ResetTarget};
use lakebed_core::PathError;

use super::{list, page};
use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};

fn show(branch: &Branch) -> Ref {
    Ref { commit_id: branch.head.to_hex(), id: branch.id.to_string() }
}

pub(crate) struct Listing {
    page: PageRequest,
    show_hidden: bool,
}

pub(crate) fn listing(call: &Call) -> Result<Listing, RestError> {
    Ok(Listing { page: page(call)?, show_hidden: call.query().flag("show_hidden")? })
}

pub(crate) async fn list_all(call: Call, listing: Listing) -> Reply {
    let page = call.catalog().list_branches(&call.repository()?, &listing.page, listing.show_hidden).await?;
    reply::ok(&list(page, |branch| show(&branch)))
}

/// 201 with the bare commit id as text, as every client expects it.
pub(crate) async fn create(call: Call, wanted: BranchCreation) -> Reply {
    let repository = call.repository()?;
    let new = lakebed_catalog::BranchCreation {
        name: wanted.name.parse()?,
        source: wanted.source.parse()?,
        hidden: wanted.hidden,
        force: wanted.force,
    };
    let commit = call.catalog().create_branch(&repository, new).await?;
    Ok(reply::text(StatusCode::CREATED, commit.to_hex()))
}

pub(crate) async fn get(call: Call, (): ()) -> Reply {
    let branch = call.catalog().branch(&call.repository()?, &call.branch()?).await?;
    reply::ok(&show(&branch))
}

pub(crate) async fn delete(call: Call, force: bool) -> Reply {
    call.catalog().delete_branch(&call.repository()?, &call.branch()?, force).await?;
    reply::no_content()
}

pub(crate) async fn reset(call: Call, wanted: ResetCreation) -> Reply {
    let target = match wanted.kind {
        ResetType::Reset => ResetTarget::All,
        ResetType::CommonPrefix if wanted.path.is_empty() => ResetTarget::All,
        ResetType::CommonPrefix => ResetTarget::Prefix(wanted.path),
        ResetType::Object => ResetTarget::Object(wanted.path.parse().map_err(|error: PathError| error)?),
    };
    call.catalog().reset_branch(&call.repository()?, &call.branch()?, target, wanted.force).await?;
    reply::no_content()
}

pub(crate) struct HardReset {
    to: String,
    force: bool,
}

pub(crate) fn hard_reset_input(call: &Call) -> Result<HardReset, RestError> {
    Ok(HardReset { to: call.query().required("ref")?, force: call.query().flag("force")? })
}

pub(crate) async fn hard_reset(call: Call, input: HardReset) -> Reply {
    let to = input.to.parse()?;
    call.catalog().hard_reset(&call.repository()?, &call.branch()?, &to, input.force).await?;
    reply::no_content()
}
