//! The web application: the employees data set as pages and as JSON.

fn main() {}
