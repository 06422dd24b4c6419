//! Objects.

use lakebed_api::{List, ObjectErrorList, ObjectStats, StorageUri, UnderlyingObjectProperties};

use crate::description::operation::{Answer, Described, bytes, empty, json, op};
use crate::description::parameters::{
    AFTER, AMOUNT, DELIMITER, FORCE, IF_MATCH, IF_NONE_MATCH, Kind, NO_TOMBSTONE, OBJECT_PATH, PREFIX,
    PRESIGN, Parameter, RANGE, USER_METADATA,
};

const TAG: &[&str] = &["objects"];
const INTERNAL: &[&str] = &["internal"];
const STORAGE_CLASS: Parameter =
    Parameter::query("storageClass", Kind::Text, "Taken, and without effect.").may_be_empty().deprecated();
const DESTINATION: Parameter =
    Parameter::query("dest_path", Kind::Text, "The copy's path: at most 1024 bytes of UTF-8.").required();
const VERIFY: Parameter = Parameter::flag(
    "verify",
    "Look whether the bytes of an imported object are still those that were imported (ours): 412 if they are not.",
);
const LOCATION: Parameter =
    Parameter::query("location", Kind::Text, "Only what is under this prefix.").may_be_empty();

const WHOLE: &[(&str, &str)] =
    &[("Content-Length", "Bytes."), ("Last-Modified", "When it was written."), ("ETag", "Its checksum.")];
const PART: &[(&str, &str)] = &[
    ("Content-Length", "Bytes of the part."),
    ("Content-Range", "Which part of how many bytes."),
    ("Last-Modified", "When it was written."),
    ("ETag", "Its checksum."),
];
const HEAD: &[Answer] = &[
    empty(200, "It is there.").with(WHOLE),
    empty(206, "The part is there.").with(PART),
    empty(400, "The request is malformed."),
    empty(401, "No credentials, wrong ones, or a permission is missing."),
    empty(404, "Not there."),
    empty(410, "Its bytes are gone."),
    empty(416, "No such part."),
    empty(429, "Too much at once: try again."),
];

pub(super) const OPERATIONS: &[Described] = &[
    op("getObject", TAG, "Read an object")
        .says("Whole or in part. `If-None-Match` saves reading again what is known.")
        .takes(&[
            OBJECT_PATH,
            RANGE,
            IF_NONE_MATCH.says("An ETag: 304 instead of bytes that are known already."),
            PRESIGN,
            VERIFY,
        ])
        .answers(&[
            bytes(200, "Its bytes.").with(WHOLE),
            bytes(206, "The part.").with(PART),
            empty(302, "A presigned URL.").with(&[("Location", "The URL.")]),
            empty(304, "Not changed."),
        ])
        .refuses(&[403, 410, 412, 416]),
    op("headObject", TAG, "Is an object there?")
        .says("Answers from what is known of the object; whether its bytes are there, reading tells.")
        .takes(&[OBJECT_PATH, RANGE])
        .answers(HEAD),
    op("statObject", TAG, "What is known of an object")
        .takes(&[OBJECT_PATH, USER_METADATA, PRESIGN, VERIFY])
        .answers(&[json::<ObjectStats>(200, "What is known of it.")])
        .refuses(&[403, 410, 412]),
    op("getUnderlyingProperties", TAG, "What the block store says of an object")
        .takes(&[OBJECT_PATH])
        .answers(&[json::<UnderlyingObjectProperties>(200, "Its storage class.")])
        .refuses(&[410]),
    op("listObjects", TAG, "List objects")
        .says("By path, as bytes compare. With a delimiter, what is behind its next occurrence folds together.")
        .takes(&[USER_METADATA, PRESIGN, AFTER, AMOUNT, DELIMITER, PREFIX])
        .answers(&[json::<List<ObjectStats>>(200, "A page of objects and prefixes.")]),
    op("uploadObject", TAG, "Write an object")
        .says(
            "The body is the object, or a form whose part `content` is. Headers `x-lakefs-meta-*` become its \
             metadata. It is uncommitted until the branch is committed.",
        )
        .takes(&[
            OBJECT_PATH,
            IF_NONE_MATCH,
            IF_MATCH.says("Not supported."),
            STORAGE_CLASS,
            FORCE,
        ])
        .takes_object()
        .answers(&[json::<ObjectStats>(201, "What is known of it now.")])
        .refuses(&[403, 412, 501]),
    op("stageObject", INTERNAL, "Register an object by its address")
        .says("Use linkPhysicalAddress instead.")
        .deprecated()
        .takes(&[OBJECT_PATH])
        .answers(&[json::<ObjectStats>(201, "What is known of it now.")]),
    op("deleteObject", TAG, "Delete an object")
        .says("An object that is not there is deleted already.")
        .takes(&[OBJECT_PATH, FORCE, NO_TOMBSTONE])
        .answers(&[empty(204, "Gone.")]),
    op("deleteObjects", TAG, "Delete many objects")
        .says("At most 1000. Each path that could not be deleted is named, with the status it would have had alone.")
        .takes(&[FORCE, NO_TOMBSTONE])
        .answers(&[json::<ObjectErrorList>(200, "What could not be deleted.")]),
    op("copyObject", TAG, "Copy an object")
        .says("From any ref of the repository, with its metadata.")
        .takes(&[DESTINATION])
        .answers(&[json::<ObjectStats>(201, "What is known of the copy.")])
        .refuses(&[410, 501]),
    op("updateObjectUserMetadata", &["objects", "experimental"], "Replace an object's metadata")
        .takes(&[OBJECT_PATH])
        .answers(&[
            empty(204, "Replaced."),
            empty(201, "Replaced: described so; this server answers 204, as lakeFS does."),
        ]),
    op("uploadObjectPreflight", INTERNAL, "May I write this object?")
        .says("Asks for the permission alone, not for the branch.")
        .takes(&[OBJECT_PATH])
        .answers(&[empty(204, "Yes.")])
        .refuses(&[403]),
    op("createSymlinkFile", INTERNAL, "Write symlink manifests")
        .says("For each directory of a ref a file that lists where its objects' bytes are, for readers that know no versions.")
        .takes(&[LOCATION])
        .answers(&[json::<StorageUri>(201, "Where they are.")])
        .refuses(&[410]),
];
