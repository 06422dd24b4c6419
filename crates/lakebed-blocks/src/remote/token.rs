//! A token that a service is shown, until shortly before its end.

use std::sync::Arc;

use lakebed_core::Clock;
use tokio::sync::Mutex;

use crate::BlockError;

/// How long before its end a token is replaced.
const EARLY_SECS: i64 = 300;

/// A token as it was given out.
pub(crate) struct Given {
    pub(crate) token: String,
    /// How long it is good from now on.
    pub(crate) life_secs: i64,
}

/// The current token, and when it is to be replaced.
pub(crate) struct HeldToken {
    clock: Arc<dyn Clock>,
    held: Mutex<Option<(String, i64)>>,
}

impl HeldToken {
    /// None so far.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, held: Mutex::default() }
    }

    /// The token to show. Fetched once for all who wait for it; `fetch` is told the time, Unix seconds.
    pub(crate) async fn get<F: Future<Output = Result<Given, BlockError>>>(
        &self,
        fetch: impl FnOnce(i64) -> F,
    ) -> Result<String, BlockError> {
        let mut held = self.held.lock().await;
        let now = self.clock.now().secs();
        if let Some((token, until)) = &*held
            && now < *until
        {
            return Ok(token.clone());
        }
        let Given { token, life_secs } = fetch(now).await?;
        *held = Some((token.clone(), now + (life_secs - EARLY_SECS).max(0)));
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use lakebed_core::{ManualClock, Timestamp};

    use super::*;

    #[tokio::test]
    async fn a_token_is_fetched_once_and_replaced_before_its_end() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000)));
        let (held, fetched) = (HeldToken::new(clock.clone()), AtomicUsize::new(0));
        let get = async || {
            held.get(async |_| {
                let number = fetched.fetch_add(1, Ordering::Relaxed);
                Ok(Given { token: number.to_string(), life_secs: 600 })
            })
            .await
            .unwrap()
        };
        assert_eq!((get().await, get().await), ("0".to_owned(), "0".to_owned()));
        clock.advance_millis(299_000);
        assert_eq!(get().await, "0");
        clock.advance_millis(1000);
        assert_eq!(get().await, "1");
    }
}
