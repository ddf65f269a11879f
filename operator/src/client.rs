//! The two ways in which the API server is asked.

use kube::{Client, Config};

/// Clients of one API server.
#[derive(Clone)]
pub struct Clients {
    /// For reconciles and watches. Where the API server is too busy, it asks again by itself, for minutes.
    pub patient: Client,
    /// For what is asked again anyway, a moment later and upon newer knowledge: the first answer counts.
    pub prompt: Client,
}

impl Clients {
    /// Of this API server.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(mut config: Config) -> Result<Self, kube::Error> {
        let patient = Client::try_from(config.clone())?;
        config.default_retry = false;
        Ok(Self { patient, prompt: Client::try_from(config)? })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use tokio::net::TcpListener;

    use super::*;

    /// The address of an API server that is too busy for the first request, and how many there were.
    async fn busy() -> (String, Arc<AtomicUsize>) {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let router = Router::new().fallback(async move || match counted.fetch_add(1, Ordering::Relaxed) {
            0 => (StatusCode::TOO_MANY_REQUESTS, "busy"),
            _ => (StatusCode::OK, "done"),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        (address, requests)
    }

    #[tokio::test]
    async fn the_one_asks_again_and_the_other_does_not() {
        for (prompt, expected) in [(false, 2), (true, 1)] {
            let (address, requests) = busy().await;
            let clients = Clients::new(Config::new(address.parse().unwrap())).unwrap();
            let client = if prompt { clients.prompt } else { clients.patient };
            let answer = client.request_text(http::Request::get("/").body(Vec::new()).unwrap()).await;
            assert_eq!(answer.is_ok(), !prompt, "{answer:?}");
            assert_eq!(requests.load(Ordering::Relaxed), expected);
        }
    }
}
