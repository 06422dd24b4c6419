//! Where object bytes are kept (`operations.md` 2.7).

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use lakebed_blocks::{
    AzureStoreConfig, GsCredentials, GsEncryption, GsStoreConfig, LocalImport, Patience, S3Credentials,
    S3StoreConfig,
};

use super::{ConfigError, Values};

/// Where object bytes are kept.
#[derive(Clone, Debug)]
pub(crate) enum Blockstore {
    Local(PathBuf, LocalImport),
    S3(Box<S3StoreConfig>),
    Gs(Box<GsStoreConfig>),
    Azure(Box<AzureStoreConfig>),
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
        "local" => Ok(Blockstore::Local(
            expand(values.text("blockstore.local.path").unwrap_or("~/lakefs/data/block")),
            LocalImport {
                enabled: values.bool("blockstore.local.import_enabled")?.unwrap_or(false),
                hidden: values.bool("blockstore.local.import_hidden")?.unwrap_or(false),
                directories: values
                    .list("blockstore.local.allowed_external_prefixes")
                    .iter()
                    .map(|directory| expand(directory))
                    .collect(),
            },
        )),
        "mem" => Ok(Blockstore::Mem),
        "s3" => Ok(Blockstore::S3(Box::new(s3(values, expand)?))),
        "gs" => Ok(Blockstore::Gs(Box::new(gs(values, expand)?))),
        "azure" => Ok(Blockstore::Azure(Box::new(azure(values)?))),
        other => {
            let (key, value) = ("blockstore.type", other.to_owned());
            Err(ConfigError::Unsupported { key, value, supported: "local, s3, gs, azure, mem" })
        }
    }
}

/// Time limits and repetitions. As configured the latter count the tries after the first.
fn patience(values: &Values, retries: &'static str) -> Result<Patience, ConfigError> {
    let usual = Patience::default();
    Ok(Patience {
        timeout: match values.duration("blockstore.timeout")? {
            Some(seconds) if seconds > 0.0 => Duration::try_from_secs_f64(seconds).unwrap_or(usual.timeout),
            Some(seconds) => {
                let (key, value) = ("blockstore.timeout", format!("{seconds}s"));
                return Err(ConfigError::Unsupported { key, value, supported: "a duration above zero" });
            }
            None => usual.timeout,
        },
        attempts: values
            .int(retries)?
            .map_or(usual.attempts, |retries| u32::try_from(retries).unwrap_or(u32::MAX).saturating_add(1)),
    })
}

fn gs(values: &Values, expand: &dyn Fn(&str) -> PathBuf) -> Result<GsStoreConfig, ConfigError> {
    const CUSTOMER: &str = "blockstore.gs.server_side_encryption_customer_supplied";
    const KMS: &str = "blockstore.gs.server_side_encryption_kms_key_id";
    let text = |key: &'static str| values.text(key).map(str::to_owned);
    let credentials = match (text("blockstore.gs.credentials_file"), text("blockstore.gs.credentials_json")) {
        // The file wins.
        (Some(file), _) => GsCredentials::File(expand(&file)),
        (None, Some(json)) => GsCredentials::Json(json),
        (None, None) => GsCredentials::Environment,
    };
    let encryption = match (text(CUSTOMER), text(KMS)) {
        (Some(_), Some(value)) => {
            let supported = "one of it and blockstore.gs.server_side_encryption_customer_supplied";
            return Err(ConfigError::Unsupported { key: KMS, value, supported });
        }
        (Some(digits), None) => match hex::decode(digits).ok().and_then(|key| key.try_into().ok()) {
            Some(key) => GsEncryption::Customer(key),
            None => return Err(hidden(CUSTOMER, "64 hexadecimal digits, an AES-256 key")),
        },
        (None, Some(key)) => GsEncryption::Kms(key),
        (None, None) => GsEncryption::Default,
    };
    Ok(GsStoreConfig {
        credentials,
        endpoint: endpoint(values, "blockstore.gs.endpoint")?,
        encryption,
        disable_presign: values.bool("blockstore.gs.disable_pre_signed")?.unwrap_or(false),
        patience: patience(values, "blockstore.gs.max_retries")?,
    })
}

fn azure(values: &Values) -> Result<AzureStoreConfig, ConfigError> {
    const KEY: &str = "blockstore.azure.storage_access_key";
    let text = |key: &'static str| values.text(key).map(str::to_owned);
    let account = text("blockstore.azure.storage_account");
    let key = match text(KEY) {
        Some(_) if account.is_none() => return Err(half("blockstore.azure.storage_account")),
        Some(key) => match base64::engine::general_purpose::STANDARD.decode(key.trim()) {
            Ok(key) if !key.is_empty() => Some(key),
            _ => return Err(hidden(KEY, "the account's key as the portal shows it, in base64")),
        },
        None => None,
    };
    let domain = match text("blockstore.azure.domain") {
        None if values.bool("blockstore.azure.china_cloud")? == Some(true) => {
            Some("blob.core.chinacloudapi.cn".to_owned())
        }
        domain => domain,
    };
    Ok(AzureStoreConfig {
        account,
        key,
        sas: text("blockstore.azure.sas_token").map(|token| token.trim_start_matches('?').to_owned()),
        domain,
        endpoint: endpoint(values, "blockstore.azure.endpoint")?,
        disable_presign: values.bool("blockstore.azure.disable_pre_signed")?.unwrap_or(false),
        patience: patience(values, "blockstore.azure.max_retries")?,
    })
}

/// Another server than the service's own.
fn endpoint(values: &Values, key: &'static str) -> Result<Option<String>, ConfigError> {
    match values.text(key) {
        Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
            let value = url.to_owned();
            Err(ConfigError::Unsupported { key, value, supported: "http:// or https:// and a host" })
        }
        url => Ok(url.map(str::to_owned)),
    }
}

/// A secret that cannot be one: it is not shown.
fn hidden(key: &'static str, supported: &'static str) -> ConfigError {
    ConfigError::Unsupported { key, value: "(not shown)".to_owned(), supported }
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
        endpoint: endpoint(values, "blockstore.s3.endpoint")?,
        path_style: values.bool("blockstore.s3.force_path_style")?.unwrap_or(false),
        discover_region: values.bool("blockstore.s3.discover_bucket_region")?.unwrap_or(true),
        encryption: text("blockstore.s3.server_side_encryption"),
        encryption_key: text("blockstore.s3.server_side_encryption_kms_key_id"),
        presign_endpoint: text("blockstore.s3.pre_signed_endpoint"),
        disable_presign: values.bool("blockstore.s3.disable_pre_signed")?.unwrap_or(false),
        disable_presign_parts: values.bool("blockstore.s3.disable_pre_signed_multipart")?.unwrap_or(false),
        patience: patience(values, "blockstore.s3.max_retries")?,
    })
}

fn half(key: &'static str) -> ConfigError {
    ConfigError::Missing { keys: vec![key], hint: "" }
}

/// For stores that cannot presign it says nothing.
pub(super) fn presign(values: &Values) -> Result<Presign, ConfigError> {
    let (life, hidden) = match values.text("blockstore.type").unwrap_or_default() {
        "gs" => ("blockstore.gs.pre_signed_expiry", "blockstore.gs.disable_pre_signed_ui"),
        "azure" => ("blockstore.azure.pre_signed_expiry", "blockstore.azure.disable_pre_signed_ui"),
        _ => ("blockstore.s3.pre_signed_expiry", "blockstore.s3.disable_pre_signed_ui"),
    };
    let seconds = values.duration(life)?.unwrap_or(900.0);
    Ok(Presign {
        life: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_mins(15)),
        in_ui: values.bool(hidden)? == Some(false),
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
        assert_eq!(config.patience.attempts, 3);
        assert!(!format!("{config:?}").contains("\"b\""), "secrets are not shown");
    }

    #[test]
    fn a_google_store_is_read() {
        let yaml = "blockstore: {type: gs, timeout: 5s, gs: {credentials_file: /key.json, credentials_json: '{}', \
                    endpoint: 'http://x:4443', max_retries: 0}}";
        let values = Values::from_yaml(yaml).unwrap();
        assert!(values.ignored.is_empty() && values.unknown.is_empty());
        let Ok(Blockstore::Gs(config)) = store(yaml) else { panic!("no Google store") };
        assert!(
            matches!(&config.credentials, GsCredentials::File(file) if file == &PathBuf::from("/key.json"))
        );
        assert_eq!(config.patience, Patience { timeout: Duration::from_secs(5), attempts: 1 });
        let key = "00".repeat(32);
        let gs = |more: &str| store(&format!("blockstore: {{type: gs, gs: {{{more}}}}}"));
        let customer = format!("server_side_encryption_customer_supplied: '{key}'");
        assert!(gs(&customer).is_ok());
        let error = gs(&format!("{customer}, server_side_encryption_kms_key_id: k")).err().unwrap();
        assert!(error.to_string().contains("one of it and"), "{error}");
        let error = gs("server_side_encryption_customer_supplied: 'c0ffee'").err().unwrap().to_string();
        assert!(error.contains("64 hexadecimal") && !error.contains("c0ffee"), "{error}");
    }

    #[test]
    fn an_azure_store_is_read() {
        let azure = |more: &str| store(&format!("blockstore: {{type: azure, azure: {{{more}}}}}"));
        let Ok(Blockstore::Azure(config)) =
            azure("storage_account: lake, storage_access_key: c2VjcmV0, china_cloud: true")
        else {
            panic!("no Azure store")
        };
        assert_eq!(config.key.as_deref(), Some(b"secret".as_slice()));
        assert_eq!(config.domain.as_deref(), Some("blob.core.chinacloudapi.cn"));
        assert!(!format!("{config:?}").contains("115"), "secrets are not shown");
        let error = azure("storage_access_key: c2VjcmV0").err().unwrap().to_string();
        assert!(error.contains("blockstore.azure.storage_account"), "{error}");
        let error = azure("storage_account: lake, storage_access_key: 'no key!'").err().unwrap().to_string();
        assert!(error.contains("base64") && !error.contains("no key!"), "{error}");
        let error = azure("endpoint: 'localhost:10000'").err().unwrap().to_string();
        assert!(error.contains("blockstore.azure.endpoint") && error.contains("http://"), "{error}");
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let error = store("blockstore: {type: gs, timeout: 0s}").err().unwrap();
        assert!(error.to_string().contains("blockstore.timeout"), "{error}");
    }

    #[test]
    fn half_a_key_pair_names_the_other_half() {
        let error = store("blockstore: {type: s3, s3: {credentials: {access_key_id: a}}}").err().unwrap();
        assert!(error.to_string().contains("blockstore.s3.credentials.secret_access_key"), "{error}");
    }
}
