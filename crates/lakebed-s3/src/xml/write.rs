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

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => {
                let _ = write!(out, "&#x{:X};", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let mut xml = Writer::bare();
        xml.open("A").text("B", "<&>\"'\u{1}\r\nü").value("C", 7).etag("e\"");
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<A><B>&lt;&amp;&gt;&quot;&#39;&#x1;&#xD;&#xA;ü</B>\
                        <C>7</C><ETag>&quot;e&quot;&quot;</ETag></A>";
        assert_eq!(xml.finish("A"), expected);
    }
}
