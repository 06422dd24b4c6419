//! How a server is told to stop.

use tokio_util::sync::CancellationToken;

/// The word to stop, said twice at most: first to finish what is in flight, then to leave it. Clones hear the same.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    asked: CancellationToken,
    urged: CancellationToken,
}

impl Stop {
    /// Nothing was said so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finish what is in flight, take nothing more.
    pub fn ask(&self) {
        self.asked.cancel();
    }

    /// Leave what is in flight. Implies [`Stop::ask`].
    pub fn urge(&self) {
        self.asked.cancel();
        self.urged.cancel();
    }

    /// Resolves when the server shall stop.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Resolves when it shall stop at once.
    pub async fn urged(&self) {
        self.urged.cancelled().await;
    }

    /// Whether it shall stop at once.
    pub fn is_urgent(&self) -> bool {
        self.urged.is_cancelled()
    }
}
