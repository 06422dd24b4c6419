//! Query parameters (`versioning-api` §1): strict where clients rely on a refusal, deaf to what is unknown. Limits and
//! choices are those of the operation's description.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::description::parameters::{Absent, Kind, Parameter, Place};
use crate::error::RestError;

/// The page size when none, 0 or -1 is asked for, where the description says nothing else.
const DEFAULT_AMOUNT: usize = 100;

/// Tells the test that compares what operations read with what they declare.
#[cfg(not(test))]
pub(crate) fn note_read(_: &str) {}

#[cfg(test)]
pub(crate) use reads::note as note_read;

#[cfg(test)]
pub(crate) mod reads {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static READ: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(crate) fn note(name: &str) {
        READ.with_borrow_mut(|read| read.insert(name.to_owned()));
    }

    /// The parameters read on this thread since the last call.
    pub(crate) fn take() -> BTreeSet<String> {
        READ.take()
    }
}

/// A query string, read on demand.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a> {
    raw: &'a str,
    declared: &'static [Parameter],
}

impl<'a> Query<'a> {
    pub(crate) fn new(raw: Option<&'a str>, declared: &'static [Parameter]) -> Self {
        Self { raw: raw.unwrap_or_default(), declared }
    }

    /// What is declared of a parameter; nothing of one that a test will find undeclared.
    fn declared(self, name: &str) -> Option<&'static Parameter> {
        self.declared.iter().find(|parameter| parameter.name == name && parameter.place == Place::Query)
    }

    fn values(self, name: &str) -> impl Iterator<Item = Result<Cow<'a, str>, RestError>> {
        note_read(name);
        self.raw.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let same = key == name
                || (key.contains(['%', '+']) && decode(key).is_some_and(|decoded| decoded == name));
            (same && !pair.is_empty()).then(|| {
                decode(value).ok_or_else(|| {
                    RestError::bad_request(format!(
                        "parameter \"{name}\" in query has an error: not valid UTF-8"
                    ))
                })
            })
        })
    }

    fn single(self, name: &str) -> Result<Option<Cow<'a, str>>, RestError> {
        let mut values = self.values(name);
        let first = values.next().transpose()?;
        match values.next() {
            None => Ok(first),
            Some(_) => Err(multiple(name)),
        }
    }

    /// A text; empty counts as absent.
    pub(crate) fn text(self, name: &str) -> Result<String, RestError> {
        Ok(self.single(name)?.map(Cow::into_owned).unwrap_or_default())
    }

    /// A text that must be given and not empty.
    pub(crate) fn required(self, name: &str) -> Result<String, RestError> {
        match self.single(name)? {
            None => Err(wrong(name, "value is required but missing")),
            Some(value) if value.is_empty() => Err(wrong(name, "empty value is not allowed")),
            Some(value) => Ok(value.into_owned()),
        }
    }

    /// A text that may be absent but not empty.
    pub(crate) fn not_empty(self, name: &str) -> Result<Option<String>, RestError> {
        match self.single(name)? {
            Some(value) if value.is_empty() => Err(wrong(name, "empty value is not allowed")),
            value => Ok(value.map(Cow::into_owned)),
        }
    }

    /// A repeatable text; no item may be empty.
    pub(crate) fn list(self, name: &str) -> Result<Vec<String>, RestError> {
        let values: Vec<String> =
            self.values(name).map(|value| value.map(Cow::into_owned)).collect::<Result<_, _>>()?;
        if values.iter().any(String::is_empty) {
            return Err(wrong(name, "empty value is not allowed"));
        }
        Ok(values)
    }

    /// A boolean in any of the forms clients write.
    pub(crate) fn boolean(self, name: &str) -> Result<Option<bool>, RestError> {
        match self.single(name)?.as_deref() {
            None => Ok(None),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some("") => Err(multiple(name)),
            Some(other) => Err(wrong(name, &format!("value {}: an invalid boolean", short(other)))),
        }
    }

    /// A boolean that is false when absent.
    pub(crate) fn flag(self, name: &str) -> Result<bool, RestError> {
        Ok(self.boolean(name)?.unwrap_or(false))
    }

    /// A whole number.
    pub(crate) fn integer(self, name: &str) -> Result<Option<i64>, RestError> {
        match self.single(name)?.as_deref() {
            None => Ok(None),
            Some("") => Err(multiple(name)),
            Some(text) => {
                let number = text
                    .parse()
                    .map_err(|_| wrong(name, &format!("value {}: an invalid integer", short(text))))?;
                match self.declared(name).map(|declared| declared.kind) {
                    Some(Kind::Integer(least, _)) if number < least => {
                        Err(wrong(name, &format!("number must be at least {least}")))
                    }
                    Some(Kind::Integer(_, most)) if number > most => {
                        Err(wrong(name, &format!("number must be at most {most}")))
                    }
                    _ => Ok(Some(number)),
                }
            }
        }
    }

    /// The page size: -1, 0 and nothing mean the declared default.
    pub(crate) fn amount(self) -> Result<usize, RestError> {
        match self.integer("amount")? {
            None | Some(..=0) => Ok(match self.declared("amount").and_then(|declared| declared.absent) {
                Some(Absent::Number(amount)) => amount as usize,
                _ => DEFAULT_AMOUNT,
            }),
            Some(amount) => Ok(amount as usize),
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, RestError> {
        let Some(value) = self.single(name)? else { return Ok(None) };
        if value.is_empty() {
            return Err(multiple(name));
        }
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == value) {
            return Ok(Some(*choice));
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        Err(wrong(name, &format!("value is not one of {}", words.join(", "))))
    }
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|decoded| Cow::Owned(decoded.into_owned()))
}

fn wrong(name: &str, why: &str) -> RestError {
    RestError::bad_request(format!("parameter \"{name}\" in query has an error: {why}"))
}

/// The recorded server says this of a repeated value and of an empty number, boolean or word alike.
fn multiple(name: &str) -> RestError {
    RestError::bad_parameter(name, &format!("multiple values for single value parameter '{name}'"))
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::parameters::AMOUNT;

    fn of(raw: Option<&str>) -> Query<'_> {
        Query::new(raw, const { &[AMOUNT] })
    }

    #[test]
    fn texts_are_decoded_once_and_empty_ones_count_as_absent() {
        let query = of(Some("path=a%2Fb+c%25&prefix=&x"));
        assert_eq!(query.required("path").unwrap(), "a/b c%");
        assert_eq!(query.text("prefix").unwrap(), "");
        assert_eq!(query.text("after").unwrap(), "");
        assert_eq!(query.text("x").unwrap(), "");
        assert!(query.required("prefix").is_err());
        assert!(query.required("absent").is_err());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert!(of(Some("path=%ff")).required("path").is_err());
    }

    #[test]
    fn a_single_value_given_twice_is_refused_as_plain_text() {
        let error = of(Some("amount=1&amount=2")).amount().unwrap_err();
        assert_eq!(
            error.message,
            "Invalid format for parameter amount: multiple values for single value parameter 'amount'"
        );
    }

    #[test]
    fn amounts_below_one_mean_the_default_and_out_of_range_is_refused() {
        let amount = |text: &str| of(Some(text)).amount();
        for (text, expected) in [("", 100), ("amount=0", 100), ("amount=-1", 100), ("amount=1000", 1000)] {
            assert_eq!(amount(text).unwrap(), expected, "{text}");
        }
        for text in
            ["amount=-2", "amount=1001", "amount=x", "amount=", "amount=1.5", "amount=99999999999999999999"]
        {
            assert!(amount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn booleans_in_every_form_clients_write() {
        for (text, expected) in
            [("b=True", true), ("b=t", true), ("b=1", true), ("b=FALSE", false), ("b=f", false)]
        {
            assert_eq!(of(Some(text)).boolean("b").unwrap(), Some(expected), "{text}");
        }
        assert!(of(Some("b=yes")).boolean("b").is_err());
        assert!(of(Some("b=")).boolean("b").is_err());
    }
}
