//! Parameters: declared once, and so documented and checked by the same words.
//!
//! [`Query`](crate::query::Query) takes limits and choices from the declaration, a path parameter is checked against
//! it before the operation sees the request, and a test runs every operation and compares what it read with what it
//! declares.

use http::HeaderValue;
use serde_json::{Value, json};

use crate::error::RestError;
use crate::idempotency;

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Text,
    /// A text that matches this regular expression.
    Pattern(&'static str),
    /// A text of RFC 3339.
    DateTime,
    /// A text of at most this many bytes.
    AtMost(usize),
    Boolean,
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any number of texts, none of them empty.
    Texts,
}

/// What counts when a parameter is absent, where that is worth saying.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Absent {
    Flag(bool),
    Number(i64),
    Word(&'static str),
}

/// A parameter of an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parameter {
    pub name: &'static str,
    pub place: Place,
    pub kind: Kind,
    pub required: bool,
    /// Given without a value it counts as absent. Where this is false, that is refused.
    pub may_be_empty: bool,
    pub absent: Option<Absent>,
    pub deprecated: bool,
    /// Not part of the API that clients of lakeFS know.
    pub ours: bool,
    pub text: &'static str,
}

impl Parameter {
    const fn new(place: Place, name: &'static str, kind: Kind, text: &'static str) -> Self {
        Self {
            name,
            place,
            kind,
            required: false,
            may_be_empty: false,
            absent: None,
            deprecated: false,
            ours: false,
            text,
        }
    }

    /// In the query.
    pub(crate) const fn query(name: &'static str, kind: Kind, text: &'static str) -> Self {
        Self::new(Place::Query, name, kind, text)
    }

    /// A boolean in the query, false when absent.
    pub(crate) const fn flag(name: &'static str, text: &'static str) -> Self {
        Self { absent: Some(Absent::Flag(false)), ..Self::query(name, Kind::Boolean, text) }
    }

    /// In a header.
    pub(crate) const fn header(name: &'static str, kind: Kind, text: &'static str) -> Self {
        Self::new(Place::Header, name, kind, text)
    }

    /// In the path. Those that are plain texts need no declaration of their own.
    pub(crate) const fn path(name: &'static str, kind: Kind, text: &'static str) -> Self {
        Self { required: true, ..Self::new(Place::Path, name, kind, text) }
    }

    /// It must be given.
    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// Given without a value it counts as absent.
    pub(crate) const fn may_be_empty(self) -> Self {
        Self { may_be_empty: true, ..self }
    }

    /// What counts when it is absent.
    pub(crate) const fn absent(self, absent: Absent) -> Self {
        Self { absent: Some(absent), ..self }
    }

    /// Still taken, no longer of use.
    pub(crate) const fn deprecated(self) -> Self {
        Self { deprecated: true, ..self }
    }

    /// An addition to the API that clients of lakeFS know.
    pub(crate) const fn ours(self) -> Self {
        Self { ours: true, ..self }
    }

    /// Another text, for an operation where it means something else.
    pub(crate) const fn says(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    /// True for a part of the path.
    pub(crate) const fn is_in_path(&self) -> bool {
        matches!(self.place, Place::Path)
    }

    /// Checks the value of a path parameter.
    pub(crate) fn check_in_path(&self, value: &str) -> Result<(), RestError> {
        let wrong = |why: String| {
            RestError::bad_request(format!("parameter \"{}\" in path has an error: {why}", self.name))
        };
        match self.kind {
            Kind::Integer(least, most) => match value.parse::<i64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ => Err(wrong(format!("it must be a number from {least} to {most}"))),
            },
            Kind::Word(words) if !words.contains(&value) => {
                Err(wrong(format!("it must be {}", words.join(" or "))))
            }
            Kind::AtMost(bytes) if value.len() > bytes => {
                Err(wrong(format!("it must have at most {bytes} bytes")))
            }
            _ => Ok(()),
        }
    }

    /// Checks the value of a header that is bounded.
    pub(crate) fn check_in_header(&self, value: &HeaderValue) -> Result<(), RestError> {
        match self.kind {
            Kind::AtMost(bytes) if value.is_empty() || value.len() > bytes => {
                Err(RestError::bad_request(format!(
                    "parameter \"{}\" in header has an error: it must have 1 to {bytes} bytes",
                    self.name
                )))
            }
            _ => Ok(()),
        }
    }

    /// As the document says it.
    pub(crate) fn to_json(self) -> Value {
        let mut schema = match self.kind {
            Kind::Text => json!({"type": "string"}),
            Kind::Pattern(pattern) => json!({"type": "string", "pattern": pattern}),
            Kind::DateTime => json!({"type": "string", "format": "date-time"}),
            Kind::AtMost(bytes) => json!({"type": "string", "minLength": 1, "maxLength": bytes}),
            Kind::Boolean => json!({"type": "boolean"}),
            Kind::Integer(i64::MIN, i64::MAX) => json!({"type": "integer"}),
            Kind::Integer(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Kind::Word(words) => json!({"type": "string", "enum": words}),
            Kind::Texts => json!({"type": "array", "items": {"type": "string", "minLength": 1}}),
        };
        if self.kind == Kind::Text && !self.may_be_empty {
            schema["minLength"] = json!(1);
        }
        match self.absent {
            Some(Absent::Flag(flag)) => schema["default"] = json!(flag),
            Some(Absent::Number(number)) => schema["default"] = json!(number),
            Some(Absent::Word(word)) => schema["default"] = json!(word),
            None => {}
        }
        let place = match self.place {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        };
        let mut shown = json!({"name": self.name, "in": place, "description": self.text, "schema": schema});
        for (key, set) in [
            ("required", self.required),
            ("deprecated", self.deprecated),
            ("allowEmptyValue", self.may_be_empty && self.place == Place::Query),
            ("x-lakebed", self.ours),
        ] {
            if set {
                shown[key] = json!(true);
            }
        }
        shown
    }
}

// Pages

/// The most a page may hold, and the page size when none is asked for: `versioning-api` §1.1.
pub(crate) const AMOUNT: Parameter = Parameter::query(
    "amount",
    Kind::Integer(-1, lakebed_api::MAX_PER_PAGE as i64),
    "At most this many items; -1 and 0 mean the default.",
)
.absent(Absent::Number(100));
pub(crate) const PREFIX: Parameter =
    Parameter::query("prefix", Kind::Text, "Only what begins with this.").may_be_empty();
pub(crate) const AFTER: Parameter = Parameter::query(
    "after",
    Kind::Text,
    "Only what comes behind this: the `next_offset` of the page before. It need not exist.",
)
.may_be_empty();
pub(crate) const DELIMITER: Parameter = Parameter::query(
    "delimiter",
    Kind::Text,
    "Fold everything behind the next occurrence of this into one prefix: `/` lists as a directory does.",
)
.may_be_empty();

// Objects

pub(crate) const OBJECT_PATH: Parameter = Parameter::query(
    "path",
    Kind::Text,
    "The object's path, relative to the ref: at most 1024 bytes of UTF-8.",
)
.required();
pub(crate) const PRESIGN: Parameter = Parameter::query(
    "presign",
    Kind::Boolean,
    "Answer with URLs that are good without credentials for a while, where the block store can do that.",
);
pub(crate) const USER_METADATA: Parameter =
    Parameter::query("user_metadata", Kind::Boolean, "Show the objects' user metadata.")
        .absent(Absent::Flag(true));
pub(crate) const FORCE: Parameter = Parameter::flag("force", "Write although the repository is read-only.");
pub(crate) const NO_TOMBSTONE: Parameter =
    Parameter::flag("no_tombstone", "Only a hint for how the deletion is stored: what results is the same.");
pub(crate) const RANGE: Parameter = Parameter::header(
    "Range",
    Kind::Pattern("^bytes=((\\d*-\\d*,? ?)+)$"),
    "Which bytes: one range, such as `bytes=0-99`, `bytes=100-` or `bytes=-10`.",
);
pub(crate) const IF_MATCH: Parameter =
    Parameter::header("If-Match", Kind::Text, "Only if the present ETag is this one.");
pub(crate) const IF_NONE_MATCH: Parameter = Parameter::header(
    "If-None-Match",
    Kind::Text,
    "`*`: only if nothing is there yet. Other values are not supported.",
);

/// For operations that move a head: see `idempotency`.
pub(crate) const IDEMPOTENCY_KEY: Parameter = Parameter::header(
    idempotency::HEADER,
    Kind::AtMost(idempotency::LONGEST),
    "Makes it safe to send the request again when its answer was lost: with the same key it happens once, and a \
     repetition within a day is answered with what the first one made. A key belongs to its caller, the repository and \
     the operation. With another request it is refused (422).",
)
.ours();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_parameters_are_checked_by_their_declaration() {
        let number = Parameter::path("partNumber", Kind::Integer(1, 10_000), "");
        for good in ["1", "10000"] {
            assert!(number.check_in_path(good).is_ok(), "{good}");
        }
        for bad in ["0", "10001", "x", "1.5", "-1", "", "99999999999999999999"] {
            let error = number.check_in_path(bad).unwrap_err();
            assert!(error.message.contains("\"partNumber\" in path"), "{bad}: {error}");
        }
        let word = Parameter::path("type", Kind::Word(&["range", "meta_range"]), "");
        assert!(word.check_in_path("range").is_ok());
        assert!(word.check_in_path("Range").is_err());
        assert!(Parameter::path("token", Kind::AtMost(2), "").check_in_path("abc").is_err());
        let header = |value: &str| {
            Parameter::header("key", Kind::AtMost(2), "").check_in_header(&value.parse().unwrap())
        };
        assert!(header("ab").is_ok());
        for bad in ["", "abc"] {
            assert!(header(bad).unwrap_err().message.contains("\"key\" in header"), "{bad}");
        }
    }

    #[test]
    fn a_parameter_says_what_it_takes() {
        assert_eq!(
            AMOUNT.to_json()["schema"],
            json!({"type": "integer", "minimum": -1, "maximum": 1000, "default": 100})
        );
        assert_eq!(OBJECT_PATH.to_json()["schema"], json!({"type": "string", "minLength": 1}));
        assert_eq!(OBJECT_PATH.to_json()["required"], json!(true));
        assert_eq!(PREFIX.to_json()["allowEmptyValue"], json!(true));
    }
}
