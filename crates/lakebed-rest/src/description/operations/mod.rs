//! What every operation is for, takes and answers, by noun. The order is the order of the document.

mod actions;
mod callers;
mod groups;
mod history;
mod objects;
mod pulls;
mod refs;
mod remotes;
mod repositories;
mod server;
mod settings;
mod staging;
mod tasks;
mod users;

use super::operation::{Described, op};

/// All of them.
pub(crate) const ALL: &[&[Described]] = &[
    repositories::OPERATIONS,
    refs::OPERATIONS,
    history::OPERATIONS,
    objects::OPERATIONS,
    staging::OPERATIONS,
    tasks::OPERATIONS,
    pulls::OPERATIONS,
    settings::OPERATIONS,
    actions::OPERATIONS,
    callers::OPERATIONS,
    users::OPERATIONS,
    groups::OPERATIONS,
    server::OPERATIONS,
    remotes::OPERATIONS,
];

/// Stands for an operation that nothing is said of; a test keeps it from happening.
pub(crate) const UNDESCRIBED: &Described = &op("", &[], "");

/// What is said of an operation.
pub(crate) fn of(id: &str) -> &'static Described {
    ALL.iter().flat_map(|some| some.iter()).find(|described| described.id == id).unwrap_or(UNDESCRIBED)
}
