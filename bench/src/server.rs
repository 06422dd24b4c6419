//! The server under test: a child process on a directory of its own, and what the kernel says of it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::Failure;

/// The key pair of every quickstart server.
pub(crate) const KEY: &str = "AKIAIOSFOLQUICKSTART";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// The kernel's clock ticks per second, as `/proc` counts them on Linux.
const TICKS: f64 = 100.0;

/// How long the server must need no CPU to count as idle.
const QUIET: Duration = Duration::from_millis(700);

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Kept open: a server may not be able to write to a pipe that nobody holds.
    _out: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `binary quickstart` on a free port of the loopback.
    pub(crate) fn start(binary: &Path, directory: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(binary)
            .args(["quickstart", "--listen-address", "127.0.0.1:0", "--dir"])
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start '{}': {error}", binary.display()))?;
        let mut out = BufReader::new(child.stdout.take().ok_or("the server has no output")?);
        let mut line = String::new();
        while out.read_line(&mut line)? > 0 {
            if let Some((_, url)) = line.split_once("http://")
                && let Ok(address) = url.trim().trim_end_matches('/').parse()
            {
                return Ok(Self { child, _out: out, address });
            }
            line.clear();
        }
        let _ = child.kill();
        Err("the server ended before it listened".into())
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds used so far, user and system, of all threads that ever ran.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The command's name stands in parentheses and may hold anything; numbers follow the last one.
        let (_, numbers) = stat.rsplit_once(')').ok_or("unreadable /proc stat")?;
        let mut numbers = numbers.split_whitespace().skip(11);
        let mut next = || -> Result<f64, Failure> { Ok(numbers.next().ok_or("short /proc stat")?.parse()?) };
        Ok((next()? + next()?) / TICKS)
    }

    /// Waits until background work is done: no CPU used for a while.
    pub(crate) fn wait_idle(&self) -> Result<(), Failure> {
        let step = Duration::from_millis(100);
        let (mut last, mut quiet) = (self.cpu()?, Duration::ZERO);
        while quiet < QUIET {
            std::thread::sleep(step);
            let now = self.cpu()?;
            quiet = if now - last < 0.005 { quiet + step } else { Duration::ZERO };
            last = now;
        }
        Ok(())
    }

    /// Forgets the peak of resident memory seen so far.
    pub(crate) fn reset_peak(&self) -> Result<(), Failure> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    /// The peak of resident memory since the last reset, in MiB.
    pub(crate) fn peak_mib(&self) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
