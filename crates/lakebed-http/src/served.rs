//! What a request turned out to be, said by the door that answers it, for logs and metrics.
//!
//! The door alone knows which operation a request means and who sent it, and whoever counts and logs stands before the door.
//! The record travels with the task that answers, so no door carries it through its calls.

use std::cell::RefCell;
use std::pin::Pin;

tokio::task_local! {
    static SERVED: RefCell<Served>;
}

/// What a request turned out to be. Empty where it was refused before that was known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Whether more than the operation is wanted.
    pub in_detail: bool,
    /// The operation, in the door's own names (`commit`, `GetObject`).
    pub operation: Option<&'static str>,
    /// Whoever sent it, by user id.
    pub user: Option<String>,
    /// The repository named.
    pub repository: Option<String>,
    /// The ref named.
    pub reference: Option<String>,
}

impl Served {
    /// Answers a request and says what it was, also when the answer is given up half-way: more than the operation only if
    /// `self` asks for it. The answer is taken pinned, for it is large and would be carried twice.
    pub async fn observe<T>(&mut self, answer: Pin<&mut impl Future<Output = T>>) -> T {
        let noted = RefCell::new(std::mem::take(self));
        SERVED
            .scope(noted, async {
                // Dropped in the scope, even if the answer is.
                let _told = Told(self);
                answer.await
            })
            .await
    }

    /// Adds to the record of the request that is being answered, if somebody observes.
    pub fn note(add: impl FnOnce(&mut Self)) {
        let _ = SERVED.try_with(|served| add(&mut served.borrow_mut()));
    }
}

/// Who is told what was noted, when this is dropped.
struct Told<'a>(&'a mut Served);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if let Ok(served) = SERVED.try_with(RefCell::take) {
            *self.0 = served;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn what_is_noted_is_told_to_who_observes() {
        Served::note(|served| served.operation = Some("nobody observes"));
        let answering = async {
            Served::note(|served| served.operation = Some("commit"));
            tokio::task::yield_now().await;
            Served::note(|served| served.repository = Some("lake".to_owned()));
            7
        };
        let mut served = Served { in_detail: true, ..Served::default() };
        assert_eq!(served.observe(pin!(answering)).await, 7);
        let wanted = Served {
            in_detail: true,
            operation: Some("commit"),
            repository: Some("lake".to_owned()),
            ..Served::default()
        };
        assert_eq!(served, wanted);
    }

    #[tokio::test]
    async fn what_was_noted_is_told_of_an_answer_that_was_given_up() {
        let answering = async {
            Served::note(|served| served.operation = Some("commit"));
            std::future::pending::<()>().await;
        };
        let mut served = Served::default();
        let mut answering = pin!(answering);
        assert!(futures::poll!(pin!(served.observe(answering.as_mut()))).is_pending());
        assert_eq!(served.operation, Some("commit"));
    }
}
