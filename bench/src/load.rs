//! Running one operation many times from many clients, and what it cost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::http::Connection;
use crate::server::Server;

/// What a row's operations cost.
pub(crate) struct Cost {
    pub(crate) operations: usize,
    /// Until the last answer.
    pub(crate) took: Duration,
    /// Server CPU seconds until the last answer, and with the work that followed in the background.
    pub(crate) cpu_answered: f64,
    pub(crate) cpu: f64,
    /// Sorted.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) peak_mib: f64,
}

impl Cost {
    pub(crate) fn rate(&self) -> f64 {
        self.operations as f64 / self.took.as_secs_f64()
    }

    /// Server CPU of one operation in milliseconds.
    pub(crate) fn cpu_ms(&self) -> f64 {
        self.cpu * 1e3 / self.operations as f64
    }

    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }
}

/// Calls `operation` with every number below `count`, from `clients` threads with a connection each. The first failure
/// ends the run.
pub(crate) fn spread<F>(
    server: &Server,
    clients: usize,
    count: usize,
    operation: F,
) -> Result<Vec<Duration>, Failure>
where
    F: Fn(&mut Connection, usize) -> Result<(), Failure> + Sync,
{
    let next = AtomicUsize::new(0);
    let mut latencies: Vec<Duration> = std::thread::scope(|scope| {
        let client = || -> Result<Vec<Duration>, Failure> {
            let mut connection = Connection::open(server.address)?;
            let mut latencies = Vec::with_capacity(count / clients + 1);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(latencies);
                }
                let begun = Instant::now();
                operation(&mut connection, number).inspect_err(|_| next.store(count, Ordering::Relaxed))?;
                latencies.push(begun.elapsed());
            }
        };
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let mut all = Vec::with_capacity(count);
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a client panicked")??);
        }
        Ok::<_, Failure>(all)
    })?;
    latencies.sort_unstable();
    Ok(latencies)
}

/// [`spread`], measured from an idle server to an idle server.
pub(crate) fn measure<F>(server: &Server, clients: usize, count: usize, operation: F) -> Result<Cost, Failure>
where
    F: Fn(&mut Connection, usize) -> Result<(), Failure> + Sync,
{
    server.wait_idle()?;
    server.reset_peak()?;
    let (cpu, begun) = (server.cpu()?, Instant::now());
    let latencies = spread(server, clients, count, operation)?;
    let took = begun.elapsed();
    let cpu_answered = server.cpu()? - cpu;
    server.wait_idle()?;
    let cpu = server.cpu()? - cpu;
    Ok(Cost { operations: count, took, cpu_answered, cpu, latencies, peak_mib: server.peak_mib()? })
}
