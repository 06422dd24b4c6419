//! Dates as headers have them.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;

/// The end of the year 9999: what the format can show.
const LAST: u64 = 253_402_300_799;

/// Unix seconds as `Thu, 01 Jan 1970 00:00:00 GMT`; `None` before 1970.
pub fn http_date(secs: i64) -> Option<HeaderValue> {
    let secs = u64::try_from(secs).ok()?.min(LAST);
    HeaderValue::from_str(&httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs))).ok()
}

/// Unix seconds of a header's date, in any of the three forms of RFC 9110; `None` if it is none.
pub fn parse_http_date(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip_and_stop_at_the_year_9999() {
        let date = http_date(1_369_353_600).unwrap();
        assert_eq!(date, "Fri, 24 May 2013 00:00:00 GMT");
        assert_eq!(parse_http_date(date.to_str().unwrap()), Some(1_369_353_600));
        assert_eq!(http_date(-1), None);
        assert_eq!(http_date(i64::MAX).unwrap(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(parse_http_date("yesterday"), None);
    }
}
