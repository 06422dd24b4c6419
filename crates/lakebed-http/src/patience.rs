//! How long something is waited for, from the outside of a poll.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A limit to each single wait. While nobody waits, no time runs.
pub struct Patience {
    longest: Duration,
    /// Made with the first wait, and kept.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer runs.
    is_waiting: bool,
}

impl Patience {
    /// Waits for this long at most.
    pub fn new(longest: Duration) -> Self {
        Self { longest, timer: None, is_waiting: false }
    }

    /// The limit.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// What was waited for is there.
    pub fn end(&mut self) {
        self.is_waiting = false;
    }

    /// It is not there: ready if it was waited for too long.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let longest = self.longest;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(longest)));
        if !self.is_waiting {
            timer.as_mut().reset(Instant::now() + longest);
            self.is_waiting = true;
        }
        timer.as_mut().poll(context)
    }
}
