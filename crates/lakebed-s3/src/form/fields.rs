//! The fields of a form, by name in lower case: names count in any case (`s3-gateway` §8.11).

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Code, S3Error};
use crate::tags::Tags;

/// Where a key has the file's own name.
const FILENAME: &str = "${filename}";

/// Fields that become headers of the upload they stand for, besides all of `x-amz-`.
const HEADERS: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
];

/// Everything in front of the file.
#[derive(Debug, Default)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Takes a field. Two of one name would leave open which one the policy allowed.
    pub(crate) fn add(&mut self, name: &str, value: Vec<u8>) -> Result<(), S3Error> {
        let name = name.to_ascii_lowercase();
        let value = String::from_utf8(value).map_err(|_| {
            S3Error::new(Code::MalformedPOSTRequest, "A field of the form is not text in UTF-8.")
        })?;
        if self.0.contains_key(&name) {
            return Err(S3Error::argument("Name", &name, "A field of the form is there twice."));
        }
        self.0.insert(name, value);
        Ok(())
    }

    /// The value of a field, named in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All fields.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The field, or the refusal of a form without it.
    pub(crate) fn required(&self, name: &'static str) -> Result<&str, S3Error> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            S3Error::argument(
                name,
                "",
                format!(
                    "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the \
                     fields."
                ),
            )
        })
    }

    /// Puts the file's name into the key.
    pub(crate) fn name_file(&mut self, filename: &str) {
        if let Some(key) = self.0.get_mut("key")
            && key.contains(FILENAME)
        {
            *key = key.replace(FILENAME, filename);
        }
    }

    /// What an upload with these fields as headers would have sent.
    pub(crate) fn headers(&self) -> Result<HeaderMap, S3Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.iter() {
            let name = match name {
                "acl" => "x-amz-acl",
                "tagging" => continue,
                name if HEADERS.contains(&name) || name.starts_with("x-amz-") => name,
                _ => continue,
            };
            let refused =
                || S3Error::argument("Name", name, "A field of the form cannot be a header's value.");
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?,
                HeaderValue::from_bytes(value.as_bytes()).map_err(|_| refused())?,
            );
        }
        if let Some(document) = self.get("tagging")
            && let Some(tags) = Tags::from_document(document.as_bytes())?.kept()
            && let Ok(tags) = HeaderValue::from_str(&tags)
        {
            headers.insert("x-amz-tagging", tags);
        }
        Ok(headers)
    }
}

#[cfg(test)]
pub(super) fn of(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in pairs {
        fields.add(name, value.as_bytes().to_vec()).unwrap();
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_case_and_once() {
        let mut fields = of(&[("KEY", "main/${filename}"), ("x", "")]);
        assert_eq!(fields.get("key"), Some("main/${filename}"));
        fields.name_file("a b.txt");
        assert_eq!(fields.required("key").ok(), Some("main/a b.txt"));
        let code = |result: Result<(), S3Error>| result.err().map(|error| error.code());
        assert_eq!(code(fields.add("Key", b"main/other".to_vec())), Some(Code::InvalidArgument));
        assert_eq!(code(fields.add("y", vec![0xff])), Some(Code::MalformedPOSTRequest));
        assert_eq!(code(fields.required("x").map(|_| ())), Some(Code::InvalidArgument));
        assert_eq!(code(fields.required("z").map(|_| ())), Some(Code::InvalidArgument));
    }

    #[test]
    fn fields_become_the_headers_of_an_upload() {
        let tagging = "<Tagging><TagSet><Tag><Key>a</Key><Value>b c</Value></Tag></TagSet></Tagging>";
        let headers = of(&[
            ("Content-Type", "text/grün"),
            ("acl", "private"),
            ("x-amz-meta-A", "1"),
            ("tagging", tagging),
            ("key", "main/a"),
            ("other", "x"),
        ])
        .headers()
        .unwrap();
        let mut known: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        known.sort_unstable();
        assert_eq!(
            known,
            [
                ("content-type", "text/grün".as_bytes()),
                ("x-amz-acl", b"private"),
                ("x-amz-meta-a", b"1"),
                ("x-amz-tagging", b"a=b+c"),
            ]
        );
        for (name, value) in [("content-type", "a\nb"), ("x-amz-meta-ü", "x"), ("x-amz-meta-a b", "x")] {
            let code = of(&[(name, value)]).headers().err().map(|error| error.code());
            assert_eq!(code, Some(Code::InvalidArgument), "{name}");
        }
        assert!(of(&[("tagging", "<x/>")]).headers().is_err());
    }
}
