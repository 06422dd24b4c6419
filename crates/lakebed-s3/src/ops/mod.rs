//! The operations, by noun.

pub(crate) mod absent;
pub(crate) mod acl;
pub(crate) mod attributes;
pub(crate) mod bucket_config;
pub(crate) mod buckets;
pub(crate) mod get;
pub(crate) mod get_tagging;
pub(crate) mod list_objects;
pub(crate) mod listing;
mod ref_level;
pub(crate) mod versions;
