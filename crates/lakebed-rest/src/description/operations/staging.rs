//! Uploads that clients do themselves.

use lakebed_api::{ObjectStats, PresignMultipartUpload, StagingLocation, UploadTo};

use crate::description::operation::{Described, empty, json, op};
use crate::description::parameters::{IF_MATCH, IF_NONE_MATCH, Kind, OBJECT_PATH, PRESIGN, Parameter};

const TAG: &[&str] = &["staging"];
const EXPERIMENTAL: &[&str] = &["experimental"];
const PARTS: Parameter =
    Parameter::query("parts", Kind::Integer(i64::MIN, i64::MAX), "Presign URLs for this many parts.");
const PART_NUMBER: Parameter =
    Parameter::path("partNumber", Kind::Integer(1, 10_000), "Which part: parts are joined by number.");

pub(super) const OPERATIONS: &[Described] = &[
    op("getPhysicalAddress", TAG, "An address to write an object to")
        .says("The client writes the bytes there itself, and then links them.")
        .takes(&[OBJECT_PATH, PRESIGN])
        .answers(&[json::<StagingLocation>(200, "A fresh address, signed.")]),
    op("linkPhysicalAddress", TAG, "Link an object that is written")
        .says("Makes what was written to an address of this server an object of the branch, uncommitted.")
        .takes(&[OBJECT_PATH, IF_NONE_MATCH, IF_MATCH.says("Not supported.")])
        .answers(&[
            json::<ObjectStats>(200, "What is known of it now."),
            json::<StagingLocation>(409, "Link it to another address."),
        ])
        .refuses(&[403, 412, 501]),
    op("createPresignMultipartUpload", EXPERIMENTAL, "Begin an upload in parts")
        .says("Parts go to the block store by presigned URLs. Stores that cannot presign parts refuse with 501.")
        .takes(&[OBJECT_PATH, PARTS])
        .answers(&[json::<PresignMultipartUpload>(201, "The upload.")])
        .refuses(&[403, 501]),
    op("completePresignMultipartUpload", EXPERIMENTAL, "End an upload in parts")
        .takes(&[OBJECT_PATH])
        .answers(&[
            json::<ObjectStats>(200, "What is known of the object now."),
            json::<StagingLocation>(409, "It goes on elsewhere."),
        ])
        .refuses(&[403, 501]),
    op("abortPresignMultipartUpload", EXPERIMENTAL, "Give an upload in parts up")
        .takes(&[OBJECT_PATH])
        .answers(&[empty(204, "Given up.")])
        .refuses(&[403, 501]),
    op("uploadPart", EXPERIMENTAL, "A URL for one part")
        .takes(&[OBJECT_PATH, PART_NUMBER])
        .answers(&[json::<UploadTo>(200, "Where the part goes.")])
        .refuses(&[403, 501]),
    op("uploadPartCopy", EXPERIMENTAL, "Copy one part from an object")
        .takes(&[OBJECT_PATH, PART_NUMBER])
        .answers(&[empty(204, "Copied.").with(&[("ETag", "The part's, for the end of the upload.")])])
        .refuses(&[403, 501]),
];
