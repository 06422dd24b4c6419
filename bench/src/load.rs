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
    /// How many operations each server answered.
    pub(crate) answered_by: Vec<usize>,
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

    /// What the server with the fewest operations did, of what the one with the most did: 1 is fair.
    pub(crate) fn fairness(&self) -> f64 {
        let most = self.answered_by.iter().max().copied().unwrap_or_default();
        let fewest = self.answered_by.iter().min().copied().unwrap_or_default();
        fewest as f64 / most.max(1) as f64
    }

    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }
}

/// What [`spread`] saw.
pub(crate) struct Seen {
    /// Sorted.
    latencies: Vec<Duration>,
    answered_by: Vec<usize>,
}

/// Calls `operation` with every number below `count`, from `clients` threads with a connection each. The first failure
/// ends the run.
pub(crate) fn spread<F>(server: &Server, clients: usize, count: usize, operation: F) -> Result<Seen, Failure>
where
    F: Fn(&mut Connection, usize) -> Result<(), Failure> + Sync,
{
    let (next, operation) = (&AtomicUsize::new(0), &operation);
    std::thread::scope(|scope| {
        let client = move |number: usize| -> Result<Vec<Duration>, Failure> {
            let mut connection = Connection::open(server.address_of(number))?;
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
        let threads: Vec<_> = (0..clients).map(|number| scope.spawn(move || client(number))).collect();
        let mut latencies = Vec::with_capacity(count);
        let mut answered_by = vec![0; server.count()];
        for (number, thread) in threads.into_iter().enumerate() {
            let own = thread.join().map_err(|_| "a client panicked")??;
            answered_by[number % server.count()] += own.len();
            latencies.extend(own);
        }
        latencies.sort_unstable();
        Ok(Seen { latencies, answered_by })
    })
}

/// [`spread`], measured from an idle server to an idle server.
pub(crate) fn measure<F>(server: &Server, clients: usize, count: usize, operation: F) -> Result<Cost, Failure>
where
    F: Fn(&mut Connection, usize) -> Result<(), Failure> + Sync,
{
    server.wait_idle()?;
    server.reset_peak()?;
    let (cpu, begun) = (server.cpu()?, Instant::now());
    let Seen { latencies, answered_by } = spread(server, clients, count, operation)?;
    let took = begun.elapsed();
    let cpu_answered = server.cpu()? - cpu;
    server.wait_idle()?;
    let cpu = server.cpu()? - cpu;
    Ok(Cost {
        operations: count,
        took,
        cpu_answered,
        cpu,
        latencies,
        answered_by,
        peak_mib: server.peak_mib()?,
    })
}
