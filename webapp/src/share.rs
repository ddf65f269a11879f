//! Requests for the same address at the same time share an answer.
//!
//! While a page is being made, those who ask for it too wait for the next one, which is made once for all of them. So a
//! page that everybody opens at the same moment costs the database and us no more than one that few do. Nothing is
//! kept: an answer that is older than the question is nobody's, and where nobody else asks, a request is answered at
//! once.
//!
//! An answer is made by a task of its own, in the name of the first who asked for it. That one may hang up: as long as
//! anybody waits, it goes on.

use std::collections::HashMap;
use std::mem::take;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, Response};
use axum::middleware::Next;
use axum::response::IntoResponse;
use futures_util::FutureExt;
use opentelemetry::Context;
use opentelemetry::trace::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{Instrument, Span};

use crate::envelope::caught;
use crate::error::Error;

/// What everybody gets who asked for it.
type Made = Response<Bytes>;

/// The answers that are being made.
pub(crate) struct Answers {
    /// How long one may take.
    limit: Duration,
    /// By address, which is a path with its parameters, who waits for the next one. An address is there as long as an
    /// answer for it is being made.
    waiting: Mutex<HashMap<String, Vec<Asker>>>,
}

/// Somebody who waits.
struct Asker {
    /// The answer, and whether it was made in somebody else's name.
    answer: oneshot::Sender<(Made, bool)>,
    request: Parts,
    next: Next,
    span: Span,
    trace: Context,
}

/// The middleware around handlers whose answers depend on the address alone, and are no streams.
pub(crate) async fn share(State(answers): State<Arc<Answers>>, request: Request, next: Next) -> Response<Body> {
    let Some(address) = request.uri().path_and_query().filter(|_| request.method() == Method::GET) else {
        return next.run(request).await;
    };
    let address = address.as_str().to_owned();
    let (answer, told) = oneshot::channel();
    let (request, _) = request.into_parts();
    let asker = Asker { answer, request, next, span: Span::current(), trace: Context::current() };
    if answers.wait(&address, asker) {
        tokio::spawn(answers.make(address));
    }
    let Ok((answer, in_other_name)) = told.await else {
        // The task ends before only with the whole runtime.
        return Error::Internal.into_response();
    };
    if in_other_name && answer.extensions().get() == Some(&Error::Internal) {
        // Its page says that the cause is in the log: it is there under another request's id.
        tracing::error!("the answer that this request shares could not be made");
    }
    answer.map(Body::from)
}

impl Answers {
    /// None yet; each may take as long as `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Vec<Asker>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody wait; whether nobody makes answers for that address yet.
    fn wait(&self, address: &str, asker: Asker) -> bool {
        let mut waiting = self.waiting();
        if let Some(others) = waiting.get_mut(address) {
            // Not each time: that would be the square of how many wait.
            if others.len().is_power_of_two() {
                others.retain(|other| !other.answer.is_closed());
            }
            others.push(asker);
            return false;
        }
        waiting.insert(address.to_owned(), vec![asker]);
        true
    }

    /// Makes answers for an address, one after the other, as long as somebody waits.
    async fn make(self: Arc<Self>, address: String) {
        while let Some(mut askers) = self.next(&address) {
            askers.retain(|asker| !asker.answer.is_closed());
            let Some(first) = askers.first() else { continue };
            let answer = first.ask(self.limit);
            let made = tokio::select! {
                biased;
                made = answer => made,
                () = all_go(&mut askers) => continue,
            };
            let mut copies = std::iter::repeat_n(made, askers.len());
            for (number, (asker, made)) in askers.into_iter().zip(&mut copies).enumerate() {
                // Whoever does not wait any more needs no answer.
                let _ = asker.answer.send((made, number > 0));
            }
        }
    }

    /// Who waits for the next answer; where nobody does, none is made any more.
    fn next(&self, address: &str) -> Option<Vec<Asker>> {
        let mut waiting = self.waiting();
        match waiting.get_mut(address) {
            Some(askers) if !askers.is_empty() => Some(take(askers)),
            _ => {
                waiting.remove(address);
                None
            }
        }
    }
}

impl Asker {
    /// The handler's answer, whatever becomes of the handler, with all of its content.
    fn ask(&self, limit: Duration) -> impl Future<Output = Made> + use<> {
        let request = Request::from_parts(self.request.clone(), Body::empty());
        let answer = self.next.clone().run(request).then(whole);
        let answer = async move {
            let given_up = Error::Unavailable("The answer took too long to make. Please try again in a moment.");
            match timeout(limit, AssertUnwindSafe(answer).catch_unwind()).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(panic)) => caught(panic).map(|_| Bytes::new()),
                Err(_) => {
                    tracing::warn!("answer given up");
                    given_up.into_response().map(|_| Bytes::new())
                }
            }
        };
        answer.instrument(self.span.clone()).with_context(self.trace.clone())
    }
}

/// Waits until nobody waits any more.
async fn all_go(askers: &mut [Asker]) {
    for asker in askers {
        asker.answer.closed().await;
    }
}

/// An answer with all of its content.
async fn whole(answer: Response<Body>) -> Made {
    let (parts, body) = answer.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(content) => Response::from_parts(parts, content),
        Err(error) => {
            tracing::error!(%error, "an answer could not be read");
            Error::Internal.into_response().map(|_| Bytes::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::{StatusCode, Uri};
    use axum::middleware::from_fn_with_state;
    use axum::routing::any;
    use tokio::sync::Semaphore;
    use tokio::task::JoinHandle;
    use tower::ServiceExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    /// A page that says how many have been made, when it is allowed to.
    struct Page {
        made: AtomicUsize,
        allowed: Semaphore,
        answers: Arc<Answers>,
    }

    impl Page {
        fn new() -> Arc<Self> {
            let (made, allowed) = (AtomicUsize::new(0), Semaphore::new(0));
            Arc::new(Self { made, allowed, answers: Arc::new(Answers::new(LIMIT)) })
        }

        fn router(self: &Arc<Self>) -> Router {
            let page = Arc::clone(self);
            let handler = async move |uri: Uri| {
                let number = page.made.fetch_add(1, Ordering::SeqCst);
                page.allowed.acquire().await.unwrap().forget();
                match uri.path() {
                    "/fails" => Error::Internal.into_response(),
                    "/panics" => panic!("the password is 1234"),
                    _ => {
                        (StatusCode::OK, [("x-number", number.to_string())], format!("{uri} {number}")).into_response()
                    }
                }
            };
            Router::new().fallback(any(handler)).layer(from_fn_with_state(Arc::clone(&self.answers), share))
        }

        fn ask(self: &Arc<Self>, method: Method, address: &str) -> JoinHandle<Made> {
            let request = Request::builder().method(method).uri(address).body(Body::empty()).unwrap();
            let router = self.router();
            tokio::spawn(async move { whole(router.oneshot(request).await.unwrap()).await })
        }

        /// Waits for something that needs no time to pass.
        async fn reach(&self, count: impl Fn(&Self) -> usize, expected: usize) {
            for _ in 0..10_000 {
                if count(self) == expected {
                    return;
                }
                tokio::task::yield_now().await;
            }
            assert_eq!(count(self), expected);
        }

        fn made(&self) -> usize {
            self.made.load(Ordering::SeqCst)
        }

        /// One who asks while nobody else does, and whose answer is being made; and so many others who wait.
        async fn busy(self: &Arc<Self>, address: &str, others: usize) -> (JoinHandle<Made>, Vec<JoinHandle<Made>>) {
            let before = self.made();
            let first = self.ask(Method::GET, address);
            self.reach(Self::made, before + 1).await;
            let waiting = (0..others).map(|_| self.ask(Method::GET, address)).collect();
            self.reach(|page| page.answers.waiting().get(address).map_or(0, Vec::len), others).await;
            (first, waiting)
        }

        async fn is_forgotten(&self) {
            self.reach(|page| page.answers.waiting().len(), 0).await;
        }
    }

    #[tokio::test]
    async fn who_asks_while_a_page_is_made_shares_the_next_one() {
        let page = Page::new();
        let (first, others) = page.busy("/a?b", 5).await;
        page.allowed.add_permits(100);
        assert_eq!(first.await.unwrap().into_body(), "/a?b 0");
        for other in others {
            let answer = other.await.unwrap();
            assert_eq!(answer.headers()["x-number"], "1");
            assert_eq!(answer.into_body(), "/a?b 1");
        }
        assert_eq!(page.made(), 2);
        page.is_forgotten().await;
        assert_eq!(page.ask(Method::GET, "/a?b").await.unwrap().into_body(), "/a?b 2", "nothing is kept");
    }

    #[tokio::test]
    async fn other_addresses_and_methods_do_not_wait() {
        let page = Page::new();
        let mut answers = Vec::new();
        let all = [(Method::GET, "/a"), (Method::GET, "/a?b"), (Method::GET, "/b"), (Method::POST, "/a")];
        for (number, (method, address)) in all.into_iter().enumerate() {
            answers.push(page.ask(method, address));
            page.reach(Page::made, number + 1).await;
        }
        page.allowed.add_permits(100);
        let mut told = Vec::new();
        for answer in answers {
            told.push(answer.await.unwrap().into_body());
        }
        assert_eq!(told, ["/a 0", "/a?b 1", "/b 2", "/a 3"]);
        page.is_forgotten().await;
    }

    #[tokio::test]
    async fn an_answer_that_nobody_waits_for_is_given_up_and_the_next_one_made() {
        let page = Page::new();
        let (gone, mut others) = page.busy("/a", 1).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        page.reach(Page::made, 2).await;
        page.allowed.add_permits(100);
        assert_eq!(others.remove(0).await.unwrap().into_body(), "/a 1");
        page.is_forgotten().await;
    }

    #[tokio::test]
    async fn who_goes_away_takes_the_answer_from_nobody() {
        let page = Page::new();
        let (first, others) = page.busy("/a", 3).await;
        page.allowed.add_permits(1);
        first.await.unwrap();
        // Made in the name of the first of those who wait, who hangs up.
        page.reach(Page::made, 2).await;
        others[0].abort();
        page.allowed.add_permits(100);
        for other in others.into_iter().skip(1) {
            assert_eq!(other.await.unwrap().into_body(), "/a 1");
        }
        assert_eq!(page.made(), 2);
        page.is_forgotten().await;
    }

    #[tokio::test]
    async fn an_error_is_shared_with_all_that_the_envelope_needs() {
        for address in ["/fails", "/panics"] {
            let page = Page::new();
            let (first, others) = page.busy(address, 3).await;
            page.allowed.add_permits(100);
            for answer in std::iter::once(first).chain(others) {
                let answer = answer.await.unwrap();
                assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
                assert_eq!(answer.extensions().get(), Some(&Error::Internal));
            }
            assert_eq!(page.made(), 2, "{address}");
            page.is_forgotten().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_too_long_is_given_up_for_all_who_wait_for_it() {
        let page = Page::new();
        let (first, others) = page.busy("/a", 3).await;
        assert_eq!(first.await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        for other in others {
            assert_eq!(other.await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(page.made(), 2);
        page.is_forgotten().await;
    }
}
