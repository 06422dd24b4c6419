//! How many requests were answered, by month.

use std::sync::{Mutex, PoisonError};

use lakebed_api::UsageReport;
use lakebed_core::Timestamp;

/// Requests by month since this server started.
#[derive(Default)]
pub(crate) struct Usage(Mutex<Months>);

#[derive(Default)]
struct Months {
    reports: Vec<UsageReport>,
    /// The last report counts for times before this, so that the calendar is asked only once a month.
    ends_millis: i64,
}

impl Usage {
    pub(crate) fn count(&self, now: Timestamp) {
        let mut months = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.millis() >= months.ends_millis {
            let Some((year, month, ends_millis)) = month_of(now) else { return };
            months.reports.push(UsageReport { count: 0, month, year });
            months.ends_millis = ends_millis;
        }
        if let Some(report) = months.reports.last_mut() {
            report.count += 1;
        }
    }

    pub(crate) fn reports(&self) -> Vec<UsageReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).reports.clone()
    }
}

/// Year, month, and when it ends in Unix milliseconds.
fn month_of(now: Timestamp) -> Option<(i16, i8, i64)> {
    let time = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_millisecond(now.millis()).ok()?);
    let next = time.date().first_of_month().checked_add(jiff::Span::new().months(1)).ok()?;
    let ends = jiff::tz::Offset::UTC.to_timestamp(next.at(0, 0, 0, 0)).ok()?.as_millisecond();
    Some((time.year(), time.month(), ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_in_their_month() {
        let usage = Usage::default();
        for secs in [1_700_000_000, 1_700_000_001, 1_701_388_799, 1_701_388_800] {
            usage.count(Timestamp::from_secs(secs));
        }
        let report = |year, month, count| UsageReport { count, month, year };
        assert_eq!(usage.reports(), [report(2023, 11, 3), report(2023, 12, 1)]);
    }
}
