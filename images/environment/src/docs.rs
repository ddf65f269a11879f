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

/// The names of the metrics that a PromQL expression asks for, in their order.
///
/// Not a parser of the language: what stands in quotes, braces and brackets, behind `by` and the like, and in front of
/// a parenthesis is left out, and so are operators and numbers.
pub fn metrics_in(expression: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric() || "_\"{[$".contains(c)) {
        rest = &rest[start..];
        // Behind the next closing character.
        let behind = |close: char| rest[1..].split_once(close).map_or("", |(_, after)| after);
        rest = match rest.as_bytes()[0] {
            b'"' => behind('"'),
            b'{' => behind('}'),
            b'[' => behind(']'),
            _ => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_:$.".contains(c)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                let next = after.trim_start();
                let called = next.starts_with('(') || next.starts_with("by ") || next.starts_with("without ");
                match word {
                    "by" | "without" | "on" | "ignoring" => behind(')'),
                    "and" | "or" | "unless" | "bool" | "offset" => after,
                    _ if called || !word.starts_with(|c: char| c.is_ascii_alphabetic()) => after,
                    name => {
                        names.push(name.to_owned());
                        after
                    }
                }
            }
        };
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_of_an_expression_are_found() {
        let expression = r#"histogram_quantile(0.95, sum by (job, le) (rate(a_bucket{b="c", d=~"x.*"}[5m]))) > 15e6 and
            on (job) max by (job) (e_total) == 1 or time() - f{g="h"} offset 1h / vector(0) or label_values(i)"#;
        assert_eq!(metrics_in(expression), ["a_bucket", "e_total", "f", "i"]);
    }

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
