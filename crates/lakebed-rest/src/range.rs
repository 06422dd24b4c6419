//! The `Range` header of object reads (`api-objects` §3).

use lakebed_blocks::ByteRange;

use crate::error::RestError;

/// What a range asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// These bytes.
    Part(ByteRange),
    /// Nothing the object has: 416 that names the object's size.
    Beyond,
    /// Nothing that can be given as one part: 416 alone.
    Senseless,
}

/// Checks a header against `^bytes=((\d*-\d*,? ?)+)$`, before anything is known of the object.
pub(crate) fn check(header: &str) -> Result<(), RestError> {
    let well_formed = header.strip_prefix("bytes=").is_some_and(|rest| {
        let mut rest = rest;
        let mut items = 0;
        while !rest.is_empty() {
            let digits =
                |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            rest = &rest[digits(rest)..];
            let Some(behind) = rest.strip_prefix('-') else { return false };
            rest = &behind[digits(behind)..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
            rest = rest.strip_prefix(' ').unwrap_or(rest);
            items += 1;
        }
        items > 0
    });
    if well_formed {
        Ok(())
    } else {
        Err(RestError::bad_request(
            "parameter \"Range\" in header has an error: it must look like bytes=0-99",
        ))
    }
}

/// What a checked header asks of an object of this size.
pub(crate) fn wanted(header: &str, size: u64) -> Wanted {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::Senseless;
    };
    if last.bytes().any(|byte| !byte.is_ascii_digit()) {
        return Wanted::Senseless;
    }
    // A number too long for 64 bits is past the end of any object.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match (first, last) {
        ("", "") => Wanted::Senseless,
        ("", length) => {
            let length = number(length).min(size);
            if length == 0 {
                Wanted::Beyond
            } else {
                Wanted::Part(ByteRange { start: size - length, end: size })
            }
        }
        (start, end) => {
            let start = number(start);
            let last = if end.is_empty() { u64::MAX } else { number(end) };
            if last < start {
                Wanted::Senseless
            } else if start >= size {
                Wanted::Beyond
            } else {
                Wanted::Part(ByteRange { start, end: last.saturating_add(1).min(size) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_byte_ranges_are_well_formed() {
        for good in
            ["bytes=0-0", "bytes=5-", "bytes=-3", "bytes=-", "bytes=5-2", "bytes=0-1,4-5", "bytes=0-1, 4-5"]
        {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["bytes=", "bytes=a-b", "items=0-1", "0-1", "bytes= 0-1", "Bytes=0-1", "bytes=1"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_is_clamped_to_the_object() {
        let part = |start, end| Wanted::Part(ByteRange { start, end });
        for (header, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 6)),
            ("bytes=5-", part(5, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-30", part(0, 10)),
            ("bytes=8-100", part(8, 10)),
            ("bytes=8-99999999999999999999999", part(8, 10)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=10-12", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=5-2", Wanted::Senseless),
            ("bytes=0-1,4-5", Wanted::Senseless),
            ("bytes=-", Wanted::Senseless),
        ] {
            assert_eq!(wanted(header, 10), expected, "{header}");
        }
        assert_eq!(wanted("bytes=0-0", 0), Wanted::Beyond);
        assert_eq!(wanted("bytes=-1", 0), Wanted::Beyond);
    }
}
