//! Statistics and usage.

use serde::{Deserialize, Serialize};

/// One kind of event and how often it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsEvent {
    /// Its class; not empty.
    pub class: String,
    /// Its name; not empty.
    pub name: String,
    /// How often; not negative.
    pub count: i64,
}

/// Events as clients report them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsEventsList {
    /// The events.
    pub events: Vec<StatsEvent>,
}

/// Requests of one month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReport {
    /// Requests.
    pub count: u64,
    /// 1 to 12.
    pub month: i8,
    /// The year.
    pub year: i16,
}

/// Requests by month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallationUsageReport {
    /// Which installation.
    pub installation_id: String,
    /// Oldest month first.
    pub reports: Vec<UsageReport>,
}
