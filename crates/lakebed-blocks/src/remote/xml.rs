//! The little XML that services answer with.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// Deeper answers are refused.
const DEEPEST: usize = 32;

/// An element: its text, and the elements in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The root of a document, or what is wrong with it.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, String> {
        let document = std::str::from_utf8(document).map_err(|_| "it is no UTF-8".to_owned())?;
        let mut reader = Reader::from_str(document.strip_prefix('\u{feff}').unwrap_or(document));
        // The document itself stands below the elements that are open.
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(start) => {
                    if open.len() > DEEPEST {
                        return Err("it is nested too deeply".to_owned());
                    }
                    open.push(Self::named(start.local_name().into_inner()));
                }
                Event::Empty(start) => {
                    last(&mut open)?.children.push(Self::named(start.local_name().into_inner()));
                }
                Event::End(_) => {
                    let closed = open.pop().unwrap_or_default();
                    last(&mut open)?.children.push(closed);
                }
                Event::Text(text) => last(&mut open)?.text.push_str(&text.xml10_content()),
                Event::CData(text) => last(&mut open)?.text.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => last(&mut open)?.text.push(resolve(&reference)?),
                Event::Eof => break,
                _ => {}
            }
        }
        let document = open.pop().filter(|_| open.is_empty());
        let root = document.and_then(|document| document.children.into_iter().next());
        root.ok_or_else(|| "it ends early".to_owned())
    }

    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The first element of this name in it.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of this name.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }
}

fn last(open: &mut [Element]) -> Result<&mut Element, String> {
    open.last_mut().ok_or_else(|| "an element is closed that is not open".to_owned())
}

/// The five entities that XML knows by itself, and characters by number.
fn resolve(reference: &BytesRef<'_>) -> Result<char, String> {
    if let Some(character) = reference.resolve_char_ref().map_err(|error| error.to_string())? {
        return Ok(character);
    }
    match &*reference.xml10_content() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err("an entity is not defined".to_owned()),
    }
}

/// Text as the content of an element.
pub(crate) fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let root = Element::parse(
            b"\xef\xbb\xbf<?xml version='1.0'?><a xmlns='x'><b>1 &amp; &#252;</b><c/><b> two </b></a>",
        )
        .unwrap();
        assert_eq!((root.name.as_str(), root.children.len()), ("a", 3));
        assert_eq!(root.text_of("b"), Some("1 & \u{fc}"));
        assert_eq!(root.children[2].text, " two ");
        assert_eq!(root.text_of("c"), Some(""));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for bad in ["", "<a>", "</a>", "<a></b>", "nonsense", "<a>&unknown;</a>", &"<a>".repeat(100)] {
            assert!(Element::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
