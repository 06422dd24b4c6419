//! A reader of request documents: any prefix and any namespace or none, unknown elements skipped, text kept as it is
//! (`s3-gateway` §6). Document types and entities of their own are refused, so nothing can expand; depth and number of
//! elements are bounded, and so is the memory a document takes.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use crate::error::{Code, S3Error};

/// Elements inside elements: request documents go five deep.
const DEEPEST: usize = 16;

/// The most elements in a document: a completion of 10,000 parts with every checksum has fewer.
const MOST_ELEMENTS: usize = 150_000;

/// An element: its name without prefix, its own text, its children in order.
#[derive(Debug, Default)]
pub(crate) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

fn malformed() -> S3Error {
    S3Error::of(Code::MalformedXML)
}

impl Element {
    /// Reads a document whose root must have this name.
    pub(crate) fn parse(document: &[u8], root: &str) -> Result<Self, S3Error> {
        let document = std::str::from_utf8(document).map_err(|_| malformed())?;
        let mut reader = Reader::from_str(document.strip_prefix('\u{feff}').unwrap_or(document));
        reader.config_mut().check_comments = true;
        let mut open: Vec<Self> = Vec::new();
        let mut whole = None;
        let mut elements = 0;
        loop {
            match reader.read_event().map_err(|_| malformed())? {
                Event::Start(start) => {
                    elements += 1;
                    if open.len() == DEEPEST || elements > MOST_ELEMENTS || whole.is_some() {
                        return Err(malformed());
                    }
                    open.push(Self::named(start.local_name().into_inner()));
                }
                Event::Empty(start) => {
                    elements += 1;
                    if elements > MOST_ELEMENTS || whole.is_some() {
                        return Err(malformed());
                    }
                    close(Self::named(start.local_name().into_inner()), &mut open, &mut whole);
                }
                Event::End(_) => {
                    let element = open.pop().ok_or_else(malformed)?;
                    close(element, &mut open, &mut whole);
                }
                Event::Text(text) => {
                    let text = text.xml10_content();
                    match open.last_mut() {
                        Some(element) => element.text.push_str(&text),
                        None if text.trim().is_empty() => {}
                        None => return Err(malformed()),
                    }
                }
                Event::CData(text) => {
                    open.last_mut().ok_or_else(malformed)?.text.push_str(&text.xml10_content());
                }
                Event::GeneralRef(reference) => {
                    open.last_mut().ok_or_else(malformed)?.text.push(resolve(&reference)?);
                }
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
                Event::DocType(_) => return Err(malformed()),
                Event::Eof => break,
            }
        }
        whole.filter(|element| open.is_empty() && element.name == root).ok_or_else(malformed)
    }

    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The children of this name, in order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first child of this name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The first child of this name; a document without it is malformed.
    pub(crate) fn required(&self, name: &str) -> Result<&Self, S3Error> {
        self.child(name).ok_or_else(malformed)
    }

    /// Name and text of every child.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.children.iter().map(|child| (child.name.as_str(), child.text.as_str()))
    }

    /// The element's own text, as it is: keys may begin and end with spaces.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text as a number, a flag, or whatever else it must be.
    pub(crate) fn value<T: std::str::FromStr>(&self) -> Result<T, S3Error> {
        self.text.trim().parse().map_err(|_| malformed())
    }
}

fn close(element: Element, open: &mut [Element], whole: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *whole = Some(element),
    }
}

/// The five entities that XML knows by itself, and characters by number.
fn resolve(reference: &BytesRef<'_>) -> Result<char, S3Error> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| malformed())? {
        return Ok(character);
    }
    match &*reference.xml10_content() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(document: &str) -> Result<Vec<String>, Code> {
        let root = Element::parse(document.as_bytes(), "Delete").map_err(|error| error.code())?;
        root.all("Object")
            .map(|object| Ok(object.required("Key").map_err(|error| error.code())?.text().to_owned()))
            .collect()
    }

    #[test]
    fn namespaces_and_prefixes_do_not_matter() {
        for document in [
            "<Delete><Object><Key>a</Key></Object></Delete>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n\
             <Object>\n<Key>a</Key>\n</Object>\n</Delete>\n",
            "\u{feff}<s:Delete xmlns:s=\"urn:x\"><s:Object><s:Key>a</s:Key></s:Object></s:Delete>",
            "<!-- c --><Delete><New><Key>z</Key></New><Object><Other/><Key><![CDATA[a]]></Key></Object></Delete>",
        ] {
            assert_eq!(keys(document), Ok(vec!["a".to_owned()]), "{document}");
        }
    }

    #[test]
    fn texts_are_kept_and_unescaped() {
        let of = |text: &str| keys(&format!("<Delete><Object><Key>{text}</Key></Object></Delete>"));
        assert_eq!(
            of("  a &lt;&amp;&gt;&quot;&apos;&#x41;&#10;&#x1; ü "),
            Ok(vec!["  a <&>\"'A\n\u{1} ü ".to_owned()])
        );
        assert_eq!(of(""), Ok(vec![String::new()]));
    }

    #[test]
    fn what_is_no_such_document_is_malformed() {
        let deep = format!("<Delete>{}{}</Delete>", "<a>".repeat(16), "</a>".repeat(16));
        for document in [
            "",
            "not xml",
            "<Delete>",
            "<Delete><Object></Delete>",
            "<Delete/><Delete/>",
            "<Delete></Delete>x",
            "<delete></delete>",
            "<Delete><Object></Object></Delete>",
            "<!DOCTYPE Delete [<!ENTITY a \"b\">]><Delete/>",
            "<Delete><Object><Key>&a;</Key></Object></Delete>",
            "<Delete><Object><Key>&#xD800;</Key></Object></Delete>",
            "<Delete><Object><Key>&</Key></Object></Delete>",
            &deep,
        ] {
            assert_eq!(keys(document), Err(Code::MalformedXML), "{document}");
        }
        assert!(Element::parse(b"<Delete>\xff</Delete>", "Delete").is_err());
    }

    #[test]
    fn the_number_of_elements_is_bounded() {
        let many = format!("<Delete>{}</Delete>", "<a/>".repeat(MOST_ELEMENTS));
        assert_eq!(keys(&many), Err(Code::MalformedXML));
    }

    proptest! {
        #[test]
        fn hostile_documents_never_panic(text in "(<[/!?]?(Delete|Object|Key|a:b|\\[CDATA\\[|DOCTYPE|--)?[ /?]?>?|&#?[a-z0-9]{0,3};?|x|\\PC){0,30}") {
            let _ = Element::parse(text.as_bytes(), "Delete");
        }
    }
}
