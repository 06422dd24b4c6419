//! Where the database is and how it is reached: connection strings as libpq, pgx and lakeFS take them.

use std::fmt::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::KvError;

/// How the PostgreSQL engine reaches its database.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// A URI (`postgres://user:password@host:5432/database?sslmode=require`) or `key=value` pairs.
    pub connection_string: String,
    /// The most connections of this server; at least 2.
    pub max_connections: usize,
    /// The most of them kept while nobody uses them.
    pub max_idle: usize,
    /// A connection is replaced after this time.
    pub max_lifetime: Duration,
    /// The database ends a statement after this time.
    pub statement_timeout: Duration,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            connection_string: "postgres://localhost:5432/postgres?sslmode=disable".to_owned(),
            max_connections: 25,
            max_idle: 25,
            max_lifetime: Duration::from_mins(5),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

/// Without the connection string, which holds a password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("max_connections", &self.max_connections)
            .field("max_idle", &self.max_idle)
            .field("max_lifetime", &self.max_lifetime)
            .finish_non_exhaustive()
    }
}

/// How far the database's certificate is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// No TLS at all.
    Disabled,
    /// Encrypted, whoever it is.
    Anyone,
    /// Signed by a known authority.
    Authority,
    /// Signed by a known authority, for the host's name.
    Host,
}

/// A connection string taken apart.
pub(super) struct Target {
    pub(super) driver: tokio_postgres::Config,
    pub(super) trust: Trust,
    /// Certificates of authorities; without it the machine's are used.
    pub(super) root: Option<PathBuf>,
    /// Our own certificate and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// What the driver takes; everything else that is not ours is a setting of the session.
const DRIVER: &[&str] = &[
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// Said by other drivers to themselves.
const OTHERS: &[&str] = &["fallback_application_name", "gssencmode", "default_query_exec_mode"];

fn wrong(what: impl fmt::Display) -> KvError {
    KvError::Invalid(format!("the PostgreSQL connection string: {what}"))
}

/// Characters that would end a value in a URI.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'&').add(b'#').add(b'%').add(b'+').add(b'=').add(b'\\');

#[derive(Default)]
struct Options {
    mode: Option<String>,
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    driver: Vec<(String, String)>,
    session: Vec<String>,
}

impl Options {
    fn take(&mut self, name: String, value: String) -> Result<(), KvError> {
        let path = |value: String| (value != "system" && !value.is_empty()).then(|| PathBuf::from(value));
        match name.as_str() {
            "sslmode" => self.mode = Some(value),
            "sslrootcert" => self.root = path(value),
            "sslcert" => self.certificate = path(value),
            "sslkey" => self.key = path(value),
            "sslpassword" => return Err(wrong("sslpassword is not supported: decrypt the key file")),
            "service" | "servicefile" | "passfile" => {
                return Err(wrong(format!(
                    "{name} is not supported: name user, password and host themselves"
                )));
            }
            "database" => self.driver.push(("dbname".to_owned(), value)),
            known if DRIVER.contains(&known) => self.driver.push((name, value)),
            other if other.starts_with("pool_") || OTHERS.contains(&other) => {}
            _ => {
                let value = value.replace('\\', "\\\\").replace(' ', "\\ ");
                self.session.push(format!("-c {name}={value}"));
            }
        }
        Ok(())
    }

    /// The driver's options, those of the session among them.
    fn finish(&mut self) {
        if self.session.is_empty() {
            return;
        }
        let mut options = self.session.join(" ");
        if let Some((_, given)) = self.driver.iter_mut().find(|(name, _)| name == "options") {
            given.push(' ');
            given.push_str(&options);
        } else {
            self.driver.push(("options".to_owned(), std::mem::take(&mut options)));
        }
    }
}

/// `name = value` pairs; values may stand in single quotes, `\` makes the next character plain.
fn pairs(text: &str) -> Result<Vec<(String, String)>, KvError> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| wrong("a name without a value"))?;
        let after = after.trim_start();
        let (quoted, mut chars) = match after.strip_prefix('\'') {
            Some(inside) => (true, inside.char_indices()),
            None => (false, after.char_indices()),
        };
        let body = if quoted { &after[1..] } else { after };
        let mut value = String::new();
        let mut end = body.len();
        let mut closed = !quoted;
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => value.extend(chars.next().map(|(_, plain)| plain)),
                '\'' if quoted => {
                    (end, closed) = (at + 1, true);
                    break;
                }
                c if !quoted && c.is_whitespace() => {
                    end = at;
                    break;
                }
                c => value.push(c),
            }
        }
        if !closed {
            return Err(wrong("a quoted value does not end"));
        }
        found.push((name.trim().to_owned(), value));
        rest = body[end..].trim_start();
    }
    Ok(found)
}

impl PostgresConfig {
    /// What the connection string says. Errors do not repeat it: it holds a password.
    pub(super) fn target(&self) -> Result<Target, KvError> {
        let text = self.connection_string.trim();
        let mut options = Options::default();
        let is_uri = text.starts_with("postgres://") || text.starts_with("postgresql://");
        let mut driver_text = String::new();
        if is_uri {
            let (base, query) = text.split_once('?').unwrap_or((text, ""));
            for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let decoded = |text: &str| {
                    let text = percent_decode_str(text).decode_utf8();
                    text.map(std::borrow::Cow::into_owned).map_err(|_| wrong("an option is not UTF-8"))
                };
                options.take(decoded(name)?, decoded(value)?)?;
            }
            options.finish();
            driver_text.push_str(base);
            for (at, (name, value)) in options.driver.iter().enumerate() {
                driver_text.push(if at == 0 { '?' } else { '&' });
                let value = utf8_percent_encode(value, VALUE);
                let _ = write!(driver_text, "{}={value}", utf8_percent_encode(name, NON_ALPHANUMERIC));
            }
            // Names of options hold underscores only, which need no escape.
            driver_text = driver_text.replace("%5F", "_");
        } else {
            for (name, value) in pairs(text)? {
                options.take(name, value)?;
            }
            options.finish();
            for (name, value) in &options.driver {
                let value = value.replace('\\', "\\\\").replace('\'', "\\'");
                let _ = write!(driver_text, "{name}='{value}' ");
            }
        }
        let mut driver: tokio_postgres::Config =
            driver_text.parse().map_err(|error: tokio_postgres::Error| {
                // The cause names an option, never a value.
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                wrong(if cause.is_empty() { error.to_string() } else { cause })
            })?;
        if driver.get_hosts().is_empty() && driver.get_hostaddrs().is_empty() {
            driver.host("localhost");
        }
        let with_root = options.root.is_some();
        let (mode, trust) = match options.mode.as_deref().unwrap_or("prefer") {
            "disable" => (tokio_postgres::config::SslMode::Disable, Trust::Disabled),
            "allow" | "prefer" => (tokio_postgres::config::SslMode::Prefer, Trust::Anyone),
            // As libpq has it: who names an authority wants it asked.
            "require" if with_root => (tokio_postgres::config::SslMode::Require, Trust::Authority),
            "require" => (tokio_postgres::config::SslMode::Require, Trust::Anyone),
            "verify-ca" => (tokio_postgres::config::SslMode::Require, Trust::Authority),
            "verify-full" => (tokio_postgres::config::SslMode::Require, Trust::Host),
            _ => {
                return Err(wrong(
                    "sslmode is one of disable, allow, prefer, require, verify-ca, verify-full",
                ));
            }
        };
        driver.ssl_mode(mode);
        if driver.get_application_name().is_none() {
            driver.application_name("lakebed");
        }
        if driver.get_connect_timeout().is_none() {
            driver.connect_timeout(Duration::from_secs(5));
        }
        if driver.get_tcp_user_timeout().is_none() {
            driver.tcp_user_timeout(self.statement_timeout);
        }
        if driver.get_keepalives_idle() == Duration::from_hours(2) {
            driver.keepalives_idle(Duration::from_secs(30));
        }
        let client = match (options.certificate, options.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(wrong("sslcert and sslkey go together")),
        };
        Ok(Target { driver, trust, root: options.root, client })
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::{Host, SslMode};

    use super::*;

    fn target(text: &str) -> Result<Target, KvError> {
        PostgresConfig { connection_string: text.to_owned(), ..PostgresConfig::default() }.target()
    }

    #[test]
    fn both_forms_say_the_same() {
        for text in [
            "postgres://me:p%40ss%20word@db.example:6000/lake?sslmode=verify-full&sslrootcert=/a%20b.pem&search_path=one%2Ctwo&pool_max_conns=9",
            r"host=db.example port = 6000 user=me password='p@ss word' dbname=lake sslmode=verify-full sslrootcert='/a b.pem' search_path=one,two pool_max_conns=9",
        ] {
            let found = target(text).unwrap();
            assert_eq!(found.driver.get_hosts(), [Host::Tcp("db.example".into())]);
            assert_eq!(found.driver.get_ports(), [6000]);
            assert_eq!(found.driver.get_user(), Some("me"));
            assert_eq!(found.driver.get_password(), Some(b"p@ss word".as_slice()));
            assert_eq!(found.driver.get_dbname(), Some("lake"));
            assert_eq!(found.driver.get_options(), Some("-c search_path=one,two"));
            assert_eq!(found.driver.get_ssl_mode(), SslMode::Require);
            assert_eq!((found.trust, found.root), (Trust::Host, Some(PathBuf::from("/a b.pem"))));
        }
    }

    #[test]
    fn options_join_the_settings_of_the_session() {
        let found = target("postgres://h/d?options=-c%20a%3D1&timezone=a b").unwrap();
        assert_eq!(found.driver.get_options(), Some(r"-c a=1 -c timezone=a\ b"));
    }

    #[test]
    fn modes_are_libpqs() {
        for (mode, driver, trust) in [
            ("", SslMode::Prefer, Trust::Anyone),
            ("?sslmode=disable", SslMode::Disable, Trust::Disabled),
            ("?sslmode=allow", SslMode::Prefer, Trust::Anyone),
            ("?sslmode=require", SslMode::Require, Trust::Anyone),
            ("?sslmode=require&sslrootcert=x", SslMode::Require, Trust::Authority),
            ("?sslmode=verify-ca", SslMode::Require, Trust::Authority),
        ] {
            let found = target(&format!("postgresql://h/d{mode}")).unwrap();
            assert_eq!((found.driver.get_ssl_mode(), found.trust), (driver, trust), "{mode}");
        }
    }

    #[test]
    fn refusals_name_the_option_and_never_the_password() {
        for (text, said) in [
            ("postgres://u:sesame@h/d?sslmode=sometimes", "verify-full"),
            ("postgres://u:sesame@h/d?sslpassword=sesame", "sslpassword"),
            ("postgres://u:sesame@h/d?sslcert=x", "sslkey"),
            ("postgres://u:sesame@h/d?port=sesame", "port"),
            ("host=h password='sesame", "does not end"),
            ("host=h password", "without a value"),
            ("host=h passfile=x", "passfile"),
        ] {
            let error = target(text).err().unwrap().to_string();
            assert!(error.contains(said) && !error.contains("sesame"), "{text}: {error}");
        }
        let config = PostgresConfig { connection_string: "password=sesame".into(), ..Default::default() };
        assert!(!format!("{config:?}").contains("sesame"));
    }
}
