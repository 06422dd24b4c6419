//! `Content-Disposition` of object reads: which types a browser may show, and the file's name.

use std::fmt::Write;

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Types shown in place, compared as stored. HTML and SVG among them are made harmless by the content security policy.
const INLINE: [&str; 22] = [
    "text/html",
    "text/plain",
    "text/css",
    "text/markdown",
    "text/x-markdown",
    "text/xml",
    "text/javascript",
    "application/json",
    "application/xml",
    "application/pdf",
    "application/javascript",
    "image/png",
    "image/jpeg",
    "image/jpg",
    "image/gif",
    "image/webp",
    "image/svg+xml",
    "video/mp4",
    "video/webm",
    "audio/mpeg",
    "audio/wav",
    "audio/webm",
];

/// What RFC 5987 leaves unescaped.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header for an object of this type at this path.
pub(crate) fn header(content_type: &str, path: &str) -> HeaderValue {
    let kind = if INLINE.contains(&content_type) { "inline" } else { "attachment" };
    let name = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("object");
    let mut text = String::with_capacity(kind.len() + name.len() + 16);
    text.push_str(kind);
    text.push_str("; filename=\"");
    for c in name.chars() {
        match c {
            '"' | '\\' | '%' => text.push('_'),
            ' '..='~' => text.push(c),
            _ => text.push('_'),
        }
    }
    text.push('"');
    if !name.is_ascii() || name.bytes().any(|byte| byte.is_ascii_control() || b"\"\\%".contains(&byte)) {
        let _ = write!(text, "; filename*=UTF-8''{}", utf8_percent_encode(name, ATTR_CHAR));
    }
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_types_are_inline_exactly_as_written() {
        assert_eq!(header("text/plain", "x/p.txt"), "inline; filename=\"p.txt\"");
        assert_eq!(header("text/plain; charset=utf-8", "p"), "attachment; filename=\"p\"");
        assert_eq!(header("IMAGE/JPEG", "p"), "attachment; filename=\"p\"");
        assert_eq!(header("text/csv", "p"), "attachment; filename=\"p\"");
    }

    #[test]
    fn names_are_escaped_and_kept_in_full() {
        let value = header("text/csv", "a/näive \"x\".csv");
        assert_eq!(
            value,
            "attachment; filename=\"n_ive _x_.csv\"; filename*=UTF-8''n%C3%A4ive%20%22x%22.csv"
        );
        assert_eq!(header("text/csv", "dir/"), "attachment; filename=\"dir\"");
        assert_eq!(header("text/csv", "a\r\nb"), "attachment; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab");
    }
}
