//! The operator of Tandem: keeps on Kubernetes what a `WebStack` says.
//!
//! - [`crd`]: the resource, with everything that the API server itself checks.
//! - [`controller`]: one reconcile, in five steps, each in a file of its own.
//! - [`names`], [`quantity`]: vocabulary.
//! - [`group`]: what several MySQL members are told to do, decided without any I/O; [`mysql`] is how they are told.
//! - [`config`], [`client`], [`admin`], [`metrics`], [`leader`]: the operator as a program.

pub mod admin;
pub mod client;
pub mod config;
pub mod controller;
#[expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]
pub mod crd;
pub mod group;
pub mod leader;
pub mod metrics;
pub mod mysql;
pub mod names;
pub mod quantity;
pub mod reference;
