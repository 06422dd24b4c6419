//! The server itself.

use lakebed_api::{
    Config, GarbageCollectionConfig, InstallationUsageReport, License, StorageConfig, VersionConfig,
};

use crate::description::operation::{Described, empty, json, json_or_text, op};

pub(super) const OPERATIONS: &[Described] = &[
    op("healthCheck", &["healthCheck"], "Is the server there?")
        .says("Looks at nothing; `/_health` beside the API also asks the metadata engine.")
        .answers(&[empty(204, "It is.")]),
    op("getConfig", &["config"], "How the server is set up")
        .says("What clients need to know of the block store, the version, and what the server can do.")
        .answers(&[json::<Config>(200, "The configuration.")]),
    op("getLakeFSVersion", &["internal"], "The version alone")
        .says("A part of the configuration, for old clients.")
        .deprecated()
        .answers(&[json::<VersionConfig>(200, "The version of the API that the server speaks.")]),
    op("getStorageConfig", &["internal"], "The block store alone")
        .says("A part of the configuration, for old clients.")
        .deprecated()
        .answers(&[json::<StorageConfig>(200, "The block store.")]),
    op("getGarbageCollectionConfig", &["internal"], "What collectors must know").answers(&[json::<
        GarbageCollectionConfig,
    >(
        200,
        "How long uncommitted objects are safe.",
    )]),
    op("postStatsEvents", &["internal"], "Report usage events")
        .says("Events are checked and dropped: nothing is collected about users.")
        .answers(&[empty(204, "Taken.")]),
    op("getUsageReportSummary", &["internal"], "Requests by month")
        .says("Counted by this server since it started. `Accept: text/plain` gives it as text.")
        .answers(&[json_or_text::<InstallationUsageReport>(200, "The report.")])
        .refuses(&[404]),
    op("getLicense", &["license", "experimental"], "The licence")
        .says("There is none to show.")
        .not_served()
        .answers(&[json::<License>(200, "The licence.")])
        .refuses(&[401, 501]),
    op("getApiDescription", &["config"], "This description")
        .says("The same document as at `/openapi.json`, generated from the code that serves the API.")
        .ours()
        .answers(&[
            json::<serde_json::Map<String, serde_json::Value>>(200, "An OpenAPI 3.0 document.")
                .with(&[("ETag", "Changes when the document does.")]),
            empty(304, "`If-None-Match` named the present document."),
        ])
        .takes(&[crate::description::parameters::IF_NONE_MATCH.says("Only if its ETag is another one.")]),
];
