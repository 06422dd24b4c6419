//! Where the table is and how it is reached (`operations.md` 2.5).

use std::fmt;
use std::time::Duration;

/// How the DynamoDB engine reaches its table.
#[derive(Clone, PartialEq, Eq)]
pub struct DynamoConfig {
    /// The table, made if it is missing.
    pub table: String,
    /// The most items one page of a scan asks for.
    pub scan_limit: usize,
    /// Another address than the region's own.
    pub endpoint: Option<String>,
    /// The region; otherwise the usual sources are asked.
    pub region: Option<String>,
    /// A profile of the shared configuration.
    pub profile: Option<String>,
    /// Access key and secret; otherwise the usual sources are asked.
    pub credentials: Option<(String, String)>,
    /// How often the table is looked at while the server runs; `None`: never.
    pub health_check_interval: Option<Duration>,
    /// Attempts of a request, the first included; those that only waited for other transactions are not counted.
    pub max_attempts: u32,
    /// Requests at work at once, each on a connection; 0: no limit.
    pub max_connections: usize,
    /// How long an attempt may take.
    pub attempt_timeout: Duration,
}

impl Default for DynamoConfig {
    fn default() -> Self {
        Self {
            table: "kvstore".to_owned(),
            scan_limit: 1025,
            endpoint: None,
            region: None,
            profile: None,
            credentials: None,
            health_check_interval: None,
            max_attempts: 10,
            max_connections: 0,
            attempt_timeout: Duration::from_secs(5),
        }
    }
}

/// Without the secret.
impl fmt::Debug for DynamoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoConfig")
            .field("table", &self.table)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("profile", &self.profile)
            .field("access_key", &self.credentials.as_ref().map(|(key, _)| key))
            .finish_non_exhaustive()
    }
}
