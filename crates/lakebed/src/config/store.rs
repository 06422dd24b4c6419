//! Where object bytes are kept (`operations.md` 2.7).

use std::path::PathBuf;
use std::time::Duration;

use lakebed_blocks::{S3Credentials, S3StoreConfig};

use super::{ConfigError, Values};

/// Where object bytes are kept.
#[derive(Clone, Debug)]
pub(crate) enum Blockstore {
    Local(PathBuf),
    S3(Box<S3StoreConfig>),
    Mem,
}

/// What clients are told of presigned URLs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presign {
    /// How long they hold.
    pub(crate) life: Duration,
    /// Whether the page in the browser uses them.
    pub(crate) in_ui: bool,
}

/// The store that is configured.
pub(super) fn blockstore(
    values: &Values,
    expand: &dyn Fn(&str) -> PathBuf,
) -> Result<Blockstore, ConfigError> {
    match values.text("blockstore.type").unwrap_or_default() {
        "local" => Ok(Blockstore::Local(expand(
            values.text("blockstore.local.path").unwrap_or("~/lakefs/data/block"),
        ))),
        "mem" => Ok(Blockstore::Mem),
        "s3" => Ok(Blockstore::S3(Box::new(s3(values, expand)?))),
        other => {
            let (key, value) = ("blockstore.type", other.to_owned());
            Err(ConfigError::Unsupported { key, value, supported: "local, s3, mem" })
        }
    }
}

fn s3(values: &Values, expand: &dyn Fn(&str) -> PathBuf) -> Result<S3StoreConfig, ConfigError> {
    let text = |key: &'static str| values.text(key).map(str::to_owned);
    let credentials = match (
        text("blockstore.s3.credentials.access_key_id"),
        text("blockstore.s3.credentials.secret_access_key"),
    ) {
        (Some(access_key), Some(secret_key)) => {
            let session_token = text("blockstore.s3.credentials.session_token");
            Some(S3Credentials { access_key, secret_key, session_token })
        }
        (None, None) => None,
        (Some(_), None) => return Err(half("blockstore.s3.credentials.secret_access_key")),
        (None, Some(_)) => return Err(half("blockstore.s3.credentials.access_key_id")),
    };
    if values.bool("blockstore.s3.skip_verify_certificate_test_only")? == Some(true) {
        return Err(ConfigError::Unsupported {
            key: "blockstore.s3.skip_verify_certificate_test_only",
            value: "true".to_owned(),
            supported: "false, with the store's certificate authority installed on this machine",
        });
    }
    Ok(S3StoreConfig {
        region: text("blockstore.s3.region"),
        profile: text("blockstore.s3.profile"),
        credentials_file: text("blockstore.s3.credentials_file").map(|file| expand(&file)),
        credentials,
        endpoint: text("blockstore.s3.endpoint"),
        path_style: values.bool("blockstore.s3.force_path_style")?.unwrap_or(false),
        discover_region: values.bool("blockstore.s3.discover_bucket_region")?.unwrap_or(true),
        encryption: text("blockstore.s3.server_side_encryption"),
        encryption_key: text("blockstore.s3.server_side_encryption_kms_key_id"),
        presign_endpoint: text("blockstore.s3.pre_signed_endpoint"),
        disable_presign: values.bool("blockstore.s3.disable_pre_signed")?.unwrap_or(false),
        disable_presign_parts: values.bool("blockstore.s3.disable_pre_signed_multipart")?.unwrap_or(false),
        // As configured it counts the tries after the first.
        attempts: values
            .int("blockstore.s3.max_retries")?
            .map(|retries| u32::try_from(retries).unwrap_or(u32::MAX).saturating_add(1)),
    })
}

fn half(key: &'static str) -> ConfigError {
    ConfigError::Missing { keys: vec![key], hint: "" }
}

/// For stores that cannot presign it says nothing.
pub(super) fn presign(values: &Values) -> Result<Presign, ConfigError> {
    let seconds = values.duration("blockstore.s3.pre_signed_expiry")?.unwrap_or(900.0);
    Ok(Presign {
        life: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_mins(15)),
        in_ui: values.bool("blockstore.s3.disable_pre_signed_ui")? == Some(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(yaml: &str) -> Result<Blockstore, ConfigError> {
        blockstore(&Values::from_yaml(yaml)?, &|path| PathBuf::from(path))
    }

    #[test]
    fn an_s3_store_is_read() {
        let yaml = "blockstore: {type: s3, s3: {endpoint: 'http://x:9000', force_path_style: true, \
                    discover_bucket_region: false, credentials: {access_key_id: a, secret_access_key: b}, \
                    max_retries: 2}}";
        let values = Values::from_yaml(yaml).unwrap();
        assert!(values.ignored.is_empty() && values.unknown.is_empty());
        let Ok(Blockstore::S3(config)) = store(yaml) else { panic!("no S3 store") };
        assert_eq!(config.endpoint.as_deref(), Some("http://x:9000"));
        assert!(config.path_style && !config.discover_region);
        assert_eq!(config.attempts, Some(3));
        assert!(!format!("{config:?}").contains("\"b\""), "secrets are not shown");
    }

    #[test]
    fn half_a_key_pair_names_the_other_half() {
        let error = store("blockstore: {type: s3, s3: {credentials: {access_key_id: a}}}").err().unwrap();
        assert!(error.to_string().contains("blockstore.s3.credentials.secret_access_key"), "{error}");
    }
}
