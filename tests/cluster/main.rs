//! The operator on a real Kubernetes, as a user meets it: kubectl, the manifests, the pages.
//!
//! TEST_KUBECONFIG names the cluster; the three images must be on its nodes, and its nodes within reach. Every
//! test works in a namespace of its own, which goes at its end.

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod group;
#[cfg(test)]
mod kubectl;
#[cfg(test)]
mod life;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod volumes;
