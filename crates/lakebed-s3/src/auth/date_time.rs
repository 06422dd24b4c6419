//! Times as signatures and documents write them.

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::Offset;
use lakebed_core::Timestamp;

/// `yyyymmddThhmmssZ`.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let all_digits =
        |range| text.get(range).is_some_and(|part: &str| part.bytes().all(|b| b.is_ascii_digit()));
    if text.len() != 16 || !all_digits(0..8) || !all_digits(9..15) {
        return None;
    }
    let time = strtime::parse("%Y%m%dT%H%M%SZ", text).ok()?.to_datetime().ok()?;
    let stamp = Offset::UTC.to_timestamp(time).ok()?;
    Some(Timestamp::from_secs(stamp.as_second()))
}

fn civil(stamp: Timestamp) -> DateTime {
    let stamp = jiff::Timestamp::from_second(stamp.secs()).unwrap_or_default();
    Offset::UTC.to_datetime(stamp)
}

/// A time as `yyyymmddThhmmssZ`.
pub(crate) fn compact(stamp: Timestamp) -> String {
    civil(stamp).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A time as documents have it: `yyyy-mm-ddThh:mm:ss.000Z`, whole seconds as in `Last-Modified`.
pub(crate) fn iso(stamp: Timestamp) -> String {
    civil(stamp).strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        let stamp = parse("20130524T000102Z").unwrap();
        assert_eq!(compact(stamp), "20130524T000102Z");
        assert_eq!(iso(stamp), "2013-05-24T00:01:02.000Z");
        for bad in
            ["", "nonsense", "20130524T000102", "20131324T000102Z", "2013-5-24T000102Z", "20130524X000102Z"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
