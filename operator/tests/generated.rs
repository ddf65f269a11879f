//! The generated files that are checked in are those that the code makes.

use kube::CustomResourceExt;
use tandem_operator::crd::WebStack;
use tandem_operator::reference;

#[track_caller]
fn same(file: &str, text: &str) {
    let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{file} differs from the code: run make generate");
}

#[test]
fn the_definition_is_current() {
    same("manifests/crd/webstacks.yaml", &reference::yaml(&WebStack::crd()).unwrap());
}

#[test]
fn the_reference_is_current() {
    same("docs/webstack.md", &reference::markdown(&WebStack::crd()));
}
