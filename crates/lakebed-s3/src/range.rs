//! The `Range` header (`s3-gateway` §8.4).

use lakebed_blocks::ByteRange;

/// What a range asks of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: no range, or one that is not understood.
    Whole,
    /// These bytes.
    Part(ByteRange),
    /// Nothing the object has.
    Beyond,
}

/// What a header asks of an object of this size. Several ranges, other units and garbage are as no range.
pub(crate) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let spec = header.and_then(|header| header.trim().strip_prefix("bytes="));
    let Some((first, last)) = spec.and_then(|spec| spec.split_once('-')) else { return Wanted::Whole };
    // A number too long for 64 bits is past the end of any object.
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first, last, number(first), number(last)) {
        ("", _, _, Some(length)) => {
            let length = length.min(size);
            if length == 0 {
                Wanted::Beyond
            } else {
                Wanted::Part(ByteRange { start: size - length, end: size })
            }
        }
        (_, "", Some(start), None) | (_, _, Some(start), Some(_)) if start >= size => {
            // An end before the start makes it no range at all.
            match number(last) {
                Some(last) if last < start => Wanted::Whole,
                _ => Wanted::Beyond,
            }
        }
        (_, "", Some(start), None) => Wanted::Part(ByteRange { start, end: size }),
        (_, _, Some(start), Some(last)) if last >= start => {
            Wanted::Part(ByteRange { start, end: last.saturating_add(1).min(size) })
        }
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges() {
        let part = |start, end| Wanted::Part(ByteRange { start, end });
        for (header, expected) in [
            ("bytes=0-4", part(0, 5)),
            ("bytes=6-", part(6, 11)),
            ("bytes=-5", part(6, 11)),
            ("bytes=-50", part(0, 11)),
            ("bytes=4-400", part(4, 11)),
            ("bytes=4-99999999999999999999999", part(4, 11)),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=11-", Wanted::Beyond),
            ("bytes=40-50", Wanted::Beyond),
            ("bytes=50-40", Wanted::Whole),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,4-5", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("rows=0-4", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes= 1-2", Wanted::Whole),
            ("bytes= -2", Wanted::Whole),
        ] {
            assert_eq!(wanted(Some(header), 11), expected, "{header}");
        }
        assert_eq!(wanted(None, 11), Wanted::Whole);
        for header in ["bytes=0-4", "bytes=-4", "bytes=0-"] {
            assert_eq!(wanted(Some(header), 0), Wanted::Beyond, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_object(header in "bytes=[0-9]{0,20}-[0-9]{0,20}", size in 0u64..1000) {
            if let Wanted::Part(part) = wanted(Some(&header), size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
