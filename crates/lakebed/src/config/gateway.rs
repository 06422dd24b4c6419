//! The S3 gateway's settings: `gateways.s3.*` (`s3-gateway` §2.1).

use lakebed_s3::{CorsConfig, FallbackUrl, ListedRefs, RedirectConfig, RepositoryTemplate, S3Config};

use super::{ConfigError, StoreSettings, Values, stores};

/// Methods that pages may use unless configured otherwise.
const CORS_METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];

/// What the values say of the gateway.
pub(super) fn gateway(values: &Values, stores: &[StoreSettings]) -> Result<S3Config, ConfigError> {
    let mut config = S3Config::default();
    let domains = values.list("gateways.s3.domain_name");
    if !domains.is_empty() {
        config.domains =
            domains.iter().map(|domain| domain.trim_end_matches('.').to_ascii_lowercase()).collect();
    }
    if let Some(region) = values.text("gateways.s3.region") {
        region.clone_into(&mut config.region);
    }
    let set = |key: &'static str, target: &mut bool| -> Result<(), ConfigError> {
        if let Some(given) = values.bool(key)? {
            *target = given;
        }
        Ok(())
    };
    set("gateways.s3.verify_unsupported", &mut config.verify_unsupported)?;
    set("gateways.s3.strict_region", &mut config.strict_region)?;
    set("gateways.s3.flat_mode", &mut config.flat_mode)?;
    set("gateways.s3.branch_buckets", &mut config.branch_buckets)?;
    set("gateways.s3.list_branch_buckets", &mut config.list_branch_buckets)?;
    set("gateways.s3.strict_owner", &mut config.strict_owner)?;
    set("gateways.s3.commit_header", &mut config.commit_header)?;
    config.list_refs = listed_refs(values)?;
    config.fallback = fallback(values)?;
    // What is a bucket and nothing more is made and deleted like one.
    config.allow_delete_repository = config.flat_mode;
    set("gateways.s3.allow_delete_repository", &mut config.allow_delete_repository)?;
    if let Some(secs) = values.duration("gateways.s3.max_clock_skew")? {
        config.max_clock_skew_secs = secs as i64;
    }
    if let Some(bytes) = values.int("gateways.s3.max_put_size")? {
        config.max_put_bytes = bytes;
    }
    config.create_repository = template(values, config.flat_mode)?;
    config.cors = cors(values)?;
    config.redirect = RedirectConfig {
        user_agents: values.list("gateways.s3.redirect.user_agents"),
        access_keys: values.list("gateways.s3.redirect.access_keys"),
        // Whoever is sent to any of them finds it still open.
        life: stores.iter().map(|store| store.presign.life).min().unwrap_or_default(),
    };
    Ok(config)
}

/// What the first level of a bucket shows.
fn listed_refs(values: &Values) -> Result<ListedRefs, ConfigError> {
    const KEY: &str = "gateways.s3.list_refs";
    match values.text(KEY) {
        None | Some("branches") => Ok(ListedRefs::Branches),
        Some("branches+tags") => Ok(ListedRefs::BranchesAndTags),
        Some(other) => Err(ConfigError::WrongType {
            key: KEY.to_owned(),
            value: other.to_owned(),
            expected: "branches, or branches+tags".to_owned(),
        }),
    }
}

/// The server behind this one, if there is one.
fn fallback(values: &Values) -> Result<Option<FallbackUrl>, ConfigError> {
    const KEY: &str = "gateways.s3.fallback_url";
    let Some(url) = values.text(KEY).filter(|url| !url.is_empty()) else { return Ok(None) };
    url.parse().map(Some).map_err(|()| ConfigError::WrongType {
        key: KEY.to_owned(),
        value: url.to_owned(),
        expected: "the address of a server without a path, such as http://s3proxy:8080".to_owned(),
    })
}

/// What CreateBucket makes, if it makes anything.
fn template(values: &Values, flat_mode: bool) -> Result<Option<RepositoryTemplate>, ConfigError> {
    const TEMPLATE: &str = "gateways.s3.create_repository.storage_namespace_template";
    if !values.bool("gateways.s3.create_repository.enabled")?.unwrap_or(flat_mode) {
        return Ok(None);
    }
    let storage_id = values.text("gateways.s3.create_repository.storage_id").unwrap_or_default();
    let store = stores::of_created(values, storage_id)?;
    let storage_namespace = match values.text(TEMPLATE) {
        Some(template) if template.contains("{name}") => template.to_owned(),
        Some(template) => {
            return Err(ConfigError::WrongType {
                key: TEMPLATE.to_owned(),
                value: template.to_owned(),
                expected: "a namespace with {name} in it, such as s3://bucket/repositories/{name}".to_owned(),
            });
        }
        None => match (store.text("blockstore.default_namespace_prefix"), store.text("blockstore.type")) {
            (Some(prefix), _) => format!("{}/{{name}}", prefix.trim_end_matches('/')),
            (None, Some(scheme @ ("local" | "mem"))) => format!("{scheme}://{{name}}"),
            _ => return Err(ConfigError::Missing { keys: vec![TEMPLATE], hint: "" }),
        },
    };
    let default_branch = values.text("gateways.s3.create_repository.default_branch").unwrap_or("main");
    Ok(Some(RepositoryTemplate {
        storage_namespace,
        storage_id: storage_id.to_owned(),
        default_branch: default_branch.to_owned(),
    }))
}

/// The rules for pages of other origins; there are none until an origin is allowed.
fn cors(values: &Values) -> Result<Option<CorsConfig>, ConfigError> {
    let allowed_origins = values.list("gateways.s3.cors.allowed_origins");
    if allowed_origins.is_empty() {
        return Ok(None);
    }
    let or = |key: &'static str, usual: &[&str]| match values.list(key) {
        none if none.is_empty() => usual.iter().map(|text| (*text).to_owned()).collect(),
        given => given,
    };
    Ok(Some(CorsConfig {
        allowed_origins,
        allowed_methods: or("gateways.s3.cors.allowed_methods", &CORS_METHODS)
            .into_iter()
            .map(|method| method.to_ascii_uppercase())
            .collect(),
        allowed_headers: or("gateways.s3.cors.allowed_headers", &["*"]),
        expose_headers: values.list("gateways.s3.cors.expose_headers"),
        max_age_secs: values.duration("gateways.s3.cors.max_age")?.map(|secs| secs.max(0.0) as u64),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<S3Config, ConfigError> {
        let values = Values::from_yaml(yaml)?;
        assert!(values.unknown.is_empty(), "{:?}", values.unknown);
        gateway(&values, &[])
    }

    #[test]
    fn nothing_is_made_deleted_or_sent_elsewhere_by_default() {
        let config = read("blockstore: {type: local}").unwrap();
        assert!(config.create_repository.is_none() && !config.allow_delete_repository);
        assert!(config.cors.is_none() && !config.flat_mode && config.branch_buckets);
        assert!(config.fallback.is_none() && !config.list_branch_buckets && !config.strict_owner);
        assert!(config.redirect.user_agents.is_empty() && config.redirect.access_keys.is_empty());
    }

    #[test]
    fn listed_refs_are_of_two_kinds() {
        let with = |listed: &str| read(&format!("gateways: {{s3: {{list_refs: '{listed}'}}}}"));
        assert_eq!(read("blockstore: {type: local}").unwrap().list_refs, ListedRefs::Branches);
        assert_eq!(with("branches").unwrap().list_refs, ListedRefs::Branches);
        assert_eq!(with("branches+tags").unwrap().list_refs, ListedRefs::BranchesAndTags);
        assert!(with("tags").is_err());
    }

    #[test]
    fn flat_mode_makes_and_deletes_buckets() {
        let config = read("blockstore: {type: local}\ngateways: {s3: {flat_mode: true}}").unwrap();
        assert!(config.allow_delete_repository);
        let template = config.create_repository.unwrap();
        assert_eq!(
            (template.storage_namespace.as_str(), template.default_branch.as_str()),
            ("local://{name}", "main")
        );
        let off = "blockstore: {type: local}\ngateways: {s3: {flat_mode: true, create_repository: {enabled: false}}}";
        assert!(read(off).unwrap().create_repository.is_none());
    }

    #[test]
    fn a_template_must_name_its_repository() {
        let with = |more: &str| {
            let yaml = format!(
                "blockstore: {{type: s3}}\ngateways: {{s3: {{create_repository: {{enabled: true{more}}}}}}}"
            );
            read(&yaml).map(|config| config.create_repository.unwrap().storage_namespace)
        };
        assert_eq!(with(", storage_namespace_template: 's3://b/{name}'").unwrap(), "s3://b/{name}");
        assert!(with(", storage_namespace_template: 's3://b/one'").is_err());
        assert!(with("").is_err());
    }

    #[test]
    fn cross_origin_rules_begin_with_an_origin() {
        assert!(read("gateways: {s3: {cors: {allowed_methods: [GET]}}}").unwrap().cors.is_none());
        let yaml = "gateways: {s3: {cors: {allowed_origins: 'https://a, https://b', max_age: 10m}}}";
        let cors = read(yaml).unwrap().cors.unwrap();
        assert_eq!(cors.allowed_origins, ["https://a", "https://b"]);
        assert_eq!(cors.allowed_methods, CORS_METHODS);
        assert_eq!((cors.allowed_headers, cors.max_age_secs), (vec!["*".to_owned()], Some(600)));
    }
}
