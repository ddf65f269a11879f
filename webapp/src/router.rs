//! Every route, on one page.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::envelope::envelope;
use crate::openapi;
use crate::routes::{
    assets, departments, docs, employees, history, not_found, overview, probes, salaries, show, wrong_method,
};

/// The routes of the main listener.
pub fn pages(app: Arc<App>, metrics_public: bool) -> Router {
    let mut router = all();
    if metrics_public {
        router = router.route("/metrics", get(probes::metrics));
    }
    finish(router, app)
}

/// What everybody may see.
pub(crate) fn all() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(overview::page))
        .route("/show", get(show::page))
        .route("/employees", get(employees::list_page))
        .route("/employees/{emp_no}", get(employees::one_page))
        .route("/departments", get(departments::list_page))
        .route("/departments/{dept_no}", get(departments::one_page))
        .route("/salaries", get(salaries::page))
        .route("/assets/{file}", get(assets::file))
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/api/openapi.json", get(docs::openapi))
        .merge(Router::from(api()))
}

/// The routes below `/api/v1`, each at the path that its handler's description names. They come with the OpenAPI
/// document that is made of these descriptions.
pub(crate) fn api() -> OpenApiRouter<Arc<App>> {
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

/// The routes of the second listener, for whoever watches this process.
pub fn monitoring(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/metrics", get(probes::metrics))
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz));
    finish(router, app)
}

fn finish(router: Router<Arc<App>>, app: Arc<App>) -> Router {
    router
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), envelope))
        .with_state(app)
}
