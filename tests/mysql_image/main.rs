//! The MySQL image for real: every promise of docs/images/mysql.md, tried on containers.
//!
//! TEST_MYSQL_IMAGE names the image; without it the tests are skipped.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod dataset;
#[cfg(test)]
mod first_start;
#[cfg(test)]
mod group;
#[cfg(test)]
mod image;
#[cfg(test)]
mod interruption;
#[cfg(test)]
mod scripts;
#[cfg(test)]
mod volume;
