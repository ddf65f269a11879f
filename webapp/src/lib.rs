//! The web application: the employees data set as pages and as JSON.
//!
//! One request's way: [`server`] accepts it, `envelope` gives it an id and times it, [`router`] finds its handler in
//! `routes`, which answers all who ask for the same (`share`), the handler checks what came from outside ([`search`],
//! [`cursor`]), asks [`db`] (and [`catalog`], which keeps what is dear to count), and a template in [`views`] writes
//! the page; an [`error`] becomes a page or problem+json on the way out. [`openapi`] describes the API. [`config`] and
//! [`migrations`] stand beside it, for `main`.

pub mod app;
pub mod catalog;
mod conditional;
pub mod config;
pub mod cors;
pub mod cursor;
pub mod db;
mod envelope;
pub mod error;
pub mod export;
pub mod group;
pub mod hash;
pub mod metrics;
pub mod migrations;
pub mod openapi;
pub mod router;
mod routes;
pub mod search;
pub mod server;
mod share;
pub mod traces;
pub mod views;
mod vital;
