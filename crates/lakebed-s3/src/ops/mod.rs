//! The operations, by noun.

pub(crate) mod buckets;
