//! Another application in the same image: docs/examples/flask.

use tandem_tests::docker::image;

use crate::image::strict;

#[test]
fn the_flask_example_keeps_the_contract() {
    let Some(image) = image("TEST_FLASK_IMAGE") else { return };
    let database = ["-e", "DATABASE_HOST=127.0.0.1", "-e", "DATABASE_USER=a", "-e", "DATABASE_PASSWORD=b"];
    let container = strict(&image, &database).serving();
    let page = container.get("/");
    assert_eq!(page.status, 503, "there is no database: {page:?}");
    assert!(page.header("retry-after").is_some() && page.body.contains("database"), "{page:?}");
    assert_eq!(container.get("/readyz").status, 503);
    assert_eq!(container.get("/nosuch").status, 404);
    assert!(page.header("x-served-by").is_some());
    container.stop();
    assert_eq!(container.exit_code(0), 0);

    let container = strict(&image, &database).serving();
    container.sh("kill -9 $(cat /tmp/gunicorn.pid)");
    assert_eq!(container.exit_code(5), 137);
}
