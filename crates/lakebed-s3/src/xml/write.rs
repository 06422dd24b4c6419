//! A writer of small documents: escapes what XML escapes, and shows control characters as S3 does (`&#x1;`), though
//! XML 1.0 has no place for them.

use std::fmt::Write;

/// The namespace on the roots of results.
const S3_NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// What every document begins with.
pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// A document in the making.
pub(crate) struct Writer {
    out: String,
}

impl Writer {
    /// A document with this root, in S3's namespace.
    pub(crate) fn result(root: &str) -> Self {
        let mut writer = Self::bare();
        writer.start(root, &[("xmlns", S3_NAMESPACE)]);
        writer
    }

    /// A document without a root yet.
    pub(crate) fn bare() -> Self {
        let mut out = String::with_capacity(1024);
        out.push_str(DECLARATION);
        Self { out }
    }

    /// Opens an element with attributes.
    pub(crate) fn start(&mut self, name: &str, attributes: &[(&str, &str)]) -> &mut Self {
        self.out.push('<');
        self.out.push_str(name);
        for (key, value) in attributes {
            self.out.push(' ');
            self.out.push_str(key);
            self.out.push_str("=\"");
            escape(&mut self.out, value);
            self.out.push('"');
        }
        self.out.push('>');
        self
    }

    /// Opens an element.
    pub(crate) fn open(&mut self, name: &str) -> &mut Self {
        self.start(name, &[])
    }

    /// Closes an element.
    pub(crate) fn close(&mut self, name: &str) -> &mut Self {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
        self
    }

    /// Text inside the element that is open.
    pub(crate) fn inner(&mut self, text: &str) -> &mut Self {
        escape(&mut self.out, text);
        self
    }

    /// An element that holds a text.
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.open(name);
        escape(&mut self.out, value);
        self.close(name)
    }

    /// An element that holds a text whose quotes stay as they are: clients look for them.
    pub(crate) fn prose(&mut self, name: &str, value: &str) -> &mut Self {
        self.open(name);
        let mut pieces = value.split('"');
        escape(&mut self.out, pieces.next().unwrap_or_default());
        for piece in pieces {
            self.out.push('"');
            escape(&mut self.out, piece);
        }
        self.close(name)
    }

    /// An element that holds whatever displays itself without need of escaping: numbers, booleans.
    pub(crate) fn value(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        self.open(name);
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{value}");
        self.close(name)
    }

    /// An element that holds an ETag in its quotes.
    pub(crate) fn etag(&mut self, etag: &str) -> &mut Self {
        self.open("ETag");
        self.out.push_str("&quot;");
        escape(&mut self.out, etag);
        self.out.push_str("&quot;");
        self.close("ETag")
    }

    /// Closes the root and gives the document.
    pub(crate) fn finish(mut self, root: &str) -> String {
        self.close(root);
        self.out
    }
}

/// Bytes that cannot stand as they are, or begin a character that may not: everything else is copied in runs.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        // 0xc2 begins the control characters above ASCII, 0xef the two that are none.
        special[byte] =
            byte < 0x20 || matches!(byte as u8, b'&' | b'<' | b'>' | b'"' | b'\'' | 0x7f | 0xc2 | 0xef);
        byte += 1;
    }
    special
};

fn escape(out: &mut String, mut text: &str) {
    while let Some(at) = text.bytes().position(|byte| SPECIAL[usize::from(byte)]) {
        let (plain, rest) = text.split_at(at);
        out.push_str(plain);
        let mut chars = rest.chars();
        match chars.next() {
            Some('&') => out.push_str("&amp;"),
            Some('<') => out.push_str("&lt;"),
            Some('>') => out.push_str("&gt;"),
            Some('"') => out.push_str("&quot;"),
            Some('\'') => out.push_str("&#39;"),
            Some(c) if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "&#x{:X};", u32::from(c));
            }
            Some(c) => out.push(c),
            None => {}
        }
        text = chars.as_str();
    }
    out.push_str(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_escaped() {
        let mut xml = Writer::bare();
        xml.open("A").text("B", "<&>\"'\u{1}\r\nü").value("C", 7).etag("e\"");
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<A><B>&lt;&amp;&gt;&quot;&#39;&#x1;&#xD;&#xA;ü</B>\
                        <C>7</C><ETag>&quot;e&quot;&quot;</ETag></A>";
        assert_eq!(xml.finish("A"), expected);
        let mut xml = Writer::bare();
        xml.open("A").prose("B", "\"a\" & b");
        assert!(xml.finish("A").ends_with("<A><B>\"a\" &amp; b</B></A>"));
    }

    proptest! {
        #[test]
        fn every_character_is_written_or_referred_to(text in ".{0,20}|[\u{0}-\u{ff}\u{ff00}-\u{ffff}<&>\"']{0,20}") {
            let mut out = String::new();
            escape(&mut out, &text);
            let expected: String = text
                .chars()
                .map(|c| match c {
                    '&' => "&amp;".to_owned(),
                    '<' => "&lt;".to_owned(),
                    '>' => "&gt;".to_owned(),
                    '"' => "&quot;".to_owned(),
                    '\'' => "&#39;".to_owned(),
                    c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => format!("&#x{:X};", u32::from(c)),
                    c => c.to_string(),
                })
                .collect();
            prop_assert_eq!(out, expected);
        }
    }
}
