//! Statistics and usage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::objects_only::objects;

/// One kind of event and how often it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsEvent {
    /// Its class; not empty.
    #[schemars(length(min = 1))]
    pub class: String,
    /// Its name; not empty.
    #[schemars(length(min = 1))]
    pub name: String,
    /// How often; not negative.
    #[schemars(range(min = 0))]
    pub count: i64,
}

/// Events as clients report them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsEventsList {
    /// The events.
    #[serde(deserialize_with = "objects")]
    pub events: Vec<StatsEvent>,
}

/// Requests of one month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageReport {
    /// Requests.
    pub count: u64,
    /// 1 to 12.
    #[schemars(range(min = 1, max = 12))]
    pub month: i8,
    /// The year.
    pub year: i16,
}

/// Requests by month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstallationUsageReport {
    /// Which installation.
    pub installation_id: String,
    /// Oldest month first.
    pub reports: Vec<UsageReport>,
}
