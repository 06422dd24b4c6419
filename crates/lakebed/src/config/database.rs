//! Where mutable state is kept (`operations.md` 2.5).

use std::path::PathBuf;
use std::time::Duration;

use lakebed_kv::PostgresConfig;

use super::{ConfigError, Values};

/// Where mutable state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Local(PathBuf),
    Postgres(Box<PostgresConfig>),
    Mem,
}

impl Database {
    /// As `database.type` calls it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Postgres(_) => "postgres",
            Self::Mem => "mem",
        }
    }

    /// Whether this process alone uses it.
    pub(crate) fn is_ours_alone(&self) -> bool {
        matches!(self, Self::Local(_) | Self::Mem)
    }
}

/// The engine that is configured.
pub(super) fn database(values: &Values, expand: &dyn Fn(&str) -> PathBuf) -> Result<Database, ConfigError> {
    match values.text("database.type").unwrap_or_default() {
        "local" => {
            Ok(Database::Local(expand(values.text("database.local.path").unwrap_or("~/lakefs/metadata"))))
        }
        "postgres" => Ok(Database::Postgres(Box::new(postgres(values)?))),
        "mem" => Ok(Database::Mem),
        other => {
            let (key, value) = ("database.type", other.to_owned());
            Err(ConfigError::Unsupported { key, value, supported: "local, postgres, mem" })
        }
    }
}

fn postgres(values: &Values) -> Result<PostgresConfig, ConfigError> {
    let mut config = PostgresConfig::default();
    if let Some(text) = values.text("database.postgres.connection_string") {
        text.clone_into(&mut config.connection_string);
    }
    // 0 is no limit there; here everything has one.
    let number = |key: &'static str, default: usize| -> Result<usize, ConfigError> {
        let found = values.int(key)?.filter(|number| *number > 0);
        Ok(found.map_or(default, |number| usize::try_from(number).unwrap_or(usize::MAX).min(1000)))
    };
    config.max_connections = number("database.postgres.max_open_connections", config.max_connections)?;
    config.max_idle = number("database.postgres.max_idle_connections", config.max_idle)?;
    if let Some(seconds) = values.duration("database.postgres.connection_max_lifetime")?
        && seconds > 0.0
    {
        config.max_lifetime = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(yaml: &str) -> Result<Database, ConfigError> {
        database(&Values::from_yaml(yaml)?, &|path| PathBuf::from(path))
    }

    #[test]
    fn a_postgres_database_is_read_as_it_is_written_for_lakefs() {
        let yaml = "database: {type: postgres, postgres: {connection_string: 'postgres://u:sesame@h/d', \
                    max_open_connections: 7, max_idle_connections: 3, connection_max_lifetime: 1m}}";
        let values = Values::from_yaml(yaml).unwrap();
        assert!(values.ignored.is_empty() && values.unknown.is_empty());
        let Ok(Database::Postgres(config)) = configured(yaml) else { panic!("no PostgreSQL") };
        assert_eq!(config.connection_string, "postgres://u:sesame@h/d");
        assert_eq!((config.max_connections, config.max_idle), (7, 3));
        assert_eq!(config.max_lifetime, Duration::from_mins(1));
        assert!(!format!("{config:?}").contains("sesame"), "secrets are not shown");
        let Ok(Database::Postgres(config)) = configured("database: {type: postgres}") else { panic!() };
        assert_eq!(*config, PostgresConfig::default());
    }
}
