//! One store, or several at once (`operations.md` 2.8).

use std::path::{Path, PathBuf};

use lakebed_blocks::StoreId;

use super::store::{self, Blockstore, Presign};
use super::{ConfigError, Values};

/// An item of `blockstores.stores`: what it has beyond a single store, and the rest as `blockstore.*`.
#[derive(Debug)]
pub(crate) struct StoreValues {
    pub(super) id: String,
    pub(super) description: String,
    pub(super) backward_compatible: bool,
    pub(super) values: Values,
}

/// A store.
#[derive(Clone, Debug)]
pub(crate) struct StoreSettings {
    /// Empty for a single store.
    pub(crate) id: StoreId,
    pub(crate) description: String,
    /// Serves repositories without a storage id.
    pub(crate) backward_compatible: bool,
    pub(crate) blockstore: Blockstore,
    pub(crate) presign: Presign,
    pub(crate) default_namespace_prefix: Option<String>,
}

/// The stores that are configured: one without an id, or several with one each.
pub(super) fn stores(
    values: &Values,
    expand: &dyn Fn(&str) -> PathBuf,
) -> Result<Vec<StoreSettings>, ConfigError> {
    if !values.has_several_stores() {
        let only = settings(values, expand)?;
        return Ok(vec![StoreSettings { backward_compatible: true, ..only }]);
    }
    if let Some(key) = values.first_below("blockstore.") {
        return Err(refused(format!(
            "'{key}' and 'blockstores' exclude each other: configure one store or several"
        )));
    }
    if values.stores.is_empty() {
        return Err(ConfigError::Missing { keys: vec!["blockstores.stores"], hint: "" });
    }
    let mut stores: Vec<StoreSettings> = Vec::with_capacity(values.stores.len());
    for (at, item) in values.stores.iter().enumerate() {
        let within =
            |error: ConfigError| ConfigError::InStore { at, id: item.id.clone(), source: Box::new(error) };
        let id: StoreId = match item.id.parse() {
            Ok(id) if !item.id.is_empty() => id,
            Ok(_) => return Err(within(ConfigError::Missing { keys: vec!["id"], hint: "" })),
            Err(error) => return Err(within(refused(format!("id: {error}")))),
        };
        if stores.iter().any(|other| other.id == id) {
            return Err(refused(format!("two of 'blockstores.stores' have the id '{id}'")));
        }
        if item.values.text("blockstore.type").is_none() {
            return Err(within(ConfigError::Missing { keys: vec!["type"], hint: "" }));
        }
        item.values.check_types().map_err(within)?;
        let store = settings(&item.values, expand).map_err(within)?;
        stores.push(StoreSettings {
            id,
            description: item.description.clone(),
            backward_compatible: item.backward_compatible,
            ..store
        });
    }
    check_together(&stores)?;
    Ok(stores)
}

/// The values of the store that CreateBucket makes repositories in.
pub(super) fn of_created<'a>(values: &'a Values, id: &str) -> Result<&'a Values, ConfigError> {
    if !values.has_several_stores() {
        return if id.is_empty() { Ok(values) } else { Err(no_store(id)) };
    }
    let wanted = |item: &&StoreValues| if id.is_empty() { item.backward_compatible } else { item.id == id };
    values.stores.iter().find(wanted).map(|item| &item.values).ok_or_else(|| no_store(id))
}

fn no_store(id: &str) -> ConfigError {
    const KEY: &str = "gateways.s3.create_repository.storage_id";
    let supported = "the id of one of 'blockstores.stores'; none only if one of them is backward_compatible";
    ConfigError::Unsupported { key: KEY, value: id.to_owned(), supported }
}

fn settings(values: &Values, expand: &dyn Fn(&str) -> PathBuf) -> Result<StoreSettings, ConfigError> {
    Ok(StoreSettings {
        id: StoreId::default(),
        description: String::new(),
        backward_compatible: false,
        blockstore: store::blockstore(values, expand)?,
        presign: store::presign(values)?,
        default_namespace_prefix: values.text("blockstore.default_namespace_prefix").map(str::to_owned),
    })
}

/// What stores must not have in common.
fn check_together(stores: &[StoreSettings]) -> Result<(), ConfigError> {
    let several = |chosen: &dyn Fn(&StoreSettings) -> bool| {
        let found: Vec<&str> =
            stores.iter().filter(|store| chosen(store)).map(|store| store.id.as_str()).collect();
        (found.len() > 1).then(|| found.join(", "))
    };
    if let Some(ids) = several(&|store| store.backward_compatible) {
        return Err(refused(format!(
            "only one of 'blockstores.stores' may be backward_compatible, not all of these: {ids}"
        )));
    }
    let of_environment = |store: &StoreSettings| match &store.blockstore {
        Blockstore::S3(s3) => {
            s3.credentials.is_none() && s3.profile.is_none() && s3.credentials_file.is_none()
        }
        _ => false,
    };
    if let Some(ids) = several(&of_environment) {
        return Err(refused(format!(
            "only one S3 store may take its credentials from the environment, give all but one of these their own: {ids}"
        )));
    }
    for (at, store) in stores.iter().enumerate() {
        let Blockstore::Local(one, _) = &store.blockstore else { continue };
        for other in &stores[at + 1..] {
            let Blockstore::Local(two, _) = &other.blockstore else { continue };
            if overlap(one, two) {
                return Err(refused(format!(
                    "the directories of the stores '{}' and '{}' lie within each other",
                    store.id, other.id
                )));
            }
        }
    }
    Ok(())
}

fn overlap(one: &Path, two: &Path) -> bool {
    let plain = |path: &Path| {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        std::fs::canonicalize(&absolute).unwrap_or(absolute)
    };
    let (one, two) = (plain(one), plain(two));
    one.starts_with(&two) || two.starts_with(&one)
}

fn refused(why: String) -> ConfigError {
    ConfigError::Stores(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNING: &str = "signing: {secret_key: k}";

    fn read(yaml: &str) -> Result<Vec<StoreSettings>, ConfigError> {
        let mut values = Values::from_yaml(yaml)?;
        values.overlay(|_| None);
        assert!(values.unknown.is_empty(), "{:?}", values.unknown);
        stores(&values, &|path| PathBuf::from(path))
    }

    fn several(items: &str) -> Result<Vec<StoreSettings>, ConfigError> {
        read(&format!("blockstores: {{{SIGNING}, stores: [{items}]}}"))
    }

    fn why(items: &str) -> String {
        several(items).err().unwrap().to_string()
    }

    const LOCAL: &str =
        "{id: here, type: local, backward_compatible: true, description: ours, local: {path: /x/a}}";

    #[test]
    fn a_single_store_serves_all_repositories() {
        let stores = read("blockstore: {type: mem}").unwrap();
        assert!(stores.len() == 1 && stores[0].id.is_empty() && stores[0].backward_compatible);
    }

    #[test]
    fn stores_have_the_keys_of_a_single_one() {
        let s3 = "{id: there, type: s3, s3: {endpoint: 'http://x', pre_signed_expiry: 1m, credentials: \
                  {access_key_id: a, secret_access_key: b}}}";
        let stores = several(&format!("{LOCAL}, {s3}")).unwrap();
        assert_eq!((stores[0].id.as_str(), stores[0].description.as_str()), ("here", "ours"));
        assert!(stores[0].backward_compatible && !stores[1].backward_compatible);
        assert!(
            matches!(&stores[1].blockstore, Blockstore::S3(s3) if s3.endpoint.as_deref() == Some("http://x"))
        );
        assert_eq!(stores[1].presign.life, std::time::Duration::from_mins(1));
    }

    #[test]
    fn one_store_and_several_exclude_each_other() {
        let both = format!("blockstore: {{type: mem}}\nblockstores: {{{SIGNING}, stores: [{LOCAL}]}}");
        let error = read(&both).err().unwrap().to_string();
        assert!(error.contains("'blockstore.type' and 'blockstores' exclude each other"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_store_names_it() {
        assert!(why("{type: mem}").contains("blockstores.stores[0]"));
        assert!(why(&format!("{LOCAL}, {{id: b}}")).contains("blockstores.stores[1] ('b')"));
        let error = why("{id: b, type: ftp}");
        assert!(error.contains("'b'") && error.contains("ftp"), "{error}");
        assert!(why("{id: 'a b', type: mem}").contains("letters"));
        assert!(why("{id: a, type: s3, s3: {force_path_style: maybe}}").contains("force_path_style"));
        assert!(why("").contains("blockstores.stores"));
    }

    #[test]
    fn stores_do_not_stand_in_each_others_way() {
        assert!(why("{id: a, type: mem}, {id: a, type: mem}").contains("the id 'a'"));
        let two =
            "{id: a, type: mem, backward_compatible: true}, {id: b, type: mem, backward_compatible: true}";
        assert!(why(two).contains("backward_compatible, not all of these: a, b"));
        let error = why("{id: a, type: s3}, {id: b, type: s3}");
        assert!(error.contains("credentials") && error.contains("a, b"), "{error}");
        assert!(several("{id: a, type: s3}, {id: b, type: s3, s3: {profile: p}}").is_ok());
        let inside =
            why("{id: a, type: local, local: {path: /x/a}}, {id: b, type: local, local: {path: /x/a/b}}");
        assert!(inside.contains("within each other"), "{inside}");
        assert!(
            several("{id: a, type: local, local: {path: /x/a}}, {id: b, type: local, local: {path: /x/ab}}")
                .is_ok()
        );
    }

    #[test]
    fn unknown_keys_of_a_store_are_named_where_they_are() {
        let values =
            Values::from_yaml("blockstores: {stores: [{id: a, type: mem, s3: {regoin: x}}]}").unwrap();
        assert_eq!(values.unknown[0].0, "blockstores.stores[0].s3.regoin");
    }
}
