//! A PostgreSQL server of a test's own, and a wire to it that can be cut.
#![allow(dead_code)] // each test file uses its part

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The directory of the newest server's programs: Debian's place, or the path.
pub(crate) fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_default()
}

/// The user the server runs as, if we are root: it refuses that.
fn owner() -> Option<(u32, u32)> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ours = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    if ours.split_whitespace().next() != Some("0") {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let fields: Vec<&str> =
        line.expect("PostgreSQL refuses root and needs the user postgres").split(':').collect();
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}

fn command(program: &str, owner: Option<(u32, u32)>) -> Command {
    let program = programs().join(program);
    match owner {
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={user}"))
                .arg(format!("--regid={group}"))
                .arg("--clear-groups")
                .arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// A server on loopback, over a directory that goes with it.
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    owner: Option<(u32, u32)>,
    pub(crate) port: u16,
    process: Option<Child>,
    schemas: AtomicU64,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let owner = owner();
        if let Some((user, group)) = owner {
            chown(directory.path(), Some(user), Some(group)).unwrap();
        }
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let data = directory.path().join("data");
        let made = command("initdb", owner)
            .args(["--no-sync", "--auth=trust", "--username=lakebed", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .current_dir("/")
            .output()
            .expect("PostgreSQL is needed: make test-engines installs it");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut cluster = Self { directory, owner, port, process: None, schemas: AtomicU64::new(0) };
        cluster.launch();
        cluster
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Starts the server and waits until it takes connections.
    pub(crate) fn launch(&mut self) {
        let log = |path: &Path| {
            std::fs::File::options()
                .create(true)
                .append(true)
                .open(path.join("log"))
                .map(Stdio::from)
                .unwrap()
        };
        let process = command("postgres", self.owner)
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", ""])
            // The tests kill processes, never the machine.
            .args(["-c", "fsync=off", "-c", "max_connections=60", "-c", "deadlock_timeout=100ms"])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log(self.directory.path()))
            .stderr(log(self.directory.path()))
            .spawn()
            .unwrap();
        self.process = Some(process);
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.psql("SELECT 1").1 {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{ended:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// What a statement prints, and whether it succeeded.
    pub(crate) fn psql(&self, statement: &str) -> (String, bool) {
        let port = self.port.to_string();
        let out = Command::new(programs().join("psql"))
            .args([
                "-X",
                "-q",
                "-t",
                "-A",
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                "lakebed",
                "-d",
                "postgres",
                "-c",
            ])
            .arg(statement)
            .output()
            .unwrap();
        (String::from_utf8_lossy(&out.stdout).trim().to_owned(), out.status.success())
    }

    /// Ends the server as a crash of its processes would: `QUIT` gives nobody time for anything.
    pub(crate) fn crash(&mut self) {
        let mut process = self.process.take().unwrap();
        let pid = process.id().to_string();
        Command::new("kill").args(["-QUIT", &pid]).status().unwrap();
        process.wait().unwrap();
    }

    /// A name no engine has used yet.
    pub(crate) fn fresh(&self) -> String {
        let schema = format!("test_{}", self.schemas.fetch_add(1, Ordering::SeqCst));
        assert!(self.psql(&format!("CREATE SCHEMA {schema}")).1, "{}", self.log());
        schema
    }

    /// The address of a schema, over this port or that of a wire.
    pub(crate) fn address(schema: &str, port: u16) -> String {
        format!("postgres://lakebed@127.0.0.1:{port}/postgres?sslmode=disable&search_path={schema}")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.crash();
        }
    }
}

/// What a [`Wire`] does to the next statement that is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cut {
    Never = 0,
    /// Before the server gets it.
    Before = 1,
    /// When the server has it, whatever comes of it.
    Meanwhile = 2,
    /// When the server has answered it, before the client hears of it.
    After = 3,
}

/// A wire from a port of its own to the server.
pub(crate) struct Wire {
    pub(crate) port: u16,
    next: Arc<AtomicU8>,
    pub(crate) cuts: Arc<AtomicU64>,
    carrier: tokio::task::JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (next, cuts): (Arc<AtomicU8>, Arc<AtomicU64>) = Default::default();
        let carrier = tokio::spawn({
            let (next, cuts) = (next.clone(), cuts.clone());
            async move {
                let mut carried = tokio::task::JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
                        carried.spawn(carry(client, server, next.clone(), cuts.clone()));
                    }
                }
            }
        });
        Self { port, next, cuts, carrier }
    }

    /// The next statement executed over any connection is cut off so, once.
    pub(crate) fn cut(&self, how: Cut) {
        self.next.store(how as u8, Ordering::SeqCst);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

/// Carries bytes both ways. The driver sends a statement in one piece that begins with its `Bind` message, and the
/// server's answer to it ends with `ReadyForQuery`: 'Z', length 5, status.
async fn carry(mut client: TcpStream, mut server: TcpStream, next: Arc<AtomicU8>, cuts: Arc<AtomicU64>) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut up, mut down) = (vec![0; 1 << 20], vec![0; 1 << 16]);
    let mut after = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let how = if up[0] == b'B' { next.swap(Cut::Never as u8, Ordering::SeqCst) } else { 0 };
                if how != 0 {
                    cuts.fetch_add(1, Ordering::SeqCst);
                }
                if how == Cut::Before as u8 {
                    return;
                }
                after |= how == Cut::After as u8;
                if server.write_all(&up[..count]).await.is_err() || how == Cut::Meanwhile as u8 {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if after {
                    if down[..count].ends_with(b"Z\0\0\0\x05I") {
                        return;
                    }
                    continue;
                }
                if client.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
