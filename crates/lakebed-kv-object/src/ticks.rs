//! Time that passes: what leases are measured with. The date does not matter here, only how long something took.

use std::time::Duration;

use async_trait::async_trait;

/// A stop-watch and an alarm. Injected, so that a simulation decides how fast each server's clock runs.
#[async_trait]
pub trait Ticks: Send + Sync + 'static {
    /// Time since some beginning. Never goes back, and goes on while the machine sleeps.
    fn now(&self) -> Duration;

    /// Returns when `duration` has passed.
    async fn sleep(&self, duration: Duration);
}

/// The machine's.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemTicks;

#[async_trait]
impl Ticks for SystemTicks {
    fn now(&self) -> Duration {
        // Not the monotonic clock: it stands still while a virtual machine or a laptop is suspended, and a lease that
        // ran out meanwhile would look valid.
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        let now = rustix::time::clock_gettime(clock);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
