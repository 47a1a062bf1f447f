use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Lets in one at a time, in the order of arrival; those in a hurry go before all others who wait.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    taken: bool,
    hurried: VecDeque<oneshot::Sender<Turn>>,
    ordinary: VecDeque<oneshot::Sender<Turn>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Hurried,
    Ordinary,
}

/// The right to be inside. When it is dropped, it passes to the next who still waits.
#[must_use]
pub(super) struct Turn(Gate);

impl Gate {
    /// Waits for a turn. To stop waiting, drop the future: a turn that was on its way goes on.
    pub(super) async fn enter(&self, pace: Pace) -> Turn {
        let (next, turn) = oneshot::channel();
        {
            let mut queue = self.0.lock();
            if !queue.taken {
                queue.taken = true;
                return Turn(self.clone());
            }
            match pace {
                Pace::Hurried => queue.hurried.push_back(next),
                Pace::Ordinary => queue.ordinary.push_back(next),
            }
        }
        // A sender leaves the queue only to send its turn: this future gets it, or is gone.
        turn.await.unwrap_or_else(|_| unreachable!("a queued sender was dropped"))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut queue = self.0.0.lock();
            let next = loop {
                match queue.hurried.pop_front().or_else(|| queue.ordinary.pop_front()) {
                    Some(gone) if gone.is_closed() => {}
                    next => break next,
                }
            };
            queue.taken = next.is_some();
            next
        };
        if let Some(next) = next {
            // If the receiver has just left, the turn comes back, is dropped here, and so passes
            // on.
            drop(next.send(Turn(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_hurried_go_before_all_who_wait() {
        let gate = Gate::default();
        let (mut inside, mut first) =
            (pin!(gate.enter(Pace::Ordinary)), pin!(gate.enter(Pace::Ordinary)));
        let (mut second, mut hurried) =
            (pin!(gate.enter(Pace::Ordinary)), pin!(gate.enter(Pace::Hurried)));
        let Poll::Ready(turn) = poll(inside.as_mut()) else { panic!("an open gate") };
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(hurried.as_mut()).is_pending());

        drop(turn);
        assert!(poll(first.as_mut()).is_pending());
        let Poll::Ready(turn) = poll(hurried.as_mut()) else { panic!("the hurried was next") };
        drop(turn);
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(first.as_mut()).is_ready());
        assert!(poll(second.as_mut()).is_ready(), "the first's turn was dropped at once");
    }

    #[test]
    fn whoever_leaves_holds_nobody_up() {
        let gate = Gate::default();
        let mut last = pin!(gate.enter(Pace::Ordinary));
        {
            let mut inside = pin!(gate.enter(Pace::Ordinary));
            let mut before = Box::pin(gate.enter(Pace::Hurried));
            let mut sent = Box::pin(gate.enter(Pace::Hurried));
            let Poll::Ready(turn) = poll(inside.as_mut()) else { panic!("an open gate") };
            assert!(poll(before.as_mut()).is_pending());
            assert!(poll(sent.as_mut()).is_pending());
            assert!(poll(last.as_mut()).is_pending());
            drop(before);
            drop(turn);
            // `sent` was given the turn and never came to take it.
        }
        assert!(poll(last.as_mut()).is_ready());
        assert!(!gate.0.lock().taken);
    }
}
