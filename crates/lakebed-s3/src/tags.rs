//! Tags of objects (`s3-gateway` §8.10): at most ten, kept with the entry as a sorted, escaped query.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Code, S3Error};
use crate::stored::TAGGING;
use crate::xml::Element;

const MOST_TAGS: usize = 10;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

/// The tags of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags(BTreeMap<String, String>);

/// The characters that S3 documents for tags.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c))
}

fn invalid(message: &'static str) -> S3Error {
    S3Error::new(Code::InvalidTag, message)
}

/// What a key and a value may be made of.
const PLAIN: &str = "letters, digits, spaces and + - = . _ : / @";

/// Whether every percent sign begins the escape of a byte.
fn is_escaped(text: &str) -> bool {
    let escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    text.split('%').skip(1).all(escape)
}

impl Tags {
    fn of(pairs: impl Iterator<Item = (String, String)>) -> Result<Self, S3Error> {
        let mut tags = BTreeMap::new();
        for (key, value) in pairs {
            if key.is_empty() || key.chars().count() > LONGEST_KEY || !is_plain(&key) {
                return Err(invalid("The TagKey you have provided is invalid")
                    .with("TagKey", key)
                    .with("Detail", format!("A key has 1 to {LONGEST_KEY} {PLAIN}.")));
            }
            if value.chars().count() > LONGEST_VALUE || !is_plain(&value) {
                return Err(invalid("The TagValue you have provided is invalid")
                    .with("TagKey", key)
                    .with("TagValue", value)
                    .with("Detail", format!("A value has at most {LONGEST_VALUE} {PLAIN}.")));
            }
            if tags.insert(key, value).is_some() {
                return Err(invalid("Cannot provide multiple Tags with the same key"));
            }
            if tags.len() > MOST_TAGS {
                return Err(invalid("Object tags cannot be greater than 10."));
            }
        }
        Ok(Self(tags))
    }

    /// From `k=v&k2=v2`, escaped as a query.
    pub(crate) fn from_query(text: &str) -> Result<Self, S3Error> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        let keys: BTreeSet<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        if !is_escaped(text) || keys.contains("") || keys.len() < pairs.len() {
            return Err(S3Error::argument(
                TAGGING,
                text,
                "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without \
                 tag name duplicates.",
            ));
        }
        Self::of(pairs.into_iter())
    }

    /// From a `<Tagging>` document.
    pub(crate) fn from_document(document: &[u8]) -> Result<Self, S3Error> {
        let root = Element::parse(document, "Tagging")?;
        let mut pairs = Vec::new();
        for tag in root.required("TagSet")?.all("Tag") {
            let text = |name| Ok::<_, S3Error>(tag.required(name)?.text().to_owned());
            pairs.push((text("Key")?, text("Value")?));
        }
        Self::of(pairs.into_iter())
    }

    /// As the entry keeps them; `None`: there are none.
    pub(crate) fn kept(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        Some(form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(query: &str) -> Result<Option<String>, Code> {
        Tags::from_query(query).map(|tags| tags.kept()).map_err(|error| error.code())
    }

    #[test]
    fn tags_are_kept_sorted_and_escaped() {
        assert_eq!(kept(""), Ok(None));
        assert_eq!(kept("b=2&a=x%20y&c"), Ok(Some("a=x+y&b=2&c=".to_owned())));
        let document =
            b"<Tagging><TagSet><Tag><Key>k &#61;</Key><Value>\xc3\xbc</Value></Tag></TagSet></Tagging>";
        assert_eq!(Tags::from_document(document).unwrap().kept().unwrap(), "k+%3D=%C3%BC");
    }

    #[test]
    fn limits_are_those_of_s3() {
        let numbered = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
        assert!(kept(&numbered(10)).is_ok());
        assert_eq!(kept(&numbered(11)), Err(Code::InvalidTag));
        for bad in ["a=1&a=2", "=1", "=", "a%", "a%2", "a%2x=1"] {
            assert_eq!(kept(bad), Err(Code::InvalidArgument), "{bad}");
        }
        assert_eq!(kept("&a&&"), Ok(Some("a=".to_owned())));
        for bad in ["a%26=1", "a=%3F", "a%00=1"] {
            assert_eq!(kept(bad), Err(Code::InvalidTag), "{bad}");
        }
        let umlauts = "%C3%BC";
        assert!(kept(&format!("{}={}", umlauts.repeat(128), umlauts.repeat(256))).is_ok());
        assert_eq!(kept(&format!("{}=", "x".repeat(129))), Err(Code::InvalidTag));
        assert_eq!(kept(&format!("x={}", "x".repeat(257))), Err(Code::InvalidTag));
        for bad in ["<Tagging/>", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", "<TagSet/>"]
        {
            let code = Tags::from_document(bad.as_bytes()).err().map(|error| error.code());
            assert_eq!(code, Some(Code::MalformedXML), "{bad}");
        }
    }
}
