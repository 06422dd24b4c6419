//! What is said of an operation besides its path, access and body, which the table of operations has.

use http::HeaderMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::parameters::{Parameter, Place};
use crate::error::RestError;

/// Makes the schema of a type, and leaves those it refers to with the generator.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

pub(crate) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A JSON body.
#[derive(Clone, Copy)]
pub(crate) struct JsonBody {
    pub schema: SchemaOf,
    pub required: bool,
}

/// What a body is, where the table does not read it.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// As the table reads it, or none.
    Table,
    /// An object's bytes, as they are or as a form's part.
    Object,
    /// JSON that is not looked at.
    Unread(JsonBody),
}

/// What an answer holds.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Nothing,
    Json(SchemaOf),
    Text,
    Bytes,
    /// JSON, or plain text for those who accept only that.
    JsonOrText(SchemaOf),
}

/// An answer that is no refusal, or a refusal with a body of its own.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub status: u16,
    pub text: &'static str,
    pub content: Content,
    /// Headers that matter, with what they say.
    pub headers: &'static [(&'static str, &'static str)],
}

impl Answer {
    /// Headers that matter, with what they say.
    pub(crate) const fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }
}

const fn answer(status: u16, text: &'static str, content: Content) -> Answer {
    Answer { status, text, content, headers: &[] }
}

/// JSON of a type.
pub(crate) const fn json<T: JsonSchema>(status: u16, text: &'static str) -> Answer {
    answer(status, text, Content::Json(schema_of::<T>))
}

/// JSON of a type, or text.
pub(crate) const fn json_or_text<T: JsonSchema>(status: u16, text: &'static str) -> Answer {
    answer(status, text, Content::JsonOrText(schema_of::<T>))
}

/// No body.
pub(crate) const fn empty(status: u16, text: &'static str) -> Answer {
    answer(status, text, Content::Nothing)
}

/// Plain text.
pub(crate) const fn plain(status: u16, text: &'static str) -> Answer {
    answer(status, text, Content::Text)
}

/// Bytes of any kind.
pub(crate) const fn bytes(status: u16, text: &'static str) -> Answer {
    answer(status, text, Content::Bytes)
}

/// Whether an operation does what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// It does.
    Yes,
    /// Not yet: it answers 501.
    NotYet,
    /// It is described for completeness, and an unknown endpoint here as in the free server clients know.
    No,
}

/// What is said of an operation.
#[derive(Clone, Copy)]
pub(crate) struct Described {
    pub id: &'static str,
    pub tags: &'static [&'static str],
    pub summary: &'static str,
    pub text: &'static str,
    pub parameters: &'static [Parameter],
    pub body: Body,
    pub answers: &'static [Answer],
    /// Refusals besides those that follow from what the operation takes.
    pub refusals: &'static [u16],
    pub deprecated: bool,
    pub served: Served,
    /// Not part of the API that clients of lakeFS know.
    pub ours: bool,
}

/// Begins a description.
pub(crate) const fn op(id: &'static str, tags: &'static [&'static str], summary: &'static str) -> Described {
    Described {
        id,
        tags,
        summary,
        text: "",
        parameters: &[],
        body: Body::Table,
        answers: &[],
        refusals: &[],
        deprecated: false,
        served: Served::Yes,
        ours: false,
    }
}

impl Described {
    /// More than the summary.
    pub(crate) const fn says(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    /// Its parameters.
    pub(crate) const fn takes(self, parameters: &'static [Parameter]) -> Self {
        Self { parameters, ..self }
    }

    /// An object's bytes.
    pub(crate) const fn takes_object(self) -> Self {
        Self { body: Body::Object, ..self }
    }

    /// JSON that is not looked at.
    pub(crate) const fn ignores<T: JsonSchema>(self, required: bool) -> Self {
        Self { body: Body::Unread(JsonBody { schema: schema_of::<T>, required }), ..self }
    }

    /// What it answers when all is well.
    pub(crate) const fn answers(self, answers: &'static [Answer]) -> Self {
        Self { answers, ..self }
    }

    /// Refusals besides those that follow from what it takes.
    pub(crate) const fn refuses(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }

    /// Kept for old clients.
    pub(crate) const fn deprecated(self) -> Self {
        Self { deprecated: true, ..self }
    }

    /// It answers 501.
    pub(crate) const fn not_yet(self) -> Self {
        Self { served: Served::NotYet, ..self }
    }

    /// It is an unknown endpoint here.
    pub(crate) const fn not_served(self) -> Self {
        Self { served: Served::No, ..self }
    }

    /// An addition to the API that clients of lakeFS know.
    pub(crate) const fn ours(self) -> Self {
        Self { ours: true, ..self }
    }

    /// Checks the parameters in the path that are more than texts, and bounded headers.
    pub(crate) fn check(
        &self,
        params: &[(&'static str, String)],
        headers: &HeaderMap,
    ) -> Result<(), RestError> {
        if self.served == Served::No {
            return Ok(());
        }
        for parameter in self.parameters {
            match parameter.place {
                Place::Path => {
                    if let Some((_, value)) = params.iter().find(|(name, _)| *name == parameter.name) {
                        parameter.check_in_path(value)?;
                    }
                }
                Place::Header => {
                    headers
                        .get_all(parameter.name)
                        .iter()
                        .try_for_each(|value| parameter.check_in_header(value))?;
                }
                Place::Query => {}
            }
        }
        Ok(())
    }
}
