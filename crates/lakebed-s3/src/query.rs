//! A request's query, decoded once; `+` means a space.

use std::borrow::Cow;

use crate::error::{Code, S3Error};

/// Names and values in the order sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a raw query; refuses bytes that are not UTF-8.
    pub(crate) fn parse(raw: Option<&str>) -> Result<Self, S3Error> {
        let decode = |text: &str| -> Result<String, S3Error> {
            let text: Cow<'_, str> =
                if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
            let decoded = percent_encoding::percent_decode_str(&text).decode_utf8();
            decoded.map(Cow::into_owned).map_err(|_| {
                S3Error::new(Code::InvalidURI, "Couldn't parse the specified URI: the query is not UTF-8.")
            })
        };
        let pairs = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, S3Error>>()?))
    }

    /// The value of the first parameter of this name; `""` if it has none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether there is a parameter of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All pairs.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_once() {
        let query = Query::parse(Some("uploads&prefix=a%2Bb+c%2520&x=&&x=2")).unwrap();
        assert!(query.has("uploads") && !query.has("upload"));
        assert_eq!(query.get("uploads"), Some(""));
        assert_eq!(query.get("prefix"), Some("a+b c%20"));
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.pairs().count(), 4);
        assert!(Query::parse(Some("a=%ff")).is_err());
    }
}
