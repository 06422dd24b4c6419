//! The servers under test: child processes, and what the kernel says of them. One over a directory of its own, or several
//! over one PostgreSQL database and one object store.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::http::Connection;
use crate::rest::Rest;

/// The key pair of every quickstart server.
pub(crate) const KEY: &str = "AKIAIOSFOLQUICKSTART";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// The kernel's clock ticks per second, as `/proc` counts them on Linux.
const TICKS: f64 = 100.0;

/// How long the servers must need no CPU to count as idle.
const QUIET: Duration = Duration::from_millis(700);

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_mins(2);

/// Running servers that show the same repositories; killed when dropped.
pub(crate) struct Server {
    processes: Vec<Process>,
    /// Of the first.
    pub(crate) address: SocketAddr,
    /// What stores the objects of several: a server that is not measured.
    store: Option<Process>,
}

/// One server, at an address that it keeps when it is started again.
struct Process {
    command: Vec<PathBuf>,
    address: SocketAddr,
    child: Mutex<Child>,
}

impl Server {
    /// Starts `binary quickstart` over `directory`.
    pub(crate) fn start(binary: &Path, directory: &Path) -> Result<Self, Failure> {
        Self::of(vec![Process::quickstart(binary, directory)?], None)
    }

    /// Starts `count` servers with their metadata in one database of PostgreSQL, which must be empty, and their data in
    /// `directory`: one server's own, several servers' in a bucket of one more server.
    pub(crate) fn start_over(
        database: &str,
        count: usize,
        binary: &Path,
        directory: &Path,
    ) -> Result<Self, Failure> {
        let (store, blockstore) = if count == 1 {
            (None, serde_json::json!({"type": "local", "local": {"path": directory.join("data")}}))
        } else {
            let store = Process::quickstart(binary, &directory.join("store"))?;
            let mut connection = Connection::open(store.address)?;
            Rest::new(store.address, "local").create_repository(
                &mut connection,
                "objects",
                "local://objects",
            )?;
            let s3 = serde_json::json!({
                "endpoint": format!("http://{}", store.address),
                "force_path_style": true,
                "region": "us-east-1",
                "credentials": {"access_key_id": KEY, "secret_access_key": SECRET},
            });
            (Some(store), serde_json::json!({"type": "s3", "s3": s3}))
        };
        let mut processes = Vec::with_capacity(count);
        for number in 0..count {
            let address = free_address()?;
            let config = serde_json::json!({
                "listen_address": address,
                "logging": {"level": "WARN"},
                "database": {"type": "postgres", "postgres": {"connection_string": database}},
                "blockstore": blockstore,
                "auth": {"encrypt": {"secret_key": "a secret of the benchmarks"}},
                "installation": {"user_name": "bench", "access_key_id": KEY, "secret_access_key": SECRET},
            });
            // JSON is YAML too.
            let file = directory.join(format!("server-{number}.yaml"));
            std::fs::write(&file, config.to_string())?;
            processes.push(Process::start(
                vec![binary.to_owned(), "run".into(), "--config".into(), file],
                address,
            )?);
        }
        Self::of(processes, store)
    }

    fn of(processes: Vec<Process>, store: Option<Process>) -> Result<Self, Failure> {
        let address = processes.first().ok_or("no servers")?.address;
        Ok(Self { processes, address, store })
    }

    /// The calls of its REST API.
    pub(crate) fn rest(&self) -> Rest {
        Rest::new(self.address, if self.store.is_some() { "s3" } else { "local" })
    }

    /// Where a repository may keep its data.
    pub(crate) fn namespace(&self, repository: &str) -> String {
        match self.store {
            None => format!("local://{repository}"),
            // A bucket that is the main branch of the store's repository.
            Some(_) => format!("s3://main.objects/{repository}"),
        }
    }

    /// How many servers there are.
    pub(crate) fn count(&self) -> usize {
        self.processes.len()
    }

    /// Whom a client asks: the clients are dealt out evenly.
    pub(crate) fn address_of(&self, client: usize) -> SocketAddr {
        self.processes[client % self.processes.len()].address
    }

    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }

    /// Stops the first server as an operator would, starts it again, and answers how long it took from the start until it
    /// took connections.
    pub(crate) fn restart(&self) -> Result<Duration, Failure> {
        self.processes.first().ok_or("no servers")?.restart()
    }

    /// CPU seconds used so far, user and system, of all threads that ever ran.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        self.processes.iter().map(Process::cpu).sum()
    }

    /// Waits until background work is done: no CPU used for a while.
    pub(crate) fn wait_idle(&self) -> Result<(), Failure> {
        let step = Duration::from_millis(100);
        let (mut last, mut quiet) = (self.cpu()?, Duration::ZERO);
        while quiet < QUIET {
            std::thread::sleep(step);
            let now = self.cpu()?;
            quiet = if now - last < 0.005 * self.count() as f64 { quiet + step } else { Duration::ZERO };
            last = now;
        }
        Ok(())
    }

    /// Forgets the peaks of resident memory seen so far.
    pub(crate) fn reset_peak(&self) -> Result<(), Failure> {
        for process in &self.processes {
            std::fs::write(format!("/proc/{}/clear_refs", process.id()), "5")?;
        }
        Ok(())
    }

    /// The peak of resident memory since the last reset, in MiB, of the server that used most.
    pub(crate) fn peak_mib(&self) -> Result<f64, Failure> {
        self.processes.iter().try_fold(0.0, |most, process| Ok(process.peak_mib()?.max(most)))
    }
}

impl Process {
    fn quickstart(binary: &Path, directory: &Path) -> Result<Self, Failure> {
        let address = free_address()?;
        let listen = address.to_string();
        let words = ["quickstart", "--listen-address", &listen, "--dir"].map(PathBuf::from);
        let command = [binary.to_owned()].into_iter().chain(words).chain([directory.to_owned()]);
        Self::start(command.collect(), address)
    }

    fn start(command: Vec<PathBuf>, address: SocketAddr) -> Result<Self, Failure> {
        let child = Mutex::new(launch(&command, address)?);
        Ok(Self { command, address, child })
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self) -> u32 {
        self.child().id()
    }

    fn restart(&self) -> Result<Duration, Failure> {
        let mut child = self.child();
        Command::new("kill").arg("-TERM").arg(child.id().to_string()).status()?;
        let ended = child.wait()?;
        if !ended.success() {
            return Err(format!("the server stopped with {ended}").into());
        }
        let begun = Instant::now();
        *child = launch(&self.command, self.address)?;
        Ok(begun.elapsed())
    }

    fn cpu(&self) -> Result<f64, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // The command's name stands in parentheses and may hold anything; numbers follow the last one.
        let (_, numbers) = stat.rsplit_once(')').ok_or("unreadable /proc stat")?;
        let mut numbers = numbers.split_whitespace().skip(11);
        let mut next = || -> Result<f64, Failure> { Ok(numbers.next().ok_or("short /proc stat")?.parse()?) };
        Ok((next()? + next()?) / TICKS)
    }

    fn peak_mib(&self) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// An address of the loopback that nobody listens on now.
fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Starts a server and waits until it takes connections.
fn launch(command: &[PathBuf], address: SocketAddr) -> Result<Child, Failure> {
    let [binary, arguments @ ..] = command else { return Err("no command".into()) };
    let mut child = Command::new(binary)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start '{}': {error}", binary.display()))?;
    // Somebody must read what it says: a server may not be able to write to a pipe that is full or closed.
    let mut out = BufReader::new(child.stdout.take().ok_or("the server has no output")?);
    std::thread::spawn(move || {
        let mut line = String::new();
        while out.read_line(&mut line).is_ok_and(|read| read > 0) {
            line.clear();
        }
    });
    let begun = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(child),
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => return Err(error.into()),
            Err(_) if child.try_wait()?.is_some() => return Err("the server ended before it listened".into()),
            Err(_) if begun.elapsed() > PATIENCE => return Err("the server does not listen".into()),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}
