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
    let time = civil(stamp);
    // Listings write thousands: by hand, this takes a tenth of what a format does.
    let mut text = String::with_capacity(24);
    let mut number = |value: i16, digits: u32, then: &str| {
        for place in (0..digits).rev() {
            let digit = value / 10i16.pow(place) % 10;
            text.push(char::from(b'0' + u8::try_from(digit).unwrap_or_default()));
        }
        text.push_str(then);
    };
    number(time.year(), 4, "-");
    number(time.month().into(), 2, "-");
    number(time.day().into(), 2, "T");
    number(time.hour().into(), 2, ":");
    number(time.minute().into(), 2, ":");
    number(time.second().into(), 2, ".000Z");
    text
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
