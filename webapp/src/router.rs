//! Every route, on one page.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use crate::app::App;
use crate::envelope::envelope;
use crate::routes::{assets, departments, employees, not_found, overview, probes, show, wrong_method};

/// The routes of the main listener.
pub fn pages(app: Arc<App>, metrics_public: bool) -> Router {
    let mut router = Router::new()
        .route("/", get(overview::page))
        .route("/show", get(show::page))
        .route("/employees", get(employees::list_page))
        .route("/employees/{emp_no}", get(employees::one_page))
        .route("/departments", get(departments::list_page))
        .route("/departments/{dept_no}", get(departments::one_page))
        .route("/api/v1/overview", get(overview::api))
        .route("/api/v1/show", get(show::api))
        .route("/api/v1/employees", get(employees::list_api))
        .route("/api/v1/employees/{emp_no}", get(employees::one_api))
        .route("/api/v1/departments", get(departments::list_api))
        .route("/api/v1/departments/{dept_no}", get(departments::one_api))
        .route("/assets/{file}", get(assets::file))
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz));
    if metrics_public {
        router = router.route("/metrics", get(probes::metrics));
    }
    finish(router, app)
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
