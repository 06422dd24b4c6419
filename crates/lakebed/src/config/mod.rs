//! Configuration: files of lakeFS's shape, `LAKEFS_*` and `LAKEBED_*` variables, and the settings they give
//! (`operations.md` §2).

mod database;
mod gateway;
mod keys;
mod process;
mod store;
mod stores;
mod traces;
mod values;

use std::path::{Path, PathBuf};

pub(crate) use database::Database;
use lakebed_s3::S3Config;
use lakebed_traces::TracesConfig;
pub(crate) use process::{Connections, LogOutput, Logging, Shutdown, TlsFiles};
pub(crate) use store::Blockstore;
pub(crate) use stores::StoreSettings;
pub(crate) use values::Values;

/// Why a configuration does not start a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("the configuration file is not valid YAML: {0}")]
    Malformed(String),
    #[error("cannot read the configuration file '{path}': {source}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("'{key}': '{value}' is not {expected}")]
    WrongType { key: String, value: String, expected: String },
    #[error("missing required keys: [{}]{hint}", .keys.join(" "))]
    Missing { keys: Vec<&'static str>, hint: &'static str },
    #[error("'{key}': '{value}' is not supported, use one of: {supported}")]
    Unsupported { key: &'static str, value: String, supported: &'static str },
    #[error("{0}")]
    Stores(String),
    #[error("blockstores.stores[{at}] ('{id}'): {source}")]
    InStore {
        at: usize,
        id: String,
        #[source]
        source: Box<ConfigError>,
    },
    #[error("unknown keys: {}", .0.join(", "))]
    Unknown(Vec<String>),
}

const SHORTEST: &str = "
The three shortest configurations that work:
  lakebed quickstart                                   (everything embedded, sample data)
  lakebed run --local-settings                         (everything embedded)
  LAKEBED_DATABASE_TYPE=local LAKEBED_BLOCKSTORE_TYPE=local LAKEBED_AUTH_ENCRYPT_SECRET_KEY=<secret> lakebed run";

/// The administrator made at the first start.
#[derive(Clone)]
pub(crate) struct Installation {
    pub(crate) user: String,
    pub(crate) key_pair: (String, String),
}

/// What a server is started with.
pub(crate) struct Settings {
    pub(crate) listen_address: String,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) shutdown: Shutdown,
    pub(crate) connections: Connections,
    pub(crate) logging: Logging,
    /// Whether spans are exported, and where to.
    pub(crate) traces: Option<TracesConfig>,
    /// Whether administrators may look into the process.
    pub(crate) debug: bool,
    pub(crate) database: Database,
    /// One without an id, or several with one each.
    pub(crate) stores: Vec<StoreSettings>,
    pub(crate) signing_key: Vec<u8>,
    pub(crate) secret_key: Vec<u8>,
    pub(crate) login_secs: i64,
    pub(crate) installation: Option<Installation>,
    pub(crate) node_cache_bytes: u64,
    pub(crate) gateway: S3Config,
}

/// Memory for tree nodes unless configured.
const NODE_CACHE_BYTES: u64 = 40 << 20;

/// The file to read: the one named, else the first of the usual places.
pub(crate) fn file(named: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = named {
        return Some(path.to_owned());
    }
    let mut places = vec![PathBuf::from("config.yaml")];
    if let Some(home) = home {
        places.push(home.join("lakefs/config.yaml"));
        places.push(home.join("lakebed/config.yaml"));
    }
    places.push(PathBuf::from("/etc/lakefs/config.yaml"));
    places.push(PathBuf::from("/etc/lakebed/config.yaml"));
    places.extend(home.map(|home| home.join(".lakefs.yaml")));
    places.into_iter().find(|path| path.is_file())
}

/// Reads the file, if there is one.
pub(crate) fn read(path: Option<&Path>) -> Result<Values, ConfigError> {
    match path {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
            Values::from_yaml(&text)
        }
        None => Ok(Values::default()),
    }
}

impl Settings {
    /// The settings that follow from the values. `home` stands for `~`.
    pub(crate) fn resolve(values: &Values, home: Option<&Path>) -> Result<Self, ConfigError> {
        values.check_types()?;
        let expand = |text: &str| match (text.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        };
        let missing: Vec<&'static str> = ["database.type", "blockstore.type", "auth.encrypt.secret_key"]
            .into_iter()
            .filter(|key| values.text(key).is_none())
            .filter(|key| *key != "blockstore.type" || !values.has_several_stores())
            .collect();
        if !missing.is_empty() {
            let hint = if missing.len() == 3 { SHORTEST } else { "" };
            return Err(ConfigError::Missing { keys: missing, hint });
        }
        let signing = if values.has_several_stores() {
            "blockstores.signing.secret_key"
        } else {
            "blockstore.signing.secret_key"
        };
        // Stores that clients are sent to by several names have a secret of their own.
        if values.given(signing) == Some("") || values.has_several_stores() && values.text(signing).is_none()
        {
            return Err(ConfigError::Missing { keys: vec![signing], hint: "" });
        }
        let database = database::database(values, &expand)?;
        let stores = stores::stores(values, &expand)?;
        let installation = match (
            values.text("installation.user_name"),
            values.text("installation.access_key_id"),
            values.text("installation.secret_access_key"),
        ) {
            (Some(user), Some(key), Some(secret)) => {
                Some(Installation { user: user.to_owned(), key_pair: (key.to_owned(), secret.to_owned()) })
            }
            _ => None,
        };
        let secret_key = values.text("auth.encrypt.secret_key").unwrap_or_default().as_bytes().to_vec();
        let signing_key = match values.text(signing) {
            Some(key) => key.as_bytes().to_vec(),
            None => [b"lakebed issued addresses v1 ".as_slice(), &secret_key].concat(),
        };
        Ok(Self {
            listen_address: values.text("listen_address").unwrap_or("0.0.0.0:8000").to_owned(),
            tls: process::tls(values, &expand)?,
            shutdown: process::shutdown(values)?,
            connections: process::connections(values)?,
            logging: process::logging(values, &expand)?,
            traces: traces::traces(values)?,
            debug: values.bool("debug.enabled")?.unwrap_or(false),
            database,
            gateway: gateway::gateway(values, &stores)?,
            stores,
            signing_key,
            secret_key,
            login_secs: values.duration("auth.login_duration")?.unwrap_or(604_800.0) as i64,
            installation,
            node_cache_bytes: values
                .int("committed.sstable.memory.cache_size_bytes")?
                .map_or(NODE_CACHE_BYTES, |bytes| bytes.max(1 << 20)),
        })
    }
}

/// Unknown keys as lines for a person; an error if `strict`.
pub(crate) fn report(values: &Values, strict: bool) -> Result<Vec<String>, ConfigError> {
    let lines: Vec<String> = values
        .unknown
        .iter()
        .map(|(key, nearest)| match nearest {
            Some(nearest) => format!("'{key}' (did you mean '{nearest}'?)"),
            None => format!("'{key}'"),
        })
        .collect();
    if strict && !lines.is_empty() { Err(ConfigError::Unknown(lines)) } else { Ok(lines) }
}

#[cfg(test)]
mod tests {
    use lakebed_kv::FjallConfig;

    use super::*;

    fn settings(yaml: &str) -> Result<Settings, ConfigError> {
        Settings::resolve(&Values::from_yaml(yaml)?, Some(Path::new("/home/x")))
    }

    const LEAST: &str = "database: {type: mem}\nblockstore: {type: mem}\nauth: {encrypt: {secret_key: k}}\n";

    #[test]
    fn what_is_missing_is_named_with_the_shortest_ways_out() {
        let error = settings("").err().unwrap().to_string();
        assert!(error.contains("[database.type blockstore.type auth.encrypt.secret_key]"), "{error}");
        assert!(error.contains("lakebed quickstart"));
        let error = settings("database: {type: mem}\nblockstore: {type: ''}").err().unwrap().to_string();
        assert!(error.contains("[blockstore.type auth.encrypt.secret_key]"), "{error}");
    }

    #[test]
    fn paths_start_at_home() {
        let yaml = LEAST.replace("{type: mem}\nblockstore", "{type: local, local: {path: ~/m}}\nblockstore");
        let engine = FjallConfig::default();
        assert_eq!(settings(&yaml).unwrap().database, Database::Local { path: "/home/x/m".into(), engine });
    }

    #[test]
    fn caches_are_as_large_as_configured() {
        let yaml = LEAST
            .replace("{type: mem}\nblockstore", "{type: local, local: {cache_bytes: 50000000}}\nblockstore");
        let found =
            settings(&format!("{yaml}committed: {{sstable: {{memory: {{cache_size_bytes: 400000000}}}}}}"))
                .unwrap();
        assert_eq!(found.node_cache_bytes, 400_000_000);
        let Database::Local { engine, .. } = found.database else { panic!("{:?}", found.database) };
        assert_eq!(engine.cache_bytes, 50_000_000);
    }

    #[test]
    fn an_incomplete_installation_is_ignored() {
        assert!(settings(&format!("{LEAST}installation: {{user_name: a}}")).unwrap().installation.is_none());
        let whole = "installation: {user_name: a, access_key_id: b, secret_access_key: c}";
        assert!(settings(&format!("{LEAST}{whole}")).unwrap().installation.is_some());
    }

    #[test]
    fn unknown_engines_name_the_known_ones() {
        let error = settings(&LEAST.replacen("mem", "mysql", 1)).err().unwrap().to_string();
        assert!(
            error.contains("mysql") && error.contains("local, postgres, dynamodb, object, mem"),
            "{error}"
        );
        let error = settings(&LEAST.replace("blockstore: {type: mem}", "blockstore: {type: ftp}"))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("ftp") && error.contains("local, s3, gs, azure, mem"), "{error}");
    }
}
