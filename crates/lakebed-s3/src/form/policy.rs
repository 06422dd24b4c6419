//! What the signer of a form allowed (`s3-gateway` §8.11): until when, which fields with which values, and how many
//! bytes. A form may say nothing that its policy does not speak of.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lakebed_core::Timestamp;
use serde_json::{Map, Value};

use super::fields::Fields;
use crate::error::{Code, S3Error};

/// A policy.
#[derive(Debug)]
pub(crate) struct Policy {
    /// The last second in which it holds.
    expires: Timestamp,
    conditions: Vec<Condition>,
}

#[derive(Debug, PartialEq)]
enum Condition {
    /// The field, named in lower case, has this value.
    Is(String, String),
    /// The field begins so.
    StartsWith(String, String),
    /// The file has so many bytes.
    Length(RangeInclusive<u64>),
}

fn invalid(why: &'static str) -> S3Error {
    S3Error::new(Code::InvalidPolicyDocument, format!("Invalid Policy: {why}"))
}

fn refused(why: impl std::fmt::Display) -> S3Error {
    S3Error::new(Code::AccessDenied, format!("Invalid according to Policy: {why}"))
}

impl Policy {
    /// Reads the field `policy`: base64 of a JSON document.
    pub(crate) fn parse(encoded: &str) -> Result<Self, S3Error> {
        let compact: String = encoded.split_ascii_whitespace().collect();
        let document = STANDARD.decode(compact).map_err(|_| invalid("invalid Base64 encoding."))?;
        let document: Map<String, Value> =
            serde_json::from_slice(&document).map_err(|_| invalid("Invalid JSON."))?;
        let expires = document
            .get("expiration")
            .and_then(Value::as_str)
            .ok_or_else(|| invalid("Policy missing expiration."))?;
        let expires = time(expires)
            .ok_or_else(|| invalid("its 'expiration' does not look like 2030-01-31T12:00:00.000Z."))?;
        let conditions = document
            .get("conditions")
            .and_then(Value::as_array)
            .filter(|conditions| !conditions.is_empty())
            .ok_or_else(|| invalid("Policy missing conditions."))?;
        let mut parsed = Vec::with_capacity(conditions.len());
        for condition in conditions {
            match condition {
                Value::Object(pairs) if !pairs.is_empty() => {
                    for (name, value) in pairs {
                        let value = value
                            .as_str()
                            .ok_or_else(|| invalid("Invalid Simple-Condition: value must be a string."))?;
                        parsed.push(Condition::Is(name.to_ascii_lowercase(), value.to_owned()));
                    }
                }
                Value::Array(words) => parsed.push(Condition::of_words(words)?),
                _ => return Err(invalid("Invalid condition test: must be a List or Object.")),
            }
        }
        Ok(Self { expires, conditions: parsed })
    }

    /// Whether it allows this form to this bucket now; answers how long the file may be.
    pub(crate) fn check(
        &self,
        fields: &Fields,
        bucket: &str,
        now: Timestamp,
    ) -> Result<RangeInclusive<u64>, S3Error> {
        if now.secs() > self.expires.secs() {
            return Err(refused("Policy expired."));
        }
        // A policy speaks of the bucket whether the form does or not: the address names it.
        let value = |name: &str| if name == "bucket" { Some(bucket) } else { fields.get(name) };
        let (mut least, mut most) = (0, u64::MAX);
        let mut spoken_of = BTreeSet::new();
        for condition in &self.conditions {
            let (name, holds) = match condition {
                Condition::Is(name, wanted) => (name, value(name).unwrap_or_default() == wanted),
                Condition::StartsWith(name, start) => {
                    (name, value(name).unwrap_or_default().starts_with(start.as_str()))
                }
                Condition::Length(range) => {
                    (least, most) = (least.max(*range.start()), most.min(*range.end()));
                    continue;
                }
            };
            if !holds {
                return Err(refused(format_args!("Policy Condition failed: {condition}")));
            }
            spoken_of.insert(name.as_str());
        }
        let extra: Vec<&str> = std::iter::once("bucket")
            .chain(fields.iter().map(|(name, _)| name).filter(|name| *name != "bucket"))
            .filter(|name| !spoken_of.contains(name) && !is_free(name))
            .collect();
        if extra.is_empty() {
            return Ok(least..=most);
        }
        Err(refused(format_args!("Extra input fields: {}", extra.join(", "))))
    }
}

/// Fields a policy need not speak of.
fn is_free(name: &str) -> bool {
    matches!(name, "x-amz-signature" | "signature" | "file" | "policy" | "awsaccesskeyid")
        || name.starts_with("x-ignore-")
}

impl Condition {
    fn of_words(words: &[Value]) -> Result<Self, S3Error> {
        let [operator, first, second] = words else {
            return Err(invalid("a condition that is a list has three entries."));
        };
        let operator = operator.as_str().unwrap_or_default();
        if operator.eq_ignore_ascii_case("content-length-range") {
            let (Some(least), Some(most)) = (number(first), number(second)) else {
                return Err(invalid("'content-length-range' has two numbers of bytes."));
            };
            return Ok(Self::Length(least..=most));
        }
        let (Some(field), Some(value)) = (first.as_str(), second.as_str()) else {
            return Err(invalid("a condition has the name of a field and a text."));
        };
        let name = field
            .strip_prefix('$')
            .ok_or_else(|| invalid("the field of a condition is named as '$name'."))?
            .to_ascii_lowercase();
        if operator.eq_ignore_ascii_case("eq") {
            Ok(Self::Is(name, value.to_owned()))
        } else if operator.eq_ignore_ascii_case("starts-with") {
            Ok(Self::StartsWith(name, value.to_owned()))
        } else {
            Err(invalid("a condition is 'eq', 'starts-with' or 'content-length-range'."))
        }
    }
}

impl std::fmt::Display for Condition {
    /// As a policy has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Is(name, value) => write!(f, "[\"eq\", \"${name}\", \"{value}\"]"),
            Self::StartsWith(name, start) => write!(f, "[\"starts-with\", \"${name}\", \"{start}\"]"),
            Self::Length(range) => {
                write!(f, "[\"content-length-range\", {}, {}]", range.start(), range.end())
            }
        }
    }
}

/// A number, or a text of one: some clients write it so.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// `yyyy-mm-ddThh:mm:ss`, fractions allowed, with a zone.
fn time(text: &str) -> Option<Timestamp> {
    if text.as_bytes().get(10) != Some(&b'T') {
        return None;
    }
    Some(Timestamp::from_secs(text.parse::<jiff::Timestamp>().ok()?.as_second()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fields::of;
    use super::*;

    fn parse(document: &str) -> Result<Policy, Code> {
        Policy::parse(&STANDARD.encode(document)).map_err(|error| error.code())
    }

    /// Checks a form to the bucket `repo` at second 1000 against these conditions.
    fn check(conditions: &str, fields: &[(&str, &str)]) -> Result<RangeInclusive<u64>, Code> {
        let policy =
            parse(&format!(r#"{{"expiration": "1970-01-01T00:16:40.000Z", "conditions": {conditions}}}"#))?;
        policy.check(&of(fields), "repo", Timestamp::from_secs(1000)).map_err(|error| error.code())
    }

    const FIELDS: &[(&str, &str)] = &[
        ("key", "main/a"),
        ("policy", "p"),
        ("Signature", "s"),
        ("AWSAccessKeyId", "k"),
        ("x-ignore-x", ""),
    ];

    #[test]
    fn conditions_are_compared_with_fields() {
        let denied = Err(Code::AccessDenied);
        for (conditions, expected) in [
            (r#"[{"bucket": "repo"}, {"key": "main/a"}]"#, Ok(0..=u64::MAX)),
            (r#"[{"bUcKeT": "repo", "KEY": "main/a"}]"#, Ok(0..=u64::MAX)),
            (r#"[{"bucket": "repo"}, ["eq", "$key", "main/a"]]"#, Ok(0..=u64::MAX)),
            (r#"[{"bucket": "repo"}, ["StArTs-WiTh", "$KeY", "main/"]]"#, Ok(0..=u64::MAX)),
            (r#"[{"bucket": "repo"}, ["starts-with", "$key", ""]]"#, Ok(0..=u64::MAX)),
            (r#"[["starts-with", "$bucket", "re"], ["starts-with", "$key", ""]]"#, Ok(0..=u64::MAX)),
            (r#"[{"bucket": "other"}, ["starts-with", "$key", ""]]"#, denied.clone()),
            (r#"[{"bucket": "repo"}, ["starts-with", "$key", "test/"]]"#, denied.clone()),
            (r#"[{"bucket": "repo"}, {"key": "main/a/"}]"#, denied.clone()),
            (r#"[{"bucket": "repo"}, {"key": "main/a"}, {"acl": "private"}]"#, denied.clone()),
            (r#"[{"bucket": "repo"}, {"key": "main/a"}, {"acl": ""}]"#, Ok(0..=u64::MAX)),
        ] {
            assert_eq!(check(conditions, FIELDS), expected, "{conditions}");
        }
    }

    #[test]
    fn what_the_policy_does_not_speak_of_is_refused() {
        let key = r#"[{"bucket": "repo"}, {"key": "main/a"}]"#;
        let with = |name: &'static str| [FIELDS, &[(name, "x")]].concat();
        assert_eq!(check(key, &with("x-amz-meta-a")), Err(Code::AccessDenied));
        assert_eq!(check(key, &with("Content-Type")), Err(Code::AccessDenied));
        assert_eq!(check(key, &with("x-amz-credential")), Err(Code::AccessDenied));
        assert_eq!(check(key, &with("X-Ignore-This")), Ok(0..=u64::MAX));
        assert_eq!(check(key, &with("bucket")), Ok(0..=u64::MAX));
        // The bucket is in the address of every form.
        assert_eq!(check(r#"[{"key": "main/a"}]"#, FIELDS), Err(Code::AccessDenied));
    }

    #[test]
    fn lengths_are_the_narrowest_given() {
        let ranges = r#"[{"bucket": "repo"}, {"key": "main/a"}, ["content-length-range", 1, "10"],
                        ["content-length-range", 0, 7]]"#;
        assert_eq!(check(ranges, FIELDS), Ok(1..=7));
    }

    #[test]
    fn a_policy_ends_with_its_last_second() {
        let policy =
            parse(r#"{"expiration": "1970-01-01T00:16:40Z", "conditions": [{"bucket": "b"}, {"key": "k"}]}"#)
                .unwrap();
        let at = |secs| policy.check(&of(&[("key", "k")]), "b", Timestamp::from_secs(secs)).is_ok();
        assert!(at(1000) && !at(1001));
    }

    #[test]
    fn malformed_policies_are_refused() {
        let good = r#"{"expiration": "2030-01-01T00:00:00+01:00", "conditions": [{"key": "a"}], "x": 1}"#;
        assert!(parse(good).is_ok());
        assert!(Policy::parse(&format!("{}\n", STANDARD.encode(good))).is_ok());
        assert!(Policy::parse("%").is_err());
        let conditions = |text: &str| good.replace(r#"[{"key": "a"}]"#, text);
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"conditions": [{"key": "a"}]}"#,
            &good.replace("conditions", "CONDITIONS"),
            &good.replace("expiration", "EXPIRATION"),
            &good.replace("T00:00", " 00:00"),
            &good.replace("+01:00", ""),
            &good.replace("2030", "soon"),
            &conditions("[]"),
            &conditions("{}"),
            &conditions("[{}]"),
            &conditions("[1]"),
            &conditions("[[]]"),
            &conditions(r#"[{"key": 1}]"#),
            &conditions(r#"[["eq", "key", "a"]]"#),
            &conditions(r#"[["like", "$key", "a"]]"#),
            &conditions(r#"[["content-length-range", 0]]"#),
            &conditions(r#"[["content-length-range", -1, 0]]"#),
            &conditions(r#"[["content-length-range", 0, "x"]]"#),
        ] {
            assert_eq!(parse(bad).err(), Some(Code::InvalidPolicyDocument), "{bad}");
        }
        let deep = conditions(&"[".repeat(100_000));
        assert_eq!(parse(&deep).err(), Some(Code::InvalidPolicyDocument));
    }

    proptest! {
        #[test]
        fn hostile_policies_never_panic(text in "([\\[\\]{}\",:$ ]|eq|starts-with|conditions|expiration|[0-9]){0,40}") {
            let _ = parse(&text);
            let _ = Policy::parse(&text);
        }
    }
}
