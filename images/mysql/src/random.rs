//! Passwords that nobody chose.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::Error;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A password of 32 characters, 192 bits of the kernel's randomness less a trifle: it has every kind of character that
/// a server with `validate_password` asks for.
///
/// # Errors
/// The kernel has none to give.
pub fn password() -> Result<String, Error> {
    loop {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(|e| Error::io("/dev/urandom", e.into()))?;
        let password: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect();
        if KINDS.iter().all(|kind| password.contains(kind)) {
            return Ok(password);
        }
    }
}

const KINDS: [fn(char) -> bool; 4] =
    [|c| c.is_ascii_uppercase(), |c| c.is_ascii_lowercase(), |c| c.is_ascii_digit(), |c| c.is_ascii_punctuation()];

/// Writes a random password into `file`, unless the file exists: readable by its owner and its group, as is its folder,
/// which is made when it is not there.
///
/// # Errors
/// The file cannot be written.
pub fn password_file(file: &Path) -> Result<(), Error> {
    if file.exists() {
        return Ok(());
    }
    let password = password()?;
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(|e| Error::io(folder, e))?;
    }
    // Complete or not there at all, whatever happens in between.
    let part = file.with_extension("part");
    let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&part);
    written
        .and_then(|mut f| f.write_all(password.as_bytes()).and_then(|()| f.sync_all()))
        .and_then(|()| fs::rename(&part, file))
        .map_err(|e| Error::io(file, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_differ() {
        let (one, other) = (password().unwrap(), password().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }

    #[test]
    fn every_password_satisfies_a_server_that_asks_for_all_kinds_of_characters() {
        for _ in 0..200 {
            let password = password().unwrap();
            assert!(KINDS.iter().all(|kind| password.contains(kind)), "{password}");
        }
    }

    #[test]
    fn a_password_file_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("root/password");
        password_file(&file).unwrap();
        let first = fs::read_to_string(&file).unwrap();
        password_file(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), first);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
