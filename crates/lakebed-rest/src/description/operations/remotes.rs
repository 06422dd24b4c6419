//! Remote catalogs of tables: described, and not part of the free server that clients know.

use lakebed_api::{IcebergPullRequest, IcebergPushRequest};

use crate::description::operation::{Described, empty, op};

const TAG: &[&str] = &["remotes"];

pub(super) const OPERATIONS: &[Described] = &[
    op("pushIcebergTable", TAG, "Push a table to a remote catalog")
        .ignores::<IcebergPushRequest>(false)
        .not_served()
        .answers(&[empty(204, "Pushed.")])
        .refuses(&[400, 401]),
    op("pullIcebergTable", TAG, "Pull a table from a remote catalog")
        .ignores::<IcebergPullRequest>(false)
        .not_served()
        .answers(&[empty(204, "Pulled.")])
        .refuses(&[400, 401]),
];
