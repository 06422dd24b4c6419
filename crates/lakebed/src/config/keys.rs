//! Every documented configuration key, with its type. A key that is not here is unknown; one that is has either an
//! effect or is accepted so that existing files and environments start the server (`operations.md` §2).

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// A list, or one comma-separated text.
    List,
    Bool,
    Int,
    /// Go's syntax: `1h30m`; a bare number is nanoseconds.
    Duration,
}

/// A known key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether this server does something with it.
    pub(crate) used: bool,
}

macro_rules! keys {
    ($($name:literal $kind:ident $used:ident;)*) => {
        /// The table.
        pub(crate) const KEYS: &[Key] = &[$(Key { name: $name, kind: Kind::$kind, used: keys!(@ $used) }),*];
    };
    (@ used) => { true };
    (@ ignored) => { false };
}

keys! {
    "listen_address" Text used;
    "tls.enabled" Bool used;
    "tls.cert_file" Text used;
    "tls.key_file" Text used;
    "ui.enabled" Bool ignored;
    "debug.enabled" Bool used;
    "shutdown.grace" Duration used;
    "shutdown.drain_timeout" Duration used;
    "connections.receive_timeout" Duration used;
    "connections.send_timeout" Duration used;
    "logging.format" Text used;
    "logging.level" Text used;
    "logging.audit_log_level" Text used;
    "logging.output" List used;
    "logging.file_max_size_mb" Int used;
    "logging.files_keep" Int used;
    "logging.trace_request_headers" Bool ignored;
    "tracing.otlp.endpoint" Text used;
    "tracing.otlp.headers" List used;
    "tracing.otlp.timeout" Duration used;
    "tracing.sample_ratio" Text used;
    "tracing.paths" Bool used;
    "actions.enabled" Bool ignored;
    "actions.lua.net_http_enabled" Bool ignored;
    "actions.env.enabled" Bool ignored;
    "actions.env.prefix" Text ignored;
    "database.type" Text used;
    "database.local.path" Text used;
    "database.local.cache_bytes" Int used;
    "database.local.sync_writes" Bool ignored;
    "database.local.prefetch_size" Int ignored;
    "database.local.enable_logging" Bool ignored;
    "database.postgres.connection_string" Text used;
    "database.postgres.max_open_connections" Int used;
    "database.postgres.max_idle_connections" Int used;
    "database.postgres.connection_max_lifetime" Duration used;
    "database.dynamodb.table_name" Text used;
    "database.dynamodb.scan_limit" Int used;
    "database.dynamodb.endpoint" Text used;
    "database.dynamodb.aws_region" Text used;
    "database.dynamodb.aws_profile" Text used;
    "database.dynamodb.aws_access_key_id" Text used;
    "database.dynamodb.aws_secret_access_key" Text used;
    "database.dynamodb.health_check_interval" Duration used;
    "database.dynamodb.max_attempts" Int used;
    "database.dynamodb.max_connections" Int used;
    "database.object.prefix" Text used;
    "database.object.lease" Duration used;
    "database.object.checkpoint_bytes" Int used;
    "database.object.cache_bytes" Int used;
    "database.object.server_name" Text used;
    "database.drop_tables" Bool ignored;
    "database.connection_string" Text ignored;
    "database.max_open_connections" Int ignored;
    "database.max_idle_connections" Int ignored;
    "database.connection_max_lifetime" Duration ignored;
    "auth.encrypt.secret_key" Text used;
    "auth.login_duration" Duration used;
    "auth.login_max_duration" Duration ignored;
    "auth.cookie_domain" Text ignored;
    "auth.logout_redirect_url" Text ignored;
    "auth.cache.enabled" Bool ignored;
    "auth.cache.size" Int ignored;
    "auth.cache.ttl" Duration ignored;
    "auth.cache.jitter" Duration ignored;
    "auth.ui_config.rbac" Text ignored;
    "auth.ui_config.use_login_placeholders" Bool ignored;
    "auth.ui_config.login_url" Text ignored;
    "auth.ui_config.login_url_method" Text ignored;
    "auth.ui_config.logout_url" Text ignored;
    "auth.ui_config.login_failed_message" Text ignored;
    "auth.ui_config.fallback_login_url" Text ignored;
    "auth.ui_config.fallback_login_label" Text ignored;
    "auth.ui_config.login_cookie_names" List ignored;
    "blockstore.type" Text used;
    "blockstore.default_namespace_prefix" Text used;
    "blockstore.signing.secret_key" Text used;
    "blockstore.timeout" Duration used;
    "blockstore.local.path" Text used;
    "blockstore.s3.region" Text used;
    "blockstore.s3.profile" Text used;
    "blockstore.s3.credentials_file" Text used;
    "blockstore.s3.credentials.access_key_id" Text used;
    "blockstore.s3.credentials.secret_access_key" Text used;
    "blockstore.s3.credentials.session_token" Text used;
    "blockstore.s3.endpoint" Text used;
    "blockstore.s3.force_path_style" Bool used;
    "blockstore.s3.discover_bucket_region" Bool used;
    "blockstore.s3.skip_verify_certificate_test_only" Bool used;
    "blockstore.s3.server_side_encryption" Text used;
    "blockstore.s3.server_side_encryption_kms_key_id" Text used;
    "blockstore.s3.pre_signed_expiry" Duration used;
    "blockstore.s3.pre_signed_endpoint" Text used;
    "blockstore.s3.disable_pre_signed" Bool used;
    "blockstore.s3.disable_pre_signed_ui" Bool used;
    "blockstore.s3.disable_pre_signed_multipart" Bool used;
    "blockstore.s3.max_retries" Int used;
    "blockstore.s3.client_log_request" Bool ignored;
    "blockstore.s3.client_log_retries" Bool ignored;
    "blockstore.s3.web_identity.session_duration" Duration ignored;
    "blockstore.s3.web_identity.session_expiry_window" Duration ignored;
    "blockstore.gs.credentials_file" Text used;
    "blockstore.gs.credentials_json" Text used;
    "blockstore.gs.endpoint" Text used;
    "blockstore.gs.pre_signed_expiry" Duration used;
    "blockstore.gs.disable_pre_signed" Bool used;
    "blockstore.gs.disable_pre_signed_ui" Bool used;
    "blockstore.gs.server_side_encryption_customer_supplied" Text used;
    "blockstore.gs.server_side_encryption_kms_key_id" Text used;
    "blockstore.gs.max_retries" Int used;
    "blockstore.azure.storage_account" Text used;
    "blockstore.azure.storage_access_key" Text used;
    "blockstore.azure.sas_token" Text used;
    "blockstore.azure.domain" Text used;
    "blockstore.azure.endpoint" Text used;
    "blockstore.azure.china_cloud" Bool used;
    "blockstore.azure.auth_method" Text ignored;
    "blockstore.azure.pre_signed_expiry" Duration used;
    "blockstore.azure.disable_pre_signed" Bool used;
    "blockstore.azure.disable_pre_signed_ui" Bool used;
    "blockstore.azure.max_retries" Int used;
    "blockstore.local.import_enabled" Bool used;
    "blockstore.local.import_hidden" Bool used;
    "blockstore.local.allowed_external_prefixes" List used;
    "blockstores.signing.secret_key" Text used;
    "graveler.ensure_readable_root_namespace" Bool ignored;
    "graveler.max_batch_delay" Duration ignored;
    "graveler.background.rate_limit" Int ignored;
    "graveler.reposiory_cache.size" Int ignored;
    "graveler.reposiory_cache.ttl" Duration ignored;
    "graveler.reposiory_cache.jitter" Duration ignored;
    "graveler.repository_cache.size" Int ignored;
    "graveler.repository_cache.ttl" Duration ignored;
    "graveler.repository_cache.jitter" Duration ignored;
    "graveler.commit_cache.size" Int ignored;
    "graveler.commit_cache.ttl" Duration ignored;
    "graveler.commit_cache.jitter" Duration ignored;
    "committed.block_storage_prefix" Text ignored;
    "committed.sstable.memory.cache_size_bytes" Int used;
    "committed.local_cache.size_bytes" Int ignored;
    "committed.local_cache.dir" Text ignored;
    "committed.local_cache.range_proportion" Text ignored;
    "committed.local_cache.metarange_proportion" Text ignored;
    "committed.local_cache.range.open_readers" Int ignored;
    "committed.local_cache.range.num_shards" Int ignored;
    "committed.local_cache.metarange.open_readers" Int ignored;
    "committed.local_cache.metarange.num_shards" Int ignored;
    "committed.permanent.min_range_size_bytes" Int ignored;
    "committed.permanent.max_range_size_bytes" Int ignored;
    "committed.permanent.range_raggedness_entries" Int ignored;
    "gateways.s3.domain_name" List used;
    "gateways.s3.region" Text used;
    "gateways.s3.fallback_url" Text used;
    "gateways.s3.verify_unsupported" Bool used;
    "gateways.s3.strict_region" Bool used;
    "gateways.s3.max_clock_skew" Duration used;
    "gateways.s3.max_put_size" Int used;
    "gateways.s3.flat_mode" Bool used;
    "gateways.s3.branch_buckets" Bool used;
    "gateways.s3.list_branch_buckets" Bool used;
    "gateways.s3.list_refs" Text used;
    "gateways.s3.strict_owner" Bool used;
    "gateways.s3.commit_header" Bool used;
    "gateways.s3.create_repository.enabled" Bool used;
    "gateways.s3.create_repository.storage_namespace_template" Text used;
    "gateways.s3.create_repository.storage_id" Text used;
    "gateways.s3.create_repository.default_branch" Text used;
    "gateways.s3.allow_delete_repository" Bool used;
    "gateways.s3.cors.allowed_origins" List used;
    "gateways.s3.cors.allowed_methods" List used;
    "gateways.s3.cors.allowed_headers" List used;
    "gateways.s3.cors.expose_headers" List used;
    "gateways.s3.cors.max_age" Duration used;
    "gateways.s3.redirect.user_agents" List used;
    "gateways.s3.redirect.access_keys" List used;
    "stats.enabled" Bool ignored;
    "stats.flush_interval" Duration ignored;
    "stats.flush_size" Int ignored;
    "stats.address" Text ignored;
    "installation.user_name" Text used;
    "installation.access_key_id" Text used;
    "installation.secret_access_key" Text used;
    "installation.fixed_id" Text ignored;
    "installation.allow_inter_region_storage" Bool ignored;
    "usage_report.enabled" Bool ignored;
    "usage_report.flush_interval" Duration ignored;
    "security.audit_check_interval" Duration ignored;
    "security.check_latest_version" Bool ignored;
    "ugc.prepare_max_file_size" Int ignored;
    "ugc.prepare_interval" Duration ignored;
}

/// Sections of other stores, engines and editions: everything under them is accepted and has no effect here.
pub(crate) const ACCEPTED_SECTIONS: &[&str] = &[
    "database.cosmosdb",
    "database.redis",
    "auth.api",
    "auth.authentication_api",
    "auth.remote_authenticator",
    "auth.cookie_auth_verification",
    "auth.oidc",
    "auth.providers",
    "features",
    "email",
    "iceberg",
    "iceberg_catalog",
];

/// The key of this name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known key whose name is most like `name`.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|key| (distance(name, key.name), key.name))
        .min()
        .filter(|(distance, _)| *distance <= name.len() / 2)
        .map(|(_, name)| name)
}

/// How many single-character edits lead from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_nearest_is_found() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(!KEYS[at + 1..].iter().any(|other| other.name == key.name), "{}", key.name);
        }
        assert_eq!(nearest("logging.levle"), Some("logging.level"));
        assert_eq!(nearest("x"), None);
    }
}
