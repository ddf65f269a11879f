//! Keeps `docs/configuration.md` equal to the code: each program's table stands between two comments, and a test of
//! each program calls [`check`]. `UPDATE_DOCS=1 cargo test` writes the tables anew.

use std::path::Path;

/// Compares the block `name` of the Markdown file `path` with `generated`, or writes it where `UPDATE_DOCS` is set.
///
/// # Errors
/// One line: the file cannot be read or written, has no such block, or the block differs.
pub fn check(path: &Path, name: &str, generated: &str) -> Result<(), String> {
    let file = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{file}: {e}"))?;
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), "<!-- end -->\n");
    let (head, rest) = text.split_once(&begin).ok_or_else(|| format!("{file}: no line {begin:?}"))?;
    let (block, tail) = rest.split_once(end).ok_or_else(|| format!("{file}: no line {end:?} after {begin:?}"))?;
    if block == generated {
        return Ok(());
    }
    if std::env::var_os("UPDATE_DOCS").is_none() {
        return Err(format!("{file}: the block {name:?} differs from the code: run UPDATE_DOCS=1 cargo test"));
    }
    std::fs::write(path, format!("{head}{begin}{generated}{end}{tail}")).map_err(|e| format!("{file}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_compared_to_the_letter() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a\n<!-- generated: x -->\n1\n<!-- end -->\nb\n").unwrap();
        assert_eq!(check(file.path(), "x", "1\n"), Ok(()));
        assert!(check(file.path(), "y", "1\n").unwrap_err().contains("no line"));
        if std::env::var_os("UPDATE_DOCS").is_none() {
            assert!(check(file.path(), "x", "2\n").unwrap_err().contains("differs from the code"));
        }
    }
}
