//! The operations, by noun.

pub(crate) mod absent;
pub(crate) mod acl;
pub(crate) mod attributes;
pub(crate) mod bucket_config;
pub(crate) mod bucket_life;
pub(crate) mod buckets;
pub(crate) mod complete;
pub(crate) mod copy;
mod copy_checksum;
pub(crate) mod delete;
pub(crate) mod delete_many;
pub(crate) mod form;
pub(crate) mod get;
pub(crate) mod get_tagging;
pub(crate) mod list_objects;
pub(crate) mod list_uploads;
pub(crate) mod listing;
pub(crate) mod put;
pub(crate) mod put_tagging;
mod ref_level;
pub(crate) mod rename;
pub(crate) mod upload_part;
mod upload_target;
pub(crate) mod uploads;
pub(crate) mod versions;
