//! Where mutable state is kept (`operations.md` 2.5).

use std::path::PathBuf;
use std::time::Duration;

use lakebed_blocks::BlockAddress;
use lakebed_kv::{DynamoConfig, FjallConfig, PostgresConfig};
use lakebed_kv_object::ObjectConfig;

use super::{ConfigError, Values};

/// Where mutable state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Local { path: PathBuf, engine: FjallConfig },
    Postgres(Box<PostgresConfig>),
    Dynamo(Box<DynamoConfig>),
    Object(Box<ObjectConfig>),
    Mem,
}

impl Database {
    /// As `database.type` calls it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::Postgres(_) => "postgres",
            Self::Dynamo(_) => "dynamodb",
            Self::Object(_) => "object",
            Self::Mem => "mem",
        }
    }

    /// Whether this process alone uses it. (In the object store, others stand by.)
    pub(crate) fn is_ours_alone(&self) -> bool {
        matches!(self, Self::Local { .. } | Self::Object(_) | Self::Mem)
    }
}

/// The engine that is configured.
pub(super) fn database(values: &Values, expand: &dyn Fn(&str) -> PathBuf) -> Result<Database, ConfigError> {
    match values.text("database.type").unwrap_or_default() {
        "local" => {
            let path = expand(values.text("database.local.path").unwrap_or("~/lakefs/metadata"));
            let mut engine = FjallConfig::default();
            if let Some(bytes) = values.int("database.local.cache_bytes")? {
                engine.cache_bytes = bytes.max(1 << 20);
            }
            Ok(Database::Local { path, engine })
        }
        "postgres" => Ok(Database::Postgres(Box::new(postgres(values)?))),
        "dynamodb" => Ok(Database::Dynamo(Box::new(dynamo(values)?))),
        "object" => Ok(Database::Object(Box::new(object(values)?))),
        "mem" => Ok(Database::Mem),
        other => {
            let (key, value) = ("database.type", other.to_owned());
            Err(ConfigError::Unsupported { key, value, supported: "local, postgres, dynamodb, object, mem" })
        }
    }
}

/// In the object store that is configured: the prefix must be an address of it.
fn object(values: &Values) -> Result<ObjectConfig, ConfigError> {
    const PREFIX: &str = "database.object.prefix";
    const LEASE: &str = "database.object.lease";
    let scheme = match values.text("blockstore.type").unwrap_or_default() {
        "azure" => "https",
        "mem" => {
            let (key, value) = ("database.type", "object".to_owned());
            let supported = "local, postgres, dynamodb, mem with blockstore.type mem, which keeps nothing";
            return Err(ConfigError::Unsupported { key, value, supported });
        }
        scheme => scheme,
    };
    let prefix = values.text(PREFIX).unwrap_or_default();
    let place = prefix.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    if place.is_none_or(|place| place.split('/').filter(|part| !part.is_empty()).count() < 2) {
        let supported = "a prefix in the configured blockstore, below a bucket or directory, that nothing else uses: \
                         s3://bucket/lakebed-metadata, gs://.., https://account.blob.core.windows.net/container/.., \
                         local://directory/..";
        return Err(ConfigError::Unsupported { key: PREFIX, value: prefix.to_owned(), supported });
    }
    let mut config = ObjectConfig::new(BlockAddress::new(prefix));
    if let Some(seconds) = values.duration(LEASE)? {
        if !(1.0..=3600.0).contains(&seconds) {
            let (key, value) = (LEASE, format!("{seconds}s"));
            return Err(ConfigError::Unsupported { key, value, supported: "a duration from 1s to 1h" });
        }
        config.lease = Duration::from_secs_f64(seconds);
    }
    if let Some(bytes) = values.int("database.object.checkpoint_bytes")? {
        config.checkpoint_bytes = usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1 << 20, 1 << 30);
    }
    if let Some(bytes) = values.int("database.object.cache_bytes")? {
        config.cache_bytes = bytes.max(1 << 20);
    }
    let name = values.text("database.object.server_name").map(str::to_owned);
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    config.holder = name.or_else(|| host().ok()).unwrap_or_else(|| "a server without a name".to_owned());
    Ok(config)
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

fn dynamo(values: &Values) -> Result<DynamoConfig, ConfigError> {
    const TABLE: &str = "database.dynamodb.table_name";
    const ACCESS_KEY: &str = "database.dynamodb.aws_access_key_id";
    const SECRET: &str = "database.dynamodb.aws_secret_access_key";
    let mut config = DynamoConfig::default();
    let text = |key: &'static str| values.text(key).filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(table) = text(TABLE) {
        let fits = table.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if !fits || !(3..=255).contains(&table.len()) {
            let supported = "3 to 255 characters A-Z, a-z, 0-9, '_', '-', '.'";
            return Err(ConfigError::Unsupported { key: TABLE, value: table, supported });
        }
        config.table = table;
    }
    config.endpoint = text("database.dynamodb.endpoint");
    config.region = text("database.dynamodb.aws_region");
    config.profile = text("database.dynamodb.aws_profile");
    config.credentials = match (text(ACCESS_KEY), text(SECRET)) {
        (Some(key), Some(secret)) => Some((key, secret)),
        (None, None) => None,
        (given, _) => {
            let keys = vec![if given.is_some() { SECRET } else { ACCESS_KEY }];
            return Err(ConfigError::Missing {
                keys,
                hint: ": an access key and its secret are set together",
            });
        }
    };
    let number = |key: &'static str| -> Result<Option<usize>, ConfigError> {
        Ok(values.int(key)?.map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
    };
    if let Some(items) = number("database.dynamodb.scan_limit")?.filter(|items| *items > 0) {
        config.scan_limit = items;
    }
    if let Some(attempts) = number("database.dynamodb.max_attempts")?.filter(|attempts| *attempts > 0) {
        config.max_attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    }
    // More than that is no limit either.
    config.max_connections = number("database.dynamodb.max_connections")?.unwrap_or(0).min(1 << 20);
    if let Some(seconds) = values.duration("database.dynamodb.health_check_interval")?
        && seconds > 0.0
    {
        config.health_check_interval = Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
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
    fn a_database_in_the_object_store_is_read() {
        let s3 = |more: &str| {
            configured(&format!("blockstore: {{type: s3}}\ndatabase: {{type: object, object: {{{more}}}}}"))
        };
        let Ok(Database::Object(config)) = s3(
            "prefix: 's3://b/meta/', lease: 30s, checkpoint_bytes: 2_000_000, cache_bytes: 3000000, server_name: one",
        ) else {
            panic!("no object store")
        };
        assert_eq!(config.prefix.as_str(), "s3://b/meta/");
        assert_eq!((config.lease, config.holder.as_str()), (Duration::from_secs(30), "one"));
        assert_eq!((config.checkpoint_bytes, config.cache_bytes), (2_000_000, 3_000_000));
        for wrong in
            ["", "prefix: meta", "prefix: 's3://bucket'", "prefix: 's3://bucket/'", "prefix: 'gs://b/meta'"]
        {
            let error = s3(wrong).err().unwrap().to_string();
            assert!(error.contains("database.object.prefix") && error.contains("s3://bucket/"), "{error}");
        }
        let error = s3("prefix: 's3://b/meta', lease: 10ms").err().unwrap().to_string();
        assert!(error.contains("database.object.lease") && error.contains("1s"), "{error}");
        let mem =
            configured("blockstore: {type: mem}\ndatabase: {type: object, object: {prefix: 'mem://b/m'}}");
        assert!(mem.err().unwrap().to_string().contains("database.type"));
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

    #[test]
    fn a_dynamodb_table_is_read_as_it_is_written_for_lakefs() {
        let yaml = "database: {type: dynamodb, dynamodb: {table_name: lake, scan_limit: 100, endpoint: 'http://h:1', \
                    aws_region: eu-west-1, aws_profile: p, aws_access_key_id: AKIA, aws_secret_access_key: sesame, \
                    health_check_interval: 30s, max_attempts: 3, max_connections: 7}}";
        let values = Values::from_yaml(yaml).unwrap();
        assert!(values.ignored.is_empty() && values.unknown.is_empty());
        let Ok(Database::Dynamo(config)) = configured(yaml) else { panic!("no DynamoDB") };
        let text = |text: &str| Some(text.to_owned());
        let wanted = DynamoConfig {
            table: "lake".to_owned(),
            scan_limit: 100,
            endpoint: text("http://h:1"),
            region: text("eu-west-1"),
            profile: text("p"),
            credentials: Some(("AKIA".to_owned(), "sesame".to_owned())),
            health_check_interval: Some(Duration::from_secs(30)),
            max_attempts: 3,
            max_connections: 7,
            ..DynamoConfig::default()
        };
        assert_eq!(*config, wanted);
        assert!(!format!("{config:?}").contains("sesame"), "secrets are not shown");
        for plain in ["database: {type: dynamodb}", "database: {type: dynamodb, dynamodb: {scan_limit: 0}}"] {
            let Ok(Database::Dynamo(config)) = configured(plain) else { panic!() };
            assert_eq!(*config, DynamoConfig::default());
        }
        for (wrong, key) in [
            ("table_name: a/b", "table_name"),
            ("table_name: ab", "table_name"),
            ("aws_access_key_id: AKIA", "aws_secret_access_key"),
            ("aws_secret_access_key: sesame", "aws_access_key_id"),
        ] {
            let yaml = format!("database: {{type: dynamodb, dynamodb: {{{wrong}}}}}");
            let error = configured(&yaml).err().unwrap().to_string();
            assert!(
                error.contains(&format!("database.dynamodb.{key}")) && !error.contains("sesame"),
                "{error}"
            );
        }
    }
}
