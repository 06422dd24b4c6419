//! Pages and errors: the shapes every operation shares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most items one page may hold.
pub const MAX_PER_PAGE: u32 = 1000;

/// Where a page stands in its list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pagination {
    /// Whether more follow.
    pub has_more: bool,
    /// The most items one page may hold: [`MAX_PER_PAGE`].
    pub max_per_page: u32,
    /// Pass as `after` to go on; empty when `has_more` is false.
    pub next_offset: String,
    /// Items in this page.
    pub results: usize,
}

/// A page of items. The description names one schema per item (`RefList`, `CommitList` ...); all have this shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// Where it stands.
    pub pagination: Pagination,
    /// The items.
    pub results: Vec<T>,
}

impl<T> List<T> {
    /// A page of these items.
    pub fn new(results: Vec<T>, has_more: bool, next_offset: String) -> Self {
        let pagination =
            Pagination { has_more, max_per_page: MAX_PER_PAGE, next_offset, results: results.len() };
        Self { pagination, results }
    }
}

/// Every error's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Error {
    /// What was wrong.
    pub message: String,
}
