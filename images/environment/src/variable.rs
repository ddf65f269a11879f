//! Environment variables, declared once as constants: read, checked and documented from the same declaration.
//!
//! The rules, the same for every variable of the project:
//! - A variable that is set but empty is an error, never a silent default.
//! - A secret `NAME` can be given as `NAME_FILE` instead, the path of a file that holds it; both at once is an error.
//!   One newline at the end of the file belongs to the file, not to the secret.
//! - An error is one line that names the variable and says what is allowed; it never repeats a secret.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// The most that is read of a file that holds a value, in bytes: a device has no end.
const LARGEST_FILE: u64 = 64 * 1024;

/// One variable of a program's contract, with the type that its value is read into.
#[derive(Clone, Copy, Debug)]
pub struct Variable<T> {
    name: &'static str,
    about: &'static str,
    allowed: &'static str,
    default: Option<&'static str>,
    secret: bool,
    file: bool,
    parse: fn(&str) -> Option<T>,
}

impl<T> Variable<T> {
    /// Declares `name`; `allowed` completes the sentence "give …", `about` stands in the documentation.
    pub const fn new(
        name: &'static str,
        allowed: &'static str,
        parse: fn(&str) -> Option<T>,
        about: &'static str,
    ) -> Self {
        Self { name, about, allowed, default: None, secret: false, file: false, parse }
    }

    /// The value where the variable is not set, as text that `parse` accepts.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// The value is a secret: `NAME_FILE` is accepted as well, and no message repeats the value.
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self.or_file()
    }

    /// `NAME_FILE`, the path of a file that holds the value, is accepted as well.
    pub const fn or_file(mut self) -> Self {
        self.file = true;
        self
    }

    /// The variable's name, without `_FILE`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The checked value, the default where the variable is not set, `None` where there is neither.
    ///
    /// # Errors
    /// The value is empty, not allowed, not UTF-8, given twice (`NAME` and `NAME_FILE`), or its file is unreadable.
    pub fn read(&self, environment: &Environment) -> Result<Option<T>, Error> {
        let text = match environment.raw(self.name, self.file)? {
            Some(text) => text,
            None => match self.default {
                Some(default) => default.to_owned(),
                None => return Ok(None),
            },
        };
        match (self.parse)(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.refuse(&text)),
        }
    }

    /// As [`Self::read`], for a variable that must be set or has a default.
    ///
    /// # Errors
    /// As [`Self::read`], and [`Error::Missing`].
    pub fn require(&self, environment: &Environment) -> Result<T, Error> {
        self.read(environment)?.ok_or(Error::Missing { name: self.name, or_file: self.file, allowed: self.allowed })
    }

    /// The error for a value that parses but that a later check finds wrong.
    pub fn refuse(&self, value: &str) -> Error {
        let shown = if self.secret { None } else { Some(shorten(value)) };
        Error::NotAllowed { name: self.name, shown, allowed: self.allowed }
    }
}

impl Variable<String> {
    /// Any text without a NUL.
    pub const fn text(name: &'static str, about: &'static str) -> Self {
        Self::new(name, "text without NUL characters", text, about)
    }
}

impl Variable<bool> {
    /// `true` or `false`, in the spellings that people use in compose files.
    pub const fn switch(name: &'static str, about: &'static str) -> Self {
        Self::new(name, "true or false", boolean, about)
    }
}

impl Variable<u16> {
    /// A TCP port.
    pub const fn port(name: &'static str, about: &'static str) -> Self {
        Self::new(name, "a port from 1 to 65535", number::<u16, 1, 65_535>, about)
    }
}

/// A parser for text: everything but NUL, which neither a C string nor SQL text can hold.
pub fn text(value: &str) -> Option<String> {
    (!value.contains('\0')).then(|| value.to_owned())
}

/// A parser for `true`/`yes`/`on`/`1` and `false`/`no`/`off`/`0`, in any case.
pub fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A parser for whole numbers from `MIN` to `MAX`, both included, in plain decimal digits.
pub fn number<N: TryFrom<u64>, const MIN: u64, const MAX: u64>(value: &str) -> Option<N> {
    if !value.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let parsed: u64 = value.parse().ok()?;
    if (MIN..=MAX).contains(&parsed) { N::try_from(parsed).ok() } else { None }
}

/// A parser for host names and IP addresses (RFC 1123 labels, an optional trailing dot, or an address).
pub fn host(value: &str) -> Option<String> {
    let name = value.strip_suffix('.').unwrap_or(value);
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let named = name.len() <= 253 && name.split('.').all(label);
    (named || value.parse::<std::net::IpAddr>().is_ok()).then(|| value.to_owned())
}

/// What the documentation says of one variable, whatever its type.
pub trait Described: Sync {
    /// The variable's name.
    fn name(&self) -> &'static str;
    /// One row of the documentation's table: name, default, what is allowed, what it is for.
    fn row(&self) -> String;
}

impl<T> Described for Variable<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn row(&self) -> String {
        let file = if self.file { format!(", or `{}_FILE`", self.name) } else { String::new() };
        let default = self.default.map_or_else(String::new, |d| format!("`{d}`"));
        format!("| `{}`{file} | {default} | {} | {} |\n", self.name, self.allowed, self.about)
    }
}

/// The Markdown table of `variables`, one row each, in their order.
pub fn table(variables: &[&dyn Described]) -> String {
    let mut out = String::from("| variable | default | allowed | what it is for |\n| --- | --- | --- | --- |\n");
    for variable in variables {
        out.push_str(&variable.row());
    }
    out
}

/// The variables of a process, as they were when it started.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl fmt::Debug for Environment {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// This process's variables.
    pub fn from_process() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// Names that start with `prefix` (and hold more than it), with their values, in name order.
    ///
    /// # Errors
    /// A name or value that is not UTF-8.
    pub fn with_prefix(&self, prefix: &str) -> Result<Vec<(String, String)>, Error> {
        let mut found = Vec::new();
        for (name, value) in &self.variables {
            let shown = name.to_string_lossy();
            if !shown.starts_with(prefix) {
                continue;
            }
            let not_utf8 = || Error::NotUtf8 { name: shown.clone().into_owned() };
            let name = name.to_str().ok_or_else(not_utf8)?;
            let value = value.to_str().ok_or_else(not_utf8)?;
            found.push((name.to_owned(), value.to_owned()));
        }
        Ok(found)
    }

    /// Whether `name` is set at all, be it empty.
    pub fn has(&self, name: &str) -> bool {
        self.variables.contains_key(std::ffi::OsStr::new(name))
    }

    /// The text of `name`, or of the file that `NAME_FILE` names where `or_file` allows it.
    fn raw(&self, name: &'static str, or_file: bool) -> Result<Option<String>, Error> {
        let get = |name: &str| self.variables.get(std::ffi::OsStr::new(name));
        let file_name = format!("{name}_FILE");
        let file = if or_file { get(&file_name) } else { None };
        match (get(name), file) {
            (Some(_), Some(_)) => Err(Error::Twice { name }),
            (Some(value), None) => match value.to_str() {
                Some("") => Err(Error::Empty { name: name.to_owned() }),
                Some(value) => Ok(Some(value.to_owned())),
                None => Err(Error::NotUtf8 { name: name.to_owned() }),
            },
            (None, Some(path)) if path.is_empty() => Err(Error::Empty { name: file_name }),
            (None, Some(path)) => {
                let path = PathBuf::from(path);
                let mut bytes = Vec::new();
                File::open(&path)
                    .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
                    .map_err(|source| Error::Unreadable { name, path: path.clone(), source })?;
                if bytes.len() as u64 > LARGEST_FILE {
                    return Err(Error::TooLarge { name, path });
                }
                let mut text = String::from_utf8(bytes).map_err(|_| Error::NotUtf8 { name: file_name.clone() })?;
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                if text.is_empty() { Err(Error::EmptyFile { name, path }) } else { Ok(Some(text)) }
            }
            (None, None) => Ok(None),
        }
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self { variables: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

/// Why a variable cannot be used. Each displays as one line that names the variable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has no default and is not set.
    #[error("{name}{} is not set: give {allowed}", file_hint(.name, *.or_file))]
    Missing {
        /// The variable.
        name: &'static str,
        /// Whether `NAME_FILE` would do.
        or_file: bool,
        /// What is allowed.
        allowed: &'static str,
    },
    /// It is set to nothing.
    #[error("{name} is set but empty: give it a value or leave it out")]
    Empty {
        /// The variable.
        name: String,
    },
    /// The file that it names holds nothing.
    #[error("{name}_FILE names {}, which is empty: write the value into it", .path.display())]
    EmptyFile {
        /// The variable, without `_FILE`.
        name: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// `NAME` and `NAME_FILE` are both set.
    #[error("{name} and {name}_FILE are both set: give one of them")]
    Twice {
        /// The variable, without `_FILE`.
        name: &'static str,
    },
    /// The file cannot be read.
    #[error("{name}_FILE names {}, which cannot be read: {source}", .path.display())]
    Unreadable {
        /// The variable, without `_FILE`.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds more than any value may have.
    #[error("{name}_FILE names {}, which holds more than {} KiB: give a file with the value alone", .path.display(), LARGEST_FILE / 1024)]
    TooLarge {
        /// The variable, without `_FILE`.
        name: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The value is not UTF-8 text.
    #[error("{name} is not UTF-8 text")]
    NotUtf8 {
        /// The variable, with `_FILE` where it was read from a file.
        name: String,
    },
    /// The value is outside of what is allowed.
    #[error("{name} {}: give {allowed}", .shown.as_ref().map_or_else(|| "is not allowed".to_owned(), |s| format!("is {s}")))]
    NotAllowed {
        /// The variable.
        name: &'static str,
        /// The value, quoted and shortened; `None` for a secret.
        shown: Option<String>,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Two variables contradict each other.
    #[error("{0}")]
    Conflict(String),
}

fn file_hint(name: &str, or_file: bool) -> String {
    if or_file { format!(" (or {name}_FILE)") } else { String::new() }
}

/// The value in quotes, on one line, at most 40 characters of it.
fn shorten(value: &str) -> String {
    let cut: String = value.chars().take(40).collect();
    let more = if cut.len() < value.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const PORT: Variable<u16> = Variable::port("PORT", "").default("3306");
    const SECRET: Variable<String> = Variable::text("SECRET", "").secret();

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().copied().collect()
    }

    fn secret_from_file(content: &[u8]) -> Result<Option<String>, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        SECRET.read(&environment(&[("SECRET_FILE", file.path().to_str().unwrap())]))
    }

    #[test]
    fn a_file_without_an_end_is_refused() {
        let environment: Environment = [("TOKEN_FILE", "/dev/zero")].into_iter().collect();
        let error = Variable::text("TOKEN", "").secret().read(&environment).unwrap_err();
        assert!(error.to_string().starts_with("TOKEN_FILE names /dev/zero, which holds more than 64 KiB"), "{error}");
    }

    #[test]
    fn an_unset_variable_takes_its_default() {
        assert_eq!(PORT.require(&environment(&[])).unwrap(), 3306);
        assert_eq!(SECRET.read(&environment(&[])).unwrap(), None);
    }

    #[rstest]
    #[case("", "PORT is set but empty: give it a value or leave it out")]
    #[case("abc", r#"PORT is "abc": give a port from 1 to 65535"#)]
    #[case("0", r#"PORT is "0": give a port from 1 to 65535"#)]
    #[case("65536", r#"PORT is "65536": give a port from 1 to 65535"#)]
    #[case("-1", r#"PORT is "-1": give a port from 1 to 65535"#)]
    #[case("+1", r#"PORT is "+1": give a port from 1 to 65535"#)]
    #[case(" 1", r#"PORT is " 1": give a port from 1 to 65535"#)]
    #[case("1\n2", r#"PORT is "1\n2": give a port from 1 to 65535"#)]
    #[case("99999999999999999999", r#"PORT is "99999999999999999999": give a port from 1 to 65535"#)]
    fn a_bad_value_is_refused_in_one_line(#[case] value: &str, #[case] message: &str) {
        let error = PORT.require(&environment(&[("PORT", value)])).unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn a_missing_secret_is_named_with_its_file_variant() {
        let error = SECRET.require(&environment(&[])).unwrap_err();
        assert_eq!(error.to_string(), "SECRET (or SECRET_FILE) is not set: give text without NUL characters");
    }

    #[rstest]
    #[case(b"pass", "pass")]
    #[case(b"pass\n", "pass")]
    #[case(b"pass\r\n", "pass")]
    #[case(b"pass\n\n", "pass\n")]
    #[case(b" p $x `y` '\"\\ ", " p $x `y` '\"\\ ")]
    fn a_file_gives_the_secret_without_its_last_newline(#[case] content: &[u8], #[case] secret: &str) {
        assert_eq!(secret_from_file(content).unwrap().unwrap(), secret);
    }

    #[test]
    fn a_bad_file_is_an_error_that_names_the_variable() {
        assert!(secret_from_file(b"").unwrap_err().to_string().starts_with("SECRET_FILE names "));
        assert!(secret_from_file(b"\n").unwrap_err().to_string().ends_with("which is empty: write the value into it"));
        assert_eq!(secret_from_file(b"\xff").unwrap_err().to_string(), "SECRET_FILE is not UTF-8 text");
        let gone = SECRET.read(&environment(&[("SECRET_FILE", "/nonexistent/x")])).unwrap_err();
        assert!(gone.to_string().starts_with("SECRET_FILE names /nonexistent/x, which cannot be read: No such file"));
    }

    #[test]
    fn a_value_and_a_file_at_once_are_refused() {
        let error = SECRET.read(&environment(&[("SECRET", "a"), ("SECRET_FILE", "/b")])).unwrap_err();
        assert_eq!(error.to_string(), "SECRET and SECRET_FILE are both set: give one of them");
    }

    #[test]
    fn a_plain_variable_has_no_file_variant() {
        assert_eq!(PORT.require(&environment(&[("PORT_FILE", "/nonexistent")])).unwrap(), 3306);
    }

    #[rstest]
    #[case("mysql", true)]
    #[case("db-0.db.ns.svc.cluster.local.", true)]
    #[case("10.0.0.1", true)]
    #[case("::1", true)]
    #[case("-a", false)]
    #[case("a..b", false)]
    #[case("a b", false)]
    #[case("http://a", false)]
    #[case("a:3306", false)]
    fn hosts_are_names_or_addresses(#[case] value: &str, #[case] good: bool) {
        assert_eq!(host(value).is_some(), good);
    }

    #[test]
    fn the_table_has_a_row_for_each_variable() {
        let expected = "| variable | default | allowed | what it is for |\n| --- | --- | --- | --- |\n\
            | `PORT` | `3306` | a port from 1 to 65535 |  |\n\
            | `SECRET`, or `SECRET_FILE` |  | text without NUL characters |  |\n";
        assert_eq!(table(&[&PORT, &SECRET]), expected);
    }

    proptest! {
        #[test]
        fn no_value_breaks_the_line_or_shows_a_secret(value in "\\PC{0,60}[\n\r\t]?\\PC{0,20}") {
            const REFUSED: Variable<()> = Variable::new("X", "nothing", |_| None, "").secret();
            let secret = REFUSED.read(&environment(&[("X", &format!("x{value}"))])).unwrap_err().to_string();
            prop_assert_eq!(secret, "X is not allowed: give nothing");
            let shown = PORT.read(&environment(&[("PORT", &format!("x{value}"))])).unwrap_err().to_string();
            prop_assert!(!shown.contains(['\n', '\r']));
        }
    }
}
