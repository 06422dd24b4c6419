//! Repositories.

use lakebed_api::{List, Metadata, Repository, StorageUri};

use crate::description::operation::{Described, bytes, empty, json, op};
use crate::description::parameters::{AFTER, AMOUNT, FORCE, Kind, PREFIX, PRESIGN, Parameter};

const TAG: &[&str] = &["repositories"];
const INTERNAL: &[&str] = &["internal"];
const TREES: &[&str] = &["metadata"];
const SEARCH: Parameter =
    Parameter::query("search", Kind::Text, "Only names that have this somewhere.").may_be_empty();
const INCLUDE_METADATA: Parameter = Parameter::query(
    "include_metadata",
    Kind::Boolean,
    "Taken, and without effect: lists leave metadata out.",
);
const BARE: Parameter =
    Parameter::flag("bare", "Without a first commit and branch: what a restore needs, and nothing else.");
const DELETE_STORAGE: Parameter = Parameter::flag(
    "delete_storage",
    "With its data (ours): refused with 409 while another repository shares the namespace or names objects in it.",
);
const TREE_TYPE: Parameter =
    Parameter::path("type", Kind::Word(&["range", "meta_range"]), "What kind of file; ours are all alike.");

pub(super) const OPERATIONS: &[Described] = &[
    op("listRepositories", TAG, "List repositories")
        .says("In the order of their names.")
        .takes(&[PREFIX, AFTER, AMOUNT, SEARCH, INCLUDE_METADATA])
        .answers(&[json::<List<Repository>>(200, "A page of repositories.")]),
    op("createRepository", TAG, "Make a repository")
        .says(
            "The storage namespace must be one that this server's block store can write, and unused: it \
             belongs to the repository for ever.",
        )
        .takes(&[BARE])
        .answers(&[json::<Repository>(201, "The repository.")])
        .refuses(&[403, 409]),
    op("getRepository", TAG, "One repository").answers(&[json::<Repository>(200, "The repository.")]),
    op("deleteRepository", TAG, "Delete a repository")
        .says(
            "Its branches, tags and history. The bytes in its namespace stay, and the namespace is not given out \
             again, unless `delete_storage` is set: then everything the server wrote there is deleted in the \
             background, for good.",
        )
        .takes(&[FORCE.says("Although it is read-only."), DELETE_STORAGE])
        .answers(&[empty(204, "Gone.")])
        .refuses(&[409]),
    op("getRepositoryMetadata", TAG, "A repository's metadata")
        .answers(&[json::<Metadata>(200, "Keys and values.")]),
    op("setRepositoryMetadata", INTERNAL, "Add to a repository's metadata")
        .says("Keys that are there already get the new value; others stay.")
        .answers(&[empty(204, "Added.")]),
    op("deleteRepositoryMetadata", INTERNAL, "Remove from a repository's metadata")
        .answers(&[empty(204, "Removed.")]),
    op("getMetadataObject", INTERNAL, "A tree's file")
        .says("In this server's own format, not the one that jobs made for lakeFS read.")
        .takes(&[TREE_TYPE, PRESIGN])
        .answers(&[
            bytes(200, "The file.").with(&[("Content-Length", "Its bytes.")]),
            empty(302, "A presigned URL.").with(&[("Location", "The URL.")]),
        ]),
    op("getMetaRange", TREES, "Where a tree is").answers(&[json::<StorageUri>(
        200,
        "Relative to the storage namespace.",
    )
    .with(&[("Location", "The same.")])]),
    op("getRange", TREES, "Where a part of a tree is").answers(&[json::<StorageUri>(
        200,
        "Relative to the storage namespace.",
    )
    .with(&[("Location", "The same.")])]),
];
