//! Every route, on one page.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower::ServiceBuilder;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate, SizeAbove};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::conditional::conditional;
use crate::cors::readable;
use crate::envelope::{bounded, caught, envelope};
use crate::openapi;
use crate::routes::{
    assets, departments, docs, employees, exports, history, not_found, overview, probes, salaries, show, wrong_method,
};
use crate::share::{Answers, share};

/// What is smaller, in bytes, fits into one packet anyway.
const COMPRESSIBLE: u64 = 1024;
/// The lowest level that is still worth its time for a page of 5 to 20 kB: higher ones save a few per cent, and pages
/// are compressed each time.
const COMPRESSION: CompressionLevel = CompressionLevel::Precise(3);

/// The routes of the main listener.
pub fn pages(app: Arc<App>, metrics_public: bool) -> Router {
    let answers = Arc::new(Answers::new(app.db.answer_timeout()));
    let mut router = all(&answers);
    if metrics_public {
        router = router.route("/metrics", get(probes::metrics));
    }
    finish(router, app)
}

/// What everybody may see.
pub(crate) fn all(answers: &Arc<Answers>) -> Router<Arc<App>> {
    let shared = || from_fn_with_state(Arc::clone(answers), share);
    let api = Router::from(facts())
        .route_layer(shared())
        .merge(Router::from(files()))
        .route("/api/openapi.json", get(docs::openapi));
    Router::new()
        .route("/", get(overview::page))
        .route("/show", get(show::page))
        .route("/employees", get(employees::list_page))
        .route("/employees/{emp_no}", get(employees::one_page))
        .route("/departments", get(departments::list_page))
        .route("/departments/{dept_no}", get(departments::one_page))
        .route("/salaries", get(salaries::page))
        .route_layer(shared())
        .route("/assets/{file}", get(assets::file))
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/api/docs", get(docs::page))
        .route("/api/docs/{file}", get(docs::file))
        .merge(api)
}

/// The routes below `/api/v1`, each at the path that its handler's description names. They come with the OpenAPI
/// document that is made of these descriptions.
pub(crate) fn api() -> OpenApiRouter<Arc<App>> {
    facts().merge(files())
}

/// Those whose answers depend on the address alone.
fn facts() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::introduction())
        .routes(routes!(overview::api))
        .routes(routes!(show::api))
        .routes(routes!(employees::list_api))
        .routes(routes!(employees::one_api))
        .routes(routes!(departments::list_api))
        .routes(routes!(departments::one_api))
        .routes(routes!(history::api))
        .routes(routes!(salaries::api))
}

/// Streams, of which each has its reader.
fn files() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(exports::csv)).routes(routes!(exports::json)).routes(routes!(exports::ndjson))
}

/// The routes of the second listener, for whoever watches this process.
pub fn monitoring(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/metrics", get(probes::metrics))
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz));
    finish(router, app)
}

/// Everything around the handlers, the outermost first.
fn finish(router: Router<Arc<App>>, app: Arc<App>) -> Router {
    let around = ServiceBuilder::new()
        .layer(from_fn_with_state(Arc::clone(&app), envelope))
        .layer(from_fn_with_state(Arc::clone(&app), readable))
        .layer(from_fn_with_state(Arc::clone(&app), bounded))
        .layer(
            CompressionLayer::new()
                .quality(COMPRESSION)
                .compress_when(SizeAbove::new(COMPRESSIBLE).and(DefaultPredicate::new())),
        )
        .layer(from_fn(conditional))
        .layer(CatchPanicLayer::custom(caught));
    router.fallback(not_found).method_not_allowed_fallback(wrong_method).layer(around).with_state(app)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DatabaseConfig;
    use crate::cors::Origins;
    use crate::db::Database;
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use rstest::rstest;
    use sqlx::mysql::MySqlConnectOptions;
    use std::time::{Duration, Instant};
    use tower::ServiceExt;

    fn app() -> Arc<App> {
        let options = MySqlConnectOptions::new().database("employees");
        let config = DatabaseConfig {
            primary: options.clone(),
            reads: options,
            pool_size: 1,
            connect_timeout: Duration::from_secs(1),
            query_timeout: Duration::from_millis(50),
            max_lifetime: Duration::from_secs(1),
        };
        Arc::new(App::new(Database::new(&config), "replica-1".to_owned(), false))
    }

    #[tokio::test]
    async fn an_answer_that_takes_longer_than_two_queries_may_is_given_up() {
        let waits = Router::new().route("/waits", get(std::future::pending::<()>));
        let request = Request::get("/waits").body(Body::empty()).unwrap();
        let began = Instant::now();
        let response = finish(waits, app()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "2");
        assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
    }

    #[rstest]
    #[case("/api/v1/waits", "*")]
    #[case("/api/v1/fails", "*")]
    #[case("/waits", "")]
    #[tokio::test(start_paused = true)]
    async fn other_origins_may_read_why_the_api_has_no_answer(#[case] path: &str, #[case] allowed: &str) {
        let router = Router::new()
            .route("/waits", get(std::future::pending::<()>))
            .route("/api/v1/waits", get(std::future::pending::<()>))
            .route("/api/v1/fails", get(async || -> String { panic!() }));
        let app = App { cors_origins: Some(Origins::Any), ..Arc::into_inner(app()).unwrap() };
        let request = Request::get(path).header("origin", "https://a.example").body(Body::empty()).unwrap();
        let response = finish(router, Arc::new(app)).oneshot(request).await.unwrap();
        assert!(response.status().is_server_error());
        let given = response.headers().get("access-control-allow-origin").map_or("", |value| value.to_str().unwrap());
        assert_eq!(given, allowed);
    }

    #[tokio::test]
    async fn a_panic_costs_its_own_request_and_says_nothing_about_itself() {
        let fails = Router::new().route("/api/v1/fails", get(async || -> String { panic!("the password is 1234") }));
        let router = finish(fails, app());
        for _ in 0..2 {
            let request = Request::get("/api/v1/fails").body(Body::empty()).unwrap();
            let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
            assert_eq!(parts.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(parts.headers["content-type"], "application/problem+json");
            let said = String::from_utf8(to_bytes(body, 10_000).await.unwrap().into()).unwrap();
            assert!(said.contains("Something went wrong") && !said.contains("1234") && !said.contains(".rs"), "{said}");
        }
    }
}
