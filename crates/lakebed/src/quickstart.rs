//! A server with everything embedded, an administrator and a sample repository.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use lakebed_catalog::{ErrorKind, NewRepository};
use lakebed_core::{Entropy, RepositoryId, SystemEntropy};

use crate::assembly::Lake;
use crate::config::{Settings, Values};
use crate::{Failure, home, logging, runtime};

/// The published pair: good for one machine, and known to everybody.
const KEY: &str = "AKIAIOSFOLQUICKSTART";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const REPOSITORY: &str = "quickstart";

#[derive(Args)]
pub(crate) struct Options {
    /// Where everything is kept [default: lakebed under the user's data directory]
    #[arg(long, env = "LAKEBED_QUICKSTART_DIR")]
    dir: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8000", env = "LAKEBED_LISTEN_ADDRESS")]
    listen_address: String,
    /// Listen on an address others can reach, though the key pair is published
    #[arg(long)]
    allow_public: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { dir: None, listen_address: "127.0.0.1:8000".to_owned(), allow_public: false }
    }
}

fn directory(options: &Options) -> Result<PathBuf, Failure> {
    if let Some(dir) = &options.dir {
        return Ok(dir.clone());
    }
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| home().map(|home| home.join(".local/share")));
    Ok(data.ok_or("HOME is not set: name a directory with --dir")?.join("lakebed"))
}

/// The installation's secret, made at the first start and readable by its owner only.
pub(crate) fn secret_key(directory: &Path) -> Result<String, Failure> {
    let path = directory.join("secret_key");
    match std::fs::read_to_string(&path) {
        Ok(secret) => return Ok(secret.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("cannot read '{}': {error}", path.display()).into()),
    }
    crate::assembly::create_directory(directory)
        .map_err(|error| format!("cannot create '{}': {error}", directory.display()))?;
    let mut random = [0; 32];
    SystemEntropy.fill(&mut random);
    let secret = random.iter().fold(String::new(), |all, byte| all + &format!("{byte:02x}"));
    // Whole or not at all, and never lost: without it every stored credential is unreadable.
    let begun = directory.join("secret_key.new");
    let mut file =
        std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&begun)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&begun, &path)?;
    std::fs::File::open(directory)?.sync_all()?;
    Ok(secret)
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    if !is_loopback(&options.listen_address) && !options.allow_public {
        return Err(format!(
            "'{}' can be reached by others, and the quickstart key pair is published: listen on 127.0.0.1, use \
             'lakebed run' with your own keys, or insist with --allow-public",
            options.listen_address
        )
        .into());
    }
    let directory = directory(options)?;
    let mut values = Values::default();
    let secret = secret_key(&directory)?;
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    values.default_to("listen_address", &options.listen_address);
    values.default_to("logging.level", "warn");
    values.default_to("database.type", "local");
    values.default_to("database.local.path", &path("metadata"));
    values.default_to("blockstore.type", "local");
    values.default_to("blockstore.local.path", &path("data"));
    values.default_to("auth.encrypt.secret_key", &secret);
    values.default_to("installation.user_name", "quickstart");
    values.default_to("installation.access_key_id", KEY);
    values.default_to("installation.secret_access_key", SECRET);
    values.read_standard(|name| std::env::var(name).ok());
    let settings = Settings::resolve(&values, home().as_deref())?;
    let exports = logging::start(&settings)?;
    runtime()?.block_on(async {
        let Some(lake) = Lake::open(&settings).await? else { return Ok(()) };
        lake.install(&settings).await?;
        sample(&lake).await?;
        lake.serve(&settings, exports, |address| welcome(&address, &directory)).await
    })
}

/// The sample repository, unless there is one.
async fn sample(lake: &Lake) -> Result<(), Failure> {
    let id: RepositoryId = REPOSITORY.parse()?;
    if lake.catalog.repository(&id).await.is_ok() {
        return Ok(());
    }
    let new = NewRepository {
        id: id.clone(),
        storage_namespace: format!("local://{REPOSITORY}"),
        storage_id: String::new(),
        default_branch: None,
        bare: false,
        read_only: false,
    };
    match lake.catalog.create_repository(new).await {
        Ok(_) => {}
        // Someone deleted the repository and kept its data: that is their affair, the server starts without it.
        Err(error) if error.kind() == ErrorKind::NamespaceRefused => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    lakebed_rest::load_sample_data(&lake.catalog, &id, &"main".parse()?, "quickstart").await?;
    Ok(())
}

fn welcome(address: &str, directory: &Path) {
    // Nobody reads it, then: the server goes on all the same.
    let _ = writeln!(
        std::io::stdout(),
        "
Lakebed is running in quickstart mode.

    Address           : {address}/
    Access Key ID     : {KEY}
    Secret Access Key : {SECRET}
    Everything is in  : {}

The key pair is published: for this machine only. Three things to try:

    curl -u {KEY}:{SECRET} {address}/api/v1/repositories

    curl --aws-sigv4 aws:amz:us-east-1:s3 -u {KEY}:{SECRET} {address}/{REPOSITORY}/main/README.md

    LAKECTL_SERVER_ENDPOINT_URL={address} LAKECTL_CREDENTIALS_ACCESS_KEY_ID={KEY} \\
      LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY={SECRET} lakectl branch list lakefs://{REPOSITORY}

Ctrl-C stops the server; the next start finds everything as it was.
",
        directory.display()
    );
}
