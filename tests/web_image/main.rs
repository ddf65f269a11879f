//! The web image for real: every trap and every promise of docs/images/web.md, tried on containers.
//!
//! TEST_WEB_IMAGE names the image, TEST_FLASK_IMAGE that of docs/examples/flask; without them the tests are skipped.
//! A stand-in application (standin.py) misbehaves on demand.

#[cfg(test)]
mod configuration;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod flask;
#[cfg(test)]
mod front;
#[cfg(test)]
mod image;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod output;
#[cfg(test)]
mod stop;
