//! How much of a transfer is held in memory at once: less, the more of them there are.
//!
//! A client that stops in the middle keeps what the server holds for it. With few clients, pieces are large, because large
//! ones cost less processor time; with thousands they are small, because then memory is what is short. Nobody waits for a
//! budget that stalled clients have used up: every transfer always has a piece of its own.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Transfers under way in this process, in either direction.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Bytes of a piece, up to so many open transfers.
const PACES: [(usize, usize); 2] = [(32, 256 << 10), (128, 64 << 10)];

/// Beyond those.
const LEAST: usize = 16 << 10;

/// A transfer under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Transfer(());

impl Transfer {
    /// One more.
    #[must_use]
    pub fn begin() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The bytes a transfer should hold at once now: 16 to 256 KiB.
pub fn piece() -> usize {
    of(OPEN.load(Ordering::Relaxed))
}

fn of(open: usize) -> usize {
    PACES.iter().find(|(most, _)| open <= *most).map_or(LEAST, |(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pieces_together_are_bounded() {
        // Each was taken when the transfer began, and never let go.
        let held = |transfers: usize| (1..=transfers).map(of).sum::<usize>();
        assert_eq!(held(32), 8 << 20);
        assert!(held(4_000) < 80 << 20);
        assert!(held(10_000) < 170 << 20);
    }
}
