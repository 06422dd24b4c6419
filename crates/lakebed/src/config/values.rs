//! Raw values by key: from the file, then from the environment.

use std::collections::BTreeMap;

use serde_yaml_ng::Value;

use super::ConfigError;
use super::keys::{self, ACCEPTED_SECTIONS, KEYS, Kind};
use super::stores::StoreValues;
use super::traces::STANDARD;

/// What was configured, by key name. Values are kept as text until read; a list has one text per item.
#[derive(Debug, Default)]
pub(crate) struct Values {
    by_key: BTreeMap<&'static str, Vec<String>>,
    /// `blockstores.stores`, in order.
    pub(super) stores: Vec<StoreValues>,
    /// Whether there is a section `blockstores` at all.
    several_stores: bool,
    /// Standard variables of other programs that are set, by name.
    standard: BTreeMap<&'static str, String>,
    /// What was found and will have no effect.
    pub(crate) ignored: Vec<String>,
    /// Keys nobody knows, with the nearest known one.
    pub(crate) unknown: Vec<(String, Option<&'static str>)>,
}

impl Values {
    /// Reads a file's content.
    pub(crate) fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        let mut values = Self::default();
        let root: Value =
            serde_yaml_ng::from_str(text).map_err(|error| ConfigError::Malformed(error.to_string()))?;
        match root {
            Value::Null => Ok(values),
            Value::Mapping(_) => {
                values.flatten(String::new(), &root)?;
                Ok(values)
            }
            _ => Err(ConfigError::Malformed("the file must be a map of sections".to_owned())),
        }
    }

    fn flatten(&mut self, path: String, value: &Value) -> Result<(), ConfigError> {
        if let Some(key) = keys::find(&path) {
            if *value != Value::Null {
                self.by_key.insert(key.name, texts(key.name, key.kind, value)?);
            }
            return Ok(());
        }
        if path == "blockstores" {
            self.several_stores = true;
        } else if path == "blockstores.stores" {
            return self.read_stores(value);
        }
        let accepted = |section: &&str| path == **section || path.starts_with(&format!("{section}."));
        if ACCEPTED_SECTIONS.iter().any(accepted) {
            self.ignored.push(path);
            return Ok(());
        }
        match value {
            Value::Mapping(map) => {
                for (name, value) in map {
                    let name = name.as_str().ok_or_else(|| {
                        ConfigError::Malformed(format!("below '{path}': keys must be text"))
                    })?;
                    let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                    self.flatten(below.to_lowercase(), value)?;
                }
            }
            Value::Null => {}
            _ => {
                let nearest = keys::nearest(&path);
                self.unknown.push((path, nearest));
            }
        }
        Ok(())
    }

    /// Each store is read as a single one would be.
    fn read_stores(&mut self, value: &Value) -> Result<(), ConfigError> {
        const EXPECTED: &str = "a list of stores, each a map with at least id and type";
        let wrong_item = || wrong("blockstores.stores", "what is there", EXPECTED);
        let items = match value {
            Value::Null => return Ok(()),
            value => value.as_sequence().ok_or_else(wrong_item)?,
        };
        for (at, item) in items.iter().enumerate() {
            let mut rest = item.as_mapping().ok_or_else(wrong_item)?.clone();
            let mut own = |name: &str| match rest.remove(name) {
                Some(value) => scalar(&format!("blockstores.stores[{at}].{name}"), &value),
                None => Ok(String::new()),
            };
            let (id, description, compatible) =
                (own("id")?, own("description")?, own("backward_compatible")?);
            let mut values = Self::default();
            values.flatten("blockstore".to_owned(), &Value::Mapping(rest))?;
            let here = |key: &str| key.replacen("blockstore.", &format!("blockstores.stores[{at}]."), 1);
            self.unknown.extend(values.unknown.drain(..).map(|(key, nearest)| (here(&key), nearest)));
            self.ignored.extend(values.unused().map(here));
            self.stores.push(StoreValues {
                id,
                description,
                backward_compatible: match compatible.as_str() {
                    "" => false,
                    text => truth(text).ok_or_else(|| {
                        wrong(&here("blockstore.backward_compatible"), text, "true or false")
                    })?,
                },
                values,
            });
        }
        Ok(())
    }

    /// Whether several stores are configured, or begun to be.
    pub(super) fn has_several_stores(&self) -> bool {
        self.several_stores
    }

    /// A key that was given whose name begins like this.
    pub(super) fn first_below(&self, section: &str) -> Option<&'static str> {
        self.by_key.keys().find(|name| name.starts_with(section)).copied()
    }

    /// The keys that were given and have no effect.
    fn unused(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        self.by_key.keys().copied().filter(|name| keys::find(name).is_some_and(|key| !key.used))
    }

    /// Lays the environment over what is there: `LAKEFS_*` first, `LAKEBED_*` over it. Names are looked up in the table
    /// of known keys, for keys contain `_` themselves.
    pub(crate) fn overlay(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for key in KEYS {
            let name = key.name.to_uppercase().replace('.', "_");
            for prefix in ["LAKEFS_", "LAKEBED_"] {
                if let Some(value) = variable(&format!("{prefix}{name}")) {
                    self.by_key.insert(key.name, split(key.name, key.kind, &value));
                }
            }
        }
        let unused: Vec<String> = self.unused().map(str::to_owned).collect();
        self.ignored.extend(unused);
    }

    /// Reads the variables that every OpenTelemetry program knows. An empty one counts as absent.
    pub(crate) fn read_standard(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for name in STANDARD {
            if let Some(value) = variable(name).filter(|value| !value.trim().is_empty()) {
                self.standard.insert(name, value);
            }
        }
    }

    /// One of these.
    pub(super) fn standard(&self, name: &str) -> Option<&str> {
        self.standard.get(name).map(|value| value.trim())
    }

    /// A default below everything else.
    pub(crate) fn default_to(&mut self, name: &'static str, value: &str) {
        self.by_key.entry(name).or_insert_with(|| vec![value.to_owned()]);
    }

    /// A text; an empty one counts as absent.
    pub(crate) fn text(&self, name: &'static str) -> Option<&str> {
        self.by_key
            .get(name)
            .and_then(|values| values.first())
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// A text as given, even if empty.
    pub(crate) fn given(&self, name: &'static str) -> Option<&str> {
        self.by_key.get(name).and_then(|values| values.first()).map(String::as_str)
    }

    pub(crate) fn list(&self, name: &'static str) -> Vec<String> {
        self.by_key
            .get(name)
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .filter(|item| !item.is_empty())
            .collect()
    }

    pub(crate) fn bool(&self, name: &'static str) -> Result<Option<bool>, ConfigError> {
        self.text(name).map(|text| truth(text).ok_or_else(|| wrong(name, text, "true or false"))).transpose()
    }

    pub(crate) fn int(&self, name: &'static str) -> Result<Option<u64>, ConfigError> {
        self.text(name)
            .map(|text| text.replace('_', "").parse().map_err(|_| wrong(name, text, "a whole number")))
            .transpose()
    }

    /// In seconds.
    pub(crate) fn duration(&self, name: &'static str) -> Result<Option<f64>, ConfigError> {
        self.text(name)
            .map(|text| seconds(text).ok_or_else(|| wrong(name, text, "a duration like 1h30m, 45s or 500ms")))
            .transpose()
    }

    /// Checks the type of every value, used or not: a wrong one is a mistake in any case.
    pub(crate) fn check_types(&self) -> Result<(), ConfigError> {
        for name in self.by_key.keys() {
            match keys::find(name).map(|key| key.kind) {
                Some(Kind::Bool) => drop(self.bool(name)?),
                Some(Kind::Int) => drop(self.int(name)?),
                Some(Kind::Duration) => drop(self.duration(name)?),
                _ => {}
            }
        }
        Ok(())
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "on" => Some(true),
        "false" | "f" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn wrong(name: &str, text: &str, expected: &str) -> ConfigError {
    ConfigError::WrongType { key: name.to_owned(), value: text.to_owned(), expected: expected.to_owned() }
}

fn scalar(name: &str, value: &Value) -> Result<String, ConfigError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null => Ok(String::new()),
        _ => Err(wrong(name, "a section or list", "a single value")),
    }
}

fn texts(name: &str, kind: Kind, value: &Value) -> Result<Vec<String>, ConfigError> {
    match (kind, value) {
        (Kind::List, Value::Sequence(items)) => items.iter().map(|item| scalar(name, item)).collect(),
        _ => Ok(split(name, kind, &scalar(name, value)?)),
    }
}

fn split(name: &str, kind: Kind, text: &str) -> Vec<String> {
    match kind {
        // A file name may hold a comma: only a YAML list names several outputs.
        Kind::List if name != "logging.output" => {
            text.split(',').map(|item| item.trim().to_owned()).collect()
        }
        _ => vec![text.to_owned()],
    }
}

/// Go's duration syntax, in seconds; a bare number is nanoseconds.
fn seconds(text: &str) -> Option<f64> {
    if let Ok(nanoseconds) = text.parse::<f64>() {
        return Some(nanoseconds / 1e9);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units =
            [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, factor) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        total += number * factor;
        rest = &rest[unit.len()..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_and_ours_over_theirs() {
        let mut values = Values::from_yaml("logging: {level: info}\nblockstore: {type: local}\n").unwrap();
        values.overlay(|name| match name {
            "LAKEFS_LOGGING_LEVEL" => Some("warn".into()),
            "LAKEBED_LOGGING_LEVEL" => Some("debug".into()),
            "LAKEFS_BLOCKSTORE_LOCAL_PATH" => Some("/x".into()),
            "LAKEFS_GATEWAYS_S3_DOMAIN_NAME" => Some("a.example, b.example".into()),
            _ => None,
        });
        assert_eq!(values.text("logging.level"), Some("debug"));
        assert_eq!(values.text("blockstore.local.path"), Some("/x"));
        assert_eq!(values.list("gateways.s3.domain_name"), ["a.example", "b.example"]);
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest_and_other_stores_accepted() {
        let values = Values::from_yaml("logging: {levle: info}\ndatabase: {redis: {endpoint: x}}\n").unwrap();
        assert_eq!(values.unknown, [("logging.levle".to_owned(), Some("logging.level"))]);
        assert_eq!(values.ignored, ["database.redis"]);
    }

    #[test]
    fn durations_are_gos() {
        for (text, expected) in
            [("1h30m", 5400.0), ("45s", 45.0), ("500ms", 0.5), ("168h", 604_800.0), ("1000000000", 1.0)]
        {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for bad in ["soon", "5", "1x", "h"].iter().filter(|text| **text != "5") {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn wrong_types_name_the_key() {
        let values = Values::from_yaml("actions: {enabled: maybe}").unwrap();
        assert!(values.check_types().unwrap_err().to_string().contains("actions.enabled"));
        assert!(Values::from_yaml("logging: {level: [a, b]}").is_err());
        assert!(Values::from_yaml("- a").is_err());
        assert!(Values::from_yaml("a: [").is_err());
    }
}
