//! Requests that ask for the same kind of row at the same time are answered by one query.
//!
//! A statement costs the server and us more than the few rows that it finds. So at most [`FLIGHTS`] query of a kind is
//! on its way at once, and what is asked for meanwhile waits for the next one and shares it. Nobody waits for a
//! clock: where nothing is on its way, a request asks at once; the more there is to do, the more share a query.
//!
//! An answer is never older than its question: a query that was sent before somebody asked is not shared.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use super::Error;

/// How many queries of one kind are on their way at once. While one is, and while its answers are written, the next
/// ones gather: with more, each would have fewer to share it.
const FLIGHTS: usize = 1;

type Answer<V> = Result<Option<V>, Error>;

/// Those who wait for one key.
type Askers<V> = Vec<oneshot::Sender<Answer<V>>>;

/// One kind of row, `V`, that is found by its key, `K`.
pub(super) struct Batch<K, V> {
    waiting: Mutex<Waiting<K, V>>,
    flights: Semaphore,
    /// How many keys share a query at most.
    most: usize,
}

/// Who waits for which key, and the keys in the order in which they were first asked for.
struct Waiting<K, V> {
    askers: HashMap<K, Askers<V>>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V: Clone> Batch<K, V> {
    /// A kind of which nobody has asked for anything yet.
    pub(super) fn new(most: usize) -> Self {
        let waiting = Waiting { askers: HashMap::new(), order: VecDeque::new() };
        Self { waiting: Mutex::new(waiting), flights: Semaphore::new(FLIGHTS), most }
    }

    /// The row of that key; `None` where there is none. `query` finds the rows of several keys: it is called by one of
    /// those who wait, for all of them.
    ///
    /// # Errors
    /// Those of `query`, for each who waits.
    pub(super) async fn get<F, Fut>(&self, key: K, query: F) -> Answer<V>
    where
        F: Fn(Vec<K>) -> Fut,
        Fut: Future<Output = Result<HashMap<K, V>, Error>>,
    {
        let mut answer = self.ask(key.clone(), VecDeque::push_back);
        // Who has to ask again keeps their turn and their place: newer ones must not overtake them.
        let mut turn = pin!(self.flights.acquire());
        loop {
            tokio::select! {
                biased;
                answered = &mut answer => match answered {
                    Ok(answered) => return answered,
                    // Whoever asked for us went away in the middle: their client hung up, or their time was over.
                    Err(_) => answer = self.ask(key.clone(), VecDeque::push_front),
                },
                // The semaphore is never closed.
                flight = &mut turn => {
                    self.fly(&query).await;
                    drop(flight);
                    turn.set(self.flights.acquire());
                }
            }
        }
    }

    fn ask(&self, key: K, line_up: fn(&mut VecDeque<K>, K)) -> oneshot::Receiver<Answer<V>> {
        let (asker, answer) = oneshot::channel();
        let Waiting { askers, order } = &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        askers
            .entry(key)
            .or_insert_with_key(|key| {
                line_up(order, key.clone());
                Vec::with_capacity(1)
            })
            .push(asker);
        answer
    }

    /// Asks for what has waited longest, and tells everybody who waits for that.
    async fn fly<F, Fut>(&self, query: &F)
    where
        F: Fn(Vec<K>) -> Fut,
        Fut: Future<Output = Result<HashMap<K, V>, Error>>,
    {
        let batch = self.take();
        if batch.is_empty() {
            return;
        }
        let mut found = query(batch.iter().map(|(key, _)| key.clone()).collect()).await;
        for (key, askers) in batch {
            let answer = match &mut found {
                Ok(rows) => Ok(rows.remove(&key)),
                Err(error) => Err(error.clone()),
            };
            let mut answers = std::iter::repeat_n(answer, askers.len());
            for (asker, answer) in askers.into_iter().zip(&mut answers) {
                // Whoever does not wait any more needs no answer.
                let _ = asker.send(answer);
            }
        }
    }

    /// Who has waited longest, without those who have gone.
    fn take(&self) -> Vec<(K, Askers<V>)> {
        let Waiting { askers, order } = &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Vec::new();
        while batch.len() < self.most
            && let Some(key) = order.pop_front()
        {
            let mut waiting = askers.remove(&key).unwrap_or_default();
            waiting.retain(|asker| !asker.is_closed());
            if !waiting.is_empty() {
                batch.push((key, waiting));
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    const MOST: usize = 8;

    /// A database that doubles even numbers, has no odd ones, and answers when it is told to.
    struct Doubles {
        batch: Batch<u32, u32>,
        answers: Semaphore,
        queries: Mutex<Vec<Vec<u32>>>,
        asked: Notify,
    }

    impl Doubles {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                batch: Batch::new(MOST),
                answers: Semaphore::new(0),
                queries: Mutex::default(),
                asked: Notify::new(),
            })
        }

        fn get(self: &Arc<Self>, key: u32) -> JoinHandle<Answer<u32>> {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.batch.get(key, |keys| this.query(keys)).await })
        }

        async fn query(&self, keys: Vec<u32>) -> Result<HashMap<u32, u32>, Error> {
            self.queries.lock().unwrap().push(keys.clone());
            self.asked.notify_one();
            self.answers.acquire().await.unwrap().forget();
            if keys.contains(&13) {
                return Err(Error::Failed("unlucky".to_owned()));
            }
            Ok(keys.into_iter().filter(|key| key % 2 == 0).map(|key| (key, 2 * key)).collect())
        }

        /// Fills the flights with questions that get no answer yet.
        async fn busy(self: &Arc<Self>) -> Vec<JoinHandle<Answer<u32>>> {
            let mut flights = Vec::new();
            for key in 0..FLIGHTS as u32 {
                flights.push(self.get(1000 + 2 * key));
                self.asked.notified().await;
            }
            flights
        }

        /// Waits until that many have asked and wait for an answer that nobody is sent for.
        async fn waiting(&self, expected: usize) {
            let count = || self.batch.waiting.lock().unwrap().askers.values().map(Vec::len).sum::<usize>();
            let all = async {
                while count() < expected {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(5), all).await.unwrap();
        }

        fn queries(&self) -> Vec<Vec<u32>> {
            self.queries.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn a_lonely_question_is_asked_at_once() {
        let doubles = Doubles::new();
        doubles.answers.add_permits(2);
        assert_eq!(doubles.get(4).await.unwrap().unwrap(), Some(8));
        assert_eq!(doubles.get(5).await.unwrap().unwrap(), None);
        assert_eq!(doubles.queries(), [[4], [5]]);
    }

    #[tokio::test]
    async fn questions_that_wait_share_one_query_and_the_same_question_is_asked_once() {
        let doubles = Doubles::new();
        let flights = doubles.busy().await;
        let keys = [2, 3, 4, 2, 2];
        let waiting: Vec<_> = keys.iter().map(|&key| doubles.get(key)).collect();
        doubles.waiting(keys.len()).await;
        doubles.answers.add_permits(FLIGHTS + 1);
        for (handle, expected) in waiting.into_iter().zip([Some(4), None, Some(8), Some(4), Some(4)]) {
            assert_eq!(handle.await.unwrap().unwrap(), expected);
        }
        for flight in flights {
            assert!(flight.await.unwrap().unwrap().is_some());
        }
        let queries = doubles.queries();
        assert_eq!(queries.len(), FLIGHTS + 1);
        assert_eq!(queries[FLIGHTS], [2, 3, 4]);
    }

    #[tokio::test]
    async fn a_query_is_shared_by_no_more_than_it_may_hold() {
        let doubles = Doubles::new();
        let _flights = doubles.busy().await;
        let waiting: Vec<_> = (0..3 * MOST as u32).map(|key| doubles.get(2 * key)).collect();
        doubles.waiting(waiting.len()).await;
        doubles.answers.add_permits(100);
        for (key, handle) in (0..).zip(waiting) {
            assert_eq!(handle.await.unwrap().unwrap(), Some(4 * key));
        }
        let sizes: Vec<_> = doubles.queries()[FLIGHTS..].iter().map(Vec::len).collect();
        assert_eq!(sizes, [MOST; 3]);
    }

    #[tokio::test]
    async fn an_error_is_everybodys_who_shared_the_query() {
        let doubles = Doubles::new();
        let _flights = doubles.busy().await;
        let (unlucky, neighbour) = (doubles.get(13), doubles.get(2));
        doubles.waiting(2).await;
        doubles.answers.add_permits(100);
        assert!(matches!(unlucky.await.unwrap(), Err(Error::Failed(_))));
        assert!(matches!(neighbour.await.unwrap(), Err(Error::Failed(_))));
        assert_eq!(doubles.get(2).await.unwrap().unwrap(), Some(4), "the next query is a new one");
    }

    #[tokio::test]
    async fn who_asks_for_others_may_go_away_and_nobody_is_forgotten() {
        let doubles = Doubles::new();
        let flights = doubles.busy().await;
        let waiting: Vec<_> = [2, 4, 6].map(|key| doubles.get(key)).into();
        doubles.waiting(waiting.len()).await;
        // One flight ends, one of those who wait asks for all of them, and its client hangs up.
        doubles.answers.add_permits(1);
        doubles.asked.notified().await;
        assert_eq!(doubles.queries()[FLIGHTS], [2, 4, 6]);
        waiting[0].abort();
        doubles.answers.add_permits(100);
        let mut answers = Vec::new();
        for handle in waiting {
            answers.push(handle.await.map(Result::unwrap).ok());
        }
        assert_eq!(answers, [None, Some(Some(8)), Some(Some(12))]);
        for flight in flights {
            flight.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn who_has_to_ask_again_is_not_overtaken() {
        let doubles = Doubles::new();
        let flights = doubles.busy().await;
        let (goes, stays) = (doubles.get(2), doubles.get(4));
        doubles.waiting(2).await;
        doubles.answers.add_permits(1);
        doubles.asked.notified().await;
        let newer: Vec<_> = (0..3 * MOST as u32).map(|n| doubles.get(100 + 2 * n)).collect();
        doubles.waiting(newer.len()).await;
        goes.abort();
        assert!(goes.await.unwrap_err().is_cancelled());
        doubles.answers.add_permits(100);
        assert_eq!(stays.await.unwrap().unwrap(), Some(8));
        for handle in newer.into_iter().chain(flights) {
            assert!(handle.await.unwrap().unwrap().is_some());
        }
        let asked_again = doubles.queries().iter().skip(FLIGHTS + 1).position(|query| query.contains(&4));
        assert!(asked_again.is_some_and(|place| place <= 1), "{:?}", doubles.queries());
    }

    #[tokio::test]
    async fn nothing_is_asked_for_who_has_gone() {
        let doubles = Doubles::new();
        let flights = doubles.busy().await;
        let (gone, stays) = (doubles.get(2), doubles.get(4));
        doubles.waiting(2).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        doubles.answers.add_permits(100);
        assert_eq!(stays.await.unwrap().unwrap(), Some(8));
        for flight in flights {
            flight.await.unwrap().unwrap();
        }
        assert_eq!(doubles.queries()[FLIGHTS], [4]);
    }

    #[tokio::test]
    async fn thousands_at_once_all_get_their_own_answer() {
        let doubles = Doubles::new();
        doubles.answers.add_permits(1_000_000);
        let keys = || (0..5000).map(|n| 100 + n % 700);
        let asking: Vec<_> = keys().map(|key| doubles.get(key)).collect();
        for (key, handle) in keys().zip(asking) {
            assert_eq!(handle.await.unwrap().unwrap(), (key % 2 == 0).then_some(2 * key));
        }
        let waiting = doubles.batch.waiting.lock().unwrap();
        assert!(waiting.askers.is_empty() && waiting.order.is_empty());
    }
}
