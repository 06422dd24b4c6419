//! What the server says of itself.

use std::fmt::Write;

use http::{StatusCode, header};
use lakebed_api::{
    CapabilitiesConfig, Config, GarbageCollectionConfig, InstallationUsageReport, StatsEventsList, UiConfig,
};

use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};

pub(crate) async fn health(_: Call, (): ()) -> Reply {
    reply::no_content()
}

/// The description of the API.
pub(crate) async fn description(call: Call, (): ()) -> Reply {
    Ok(call.rest.describe(call.header(&header::IF_NONE_MATCH)))
}

pub(crate) async fn config(call: Call, (): ()) -> Reply {
    let config = call.rest.config();
    reply::ok(&Config {
        capabilities_config: CapabilitiesConfig { async_ops: Some(true) },
        storage_config: config.store.storage.clone(),
        storage_config_list: config.several.iter().map(|store| store.storage.clone()).collect(),
        ui_config: UiConfig::default(),
        version_config: config.version_config(),
    })
}

pub(crate) async fn version(call: Call, (): ()) -> Reply {
    reply::ok(&call.rest.config().version_config())
}

pub(crate) async fn storage(call: Call, (): ()) -> Reply {
    reply::ok(&call.rest.config().store.storage)
}

pub(crate) async fn garbage_collection(call: Call, (): ()) -> Reply {
    reply::ok(&GarbageCollectionConfig { grace_period: call.rest.config().gc_grace_period_secs })
}

pub(crate) fn events(_: &Call, list: StatsEventsList) -> Result<StatsEventsList, RestError> {
    Ok(list)
}

/// Events are checked and dropped: nothing is collected about users.
pub(crate) async fn statistics(_: Call, list: StatsEventsList) -> Reply {
    for event in &list.events {
        if event.class.is_empty() || event.name.is_empty() {
            return Err(RestError::bad_request("invalid value: class and name are required"));
        }
        if event.count < 0 {
            return Err(RestError::bad_request("invalid value: count must be a non-negative integer"));
        }
    }
    reply::no_content()
}

/// Requests answered by this server since it started, by month; as text for those who ask for it.
pub(crate) async fn usage(call: Call, (): ()) -> Reply {
    let report = InstallationUsageReport {
        installation_id: call.rest.auth().installation_id().await?,
        reports: call.rest.usage().reports(),
    };
    let wants_text = call
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.split([',', ';']).any(|media| media.trim() == "text/plain"));
    if !wants_text {
        return reply::ok(&report);
    }
    let mut text = format!("Usage for installation ID: {}\n", report.installation_id);
    for month in &report.reports {
        let _ = writeln!(text, "{:04}-{:02} {}", month.year, month.month, month.count);
    }
    Ok(reply::text(StatusCode::OK, text))
}
