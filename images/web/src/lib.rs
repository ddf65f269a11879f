//! What the web image runs beside nginx, supervisor and the application: entrypoint and watcher.
