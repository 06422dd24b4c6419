//! Branches and tags.

use lakebed_api::{List, Ref};

use crate::description::operation::{Described, empty, json, op, plain};
use crate::description::parameters::{AFTER, AMOUNT, FORCE, Kind, PREFIX, Parameter};

const TAGS: &[&str] = &["tags"];
const BRANCHES: &[&str] = &["branches"];
const EXPERIMENTAL: &[&str] = &["experimental"];
const SHOW_HIDDEN: Parameter = Parameter::flag("show_hidden", "Hidden branches, too.");
const TO: Parameter =
    Parameter::query("ref", Kind::Text, "Where to: any ref expression, not only an ancestor.").required();

pub(super) const OPERATIONS: &[Described] = &[
    op("listBranches", BRANCHES, "List branches")
        .says("In the order of their names; hidden ones only when asked for.")
        .takes(&[PREFIX, AFTER, AMOUNT, SHOW_HIDDEN])
        .answers(&[json::<List<Ref>>(200, "A page of branches.")]),
    op("createBranch", BRANCHES, "Make a branch")
        .says(
            "At the commit of any ref. Nothing is copied, and uncommitted changes of the source stay there.",
        )
        .answers(&[plain(201, "The id of the branch's commit, as bare text.")])
        .refuses(&[403, 409]),
    op("getBranch", BRANCHES, "One branch").answers(&[json::<Ref>(200, "The branch and its commit.")]),
    op("deleteBranch", BRANCHES, "Delete a branch")
        .says("With its uncommitted changes. The default branch cannot be deleted.")
        .takes(&[FORCE])
        .answers(&[empty(204, "Gone.")]),
    op("resetBranch", BRANCHES, "Drop uncommitted changes")
        .says("All of them, those under a prefix, or that of one object. The branch's commit stays.")
        .answers(&[empty(204, "Dropped.")]),
    op("hardResetBranch", EXPERIMENTAL, "Move a branch to another commit")
        .says("Uncommitted changes stay, and lie on the new commit. The old one stays readable by its id.")
        .takes(&[TO, FORCE])
        .answers(&[empty(204, "Moved.")]),
    op("listTags", TAGS, "List tags")
        .says("In the order of their names.")
        .takes(&[PREFIX, AFTER, AMOUNT])
        .answers(&[json::<List<Ref>>(200, "A page of tags.")]),
    op("createTag", TAGS, "Make a tag")
        .says("At the commit of any ref; it never moves.")
        .answers(&[json::<Ref>(201, "The tag and its commit.")])
        .refuses(&[403, 409]),
    op("getTag", TAGS, "One tag").answers(&[json::<Ref>(200, "The tag and its commit.")]),
    op("deleteTag", TAGS, "Delete a tag")
        .says("Its name is free again.")
        .takes(&[FORCE])
        .answers(&[empty(204, "Gone.")]),
];
