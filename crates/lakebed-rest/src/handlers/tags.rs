//! Tags (`versioning-api` §13).

use http::StatusCode;
use lakebed_api::{Ref, TagCreation};
use lakebed_catalog::{PageRequest, Tag};

use super::{list, reference};
use crate::call::Call;
use crate::reply::{self, Reply};

fn show(tag: &Tag) -> Ref {
    Ref { commit_id: tag.commit.to_hex(), id: tag.id.to_string() }
}

pub(crate) async fn list_all(call: Call, page: PageRequest) -> Reply {
    let page = call.catalog().list_tags(&call.repository()?, &page).await?;
    reply::ok(&list(page, |tag| show(&tag)))
}

pub(crate) async fn create(call: Call, wanted: TagCreation) -> Reply {
    let repository = call.repository()?;
    let id = wanted.id.parse()?;
    let target = reference(&wanted.reference)?;
    let tag = call.catalog().create_tag(&repository, &id, &target, wanted.force).await?;
    reply::json(StatusCode::CREATED, &show(&tag))
}

pub(crate) async fn get(call: Call, (): ()) -> Reply {
    let tag = call.catalog().tag(&call.repository()?, &call.tag()?).await?;
    reply::ok(&show(&tag))
}

pub(crate) async fn delete(call: Call, force: bool) -> Reply {
    call.catalog().delete_tag(&call.repository()?, &call.tag()?, force).await?;
    reply::no_content()
}
