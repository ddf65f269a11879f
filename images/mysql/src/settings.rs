//! The image's variables, read and checked once, before anything is touched.
//!
//! Names and meaning are those of the official image wherever it has them. In: the environment and the state of the
//! data directory. Out: [`Settings`], or one line that names the variable.

use tandem_environment::{Described, Environment, Error, Variable};

/// The account that the health check uses; it may log in from inside the container and do nothing else.
pub const HEALTH_USER: &str = "tandem-health";

/// The database that a data set goes to where `MYSQL_DATABASE` names none.
pub const DATASET_DATABASE: &str = "employees";

/// MySQL's limits on names, in characters (dev.mysql.com, "Identifier Length Limits").
const MAX_DATABASE: usize = 64;
const MAX_USER: usize = 32;
const MAX_HOST: usize = 255;

/// `caching_sha2_password` refuses longer passwords, in bytes.
const MAX_PASSWORD: usize = 256;

/// mysqld cuts lines of option files after 4096 bytes without a word; this leaves room for the longest name. Characters
/// that have to be escaped count twice.
const MAX_VALUE: usize = 3900;

/// Options that the entrypoint sets itself: another value would break the start, the health check or the recovery.
const OWN_OPTIONS: [&str; 10] = [
    "basedir",
    "daemonize",
    "datadir",
    "defaults_file",
    "init_file",
    "initialize",
    "initialize_insecure",
    "pid_file",
    "socket",
    "validate_config",
];

const ROOT_PASSWORD: Variable<String> = Variable::new(
    "MYSQL_ROOT_PASSWORD",
    "a password of 1 to 256 bytes",
    password,
    "root's password. A changed value takes effect at the next start.",
)
.secret();
const ROOT_HOST: Variable<String> = Variable::new(
    "MYSQL_ROOT_HOST",
    "a host name, address or pattern such as % of at most 255 characters",
    host_pattern,
    "From where root may log in over the network. Not set: from inside the container only.",
)
.or_file();
const ALLOW_EMPTY_PASSWORD: Variable<bool> =
    Variable::switch("MYSQL_ALLOW_EMPTY_PASSWORD", "Root without a password. For throw-away databases only.")
        .default("false");
const RANDOM_ROOT_PASSWORD: Variable<bool> = Variable::switch(
    "MYSQL_RANDOM_ROOT_PASSWORD",
    "A random root password, printed once on the container's output at the first start.",
)
.default("false");
const ONETIME_PASSWORD: Variable<bool> = Variable::switch(
    "MYSQL_ONETIME_PASSWORD",
    "Root's first password expires: the first login has to change it, and later starts leave it alone.",
)
.default("false");
const DATABASE: Variable<String> = Variable::new(
    "MYSQL_DATABASE",
    "a name of 1 to 64 characters that is not one of MySQL's own databases and does not end with a space",
    database,
    "A database that is created when it is not there.",
)
.or_file();
const USER: Variable<String> = Variable::new(
    "MYSQL_USER",
    "a name of 1 to 32 characters that is not root or one of MySQL's own accounts",
    user,
    "The application's account: everything in MYSQL_DATABASE, nothing elsewhere.",
)
.or_file();
const PASSWORD: Variable<String> = Variable::new(
    "MYSQL_PASSWORD",
    "a password of 1 to 256 bytes",
    password,
    "The password of MYSQL_USER. A changed value takes effect at the next start.",
)
.secret();
const RETAIN_PASSWORD: Variable<bool> = Variable::switch(
    "MYSQL_RETAIN_PASSWORD",
    "The password of MYSQL_USER that a new one replaces stays valid until the next start, so that clients can follow one \
     after the other (MySQL's dual passwords).",
)
.default("false");
const SKIP_TZINFO: Variable<bool> =
    Variable::switch("MYSQL_INITDB_SKIP_TZINFO", "Leave the time zone tables empty at the first start.")
        .default("false");
const DATASET: Variable<Dataset> = Variable::new(
    "MYSQL_DATASET",
    "full, small or none",
    dataset,
    "What the first start loads into MYSQL_DATABASE (or `employees`): the data set built into the image, a generated \
     sample of 10,000 employees, or nothing. A data set in the init folder takes its place.",
)
.default("full");

/// Documents the family of variables that set server options.
struct OptionVariables;

impl Described for OptionVariables {
    fn name(&self) -> &'static str {
        OPTION_PREFIX
    }

    fn row(&self) -> String {
        format!(
            "| `{OPTION_PREFIX}OPTION` |  | any value that mysqld accepts; not for {} | Sets the server option `option`, \
             for example `{OPTION_PREFIX}MAX_CONNECTIONS=300`. mysqld checks it before the server starts. |\n",
            OWN_OPTIONS.join(", ")
        )
    }
}

/// Variables with this prefix set server options.
pub const OPTION_PREFIX: &str = "MYSQL_CONF_";

/// Every variable of the image, in the documentation's order.
pub const VARIABLES: [&dyn Described; 12] = [
    &ROOT_PASSWORD,
    &ROOT_HOST,
    &ALLOW_EMPTY_PASSWORD,
    &RANDOM_ROOT_PASSWORD,
    &ONETIME_PASSWORD,
    &DATABASE,
    &USER,
    &PASSWORD,
    &RETAIN_PASSWORD,
    &DATASET,
    &SKIP_TZINFO,
    &OptionVariables,
];

/// Which built-in data set the first start loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dataset {
    /// The one built into the image: test_db, or the full-size sample where test_db could not be fetched.
    Full,
    /// A generated sample of 10,000 employees.
    Small,
    /// Nothing.
    None,
}

/// How root gets its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootPassword {
    /// The given one, set at every start.
    Given(String),
    /// A random one, printed at the first start; later starts leave root's password alone.
    Random,
    /// None at all.
    Empty,
    /// No variable says anything, which only an initialised data directory allows: root's password stays as it is.
    Unchanged,
}

/// The application's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The account's name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// Whether the password that this one replaces stays valid until the next start.
    pub retain: bool,
}

/// Everything that the environment says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How root gets its password.
    pub root_password: RootPassword,
    /// From where root may log in beside localhost.
    pub root_host: Option<String>,
    /// Whether root's first password expires at once.
    pub onetime_password: bool,
    /// The database to create.
    pub database: Option<String>,
    /// The account to create.
    pub account: Option<Account>,
    /// Whether to load the time zone tables.
    pub time_zones: bool,
    /// What to load at the first start.
    pub dataset: Dataset,
    /// Server options as `(variable, option, value)`, in name order.
    pub options: Vec<(String, String, String)>,
}

impl Settings {
    /// Reads and checks all variables. `initialised`: the data directory holds a database already, so that root has a
    /// password.
    ///
    /// # Errors
    /// The first variable that is wrong.
    pub fn read(environment: &Environment, initialised: bool) -> Result<Self, Error> {
        let root_password = match (
            ROOT_PASSWORD.read(environment)?,
            RANDOM_ROOT_PASSWORD.require(environment)?,
            ALLOW_EMPTY_PASSWORD.require(environment)?,
        ) {
            (Some(password), false, false) => RootPassword::Given(password),
            (None, true, false) => RootPassword::Random,
            (None, false, true) => RootPassword::Empty,
            (None, false, false) if initialised => RootPassword::Unchanged,
            (None, false, false) => {
                return Err(Error::Conflict(
                    "MYSQL_ROOT_PASSWORD (or MYSQL_ROOT_PASSWORD_FILE) is not set: give it, or \
                     MYSQL_RANDOM_ROOT_PASSWORD=true, or MYSQL_ALLOW_EMPTY_PASSWORD=true"
                        .to_owned(),
                ));
            }
            _ => {
                return Err(Error::Conflict(
                    "MYSQL_ROOT_PASSWORD, MYSQL_RANDOM_ROOT_PASSWORD and MYSQL_ALLOW_EMPTY_PASSWORD exclude each \
                     other: give one of them"
                        .to_owned(),
                ));
            }
        };
        let onetime_password = ONETIME_PASSWORD.require(environment)?;
        if onetime_password && root_password == RootPassword::Empty {
            return Err(Error::Conflict(
                "MYSQL_ONETIME_PASSWORD needs a password that can expire: give MYSQL_ROOT_PASSWORD or \
                 MYSQL_RANDOM_ROOT_PASSWORD=true"
                    .to_owned(),
            ));
        }
        let retain = RETAIN_PASSWORD.require(environment)?;
        let account = match (USER.read(environment)?, PASSWORD.read(environment)?) {
            (Some(name), Some(password)) => Some(Account { name, password, retain }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(Error::Conflict(
                    "MYSQL_PASSWORD (or MYSQL_PASSWORD_FILE) is not set: MYSQL_USER needs one".to_owned(),
                ));
            }
            (None, Some(_)) => {
                return Err(Error::Conflict(
                    "MYSQL_USER is not set: MYSQL_PASSWORD is the password of MYSQL_USER".to_owned(),
                ));
            }
        };
        Ok(Self {
            root_password,
            root_host: ROOT_HOST.read(environment)?.filter(|host| host != "localhost"),
            onetime_password,
            database: DATABASE.read(environment)?,
            account,
            time_zones: !SKIP_TZINFO.require(environment)?,
            dataset: DATASET.require(environment)?,
            options: options(environment)?,
        })
    }

    /// The database that a data set is loaded into.
    pub fn dataset_database(&self) -> &str {
        self.database.as_deref().unwrap_or(DATASET_DATABASE)
    }
}

/// The server options among the variables, checked for form; whether mysqld knows them, mysqld says.
fn options(environment: &Environment) -> Result<Vec<(String, String, String)>, Error> {
    let mut found = Vec::new();
    for (variable, value) in environment.with_prefix(OPTION_PREFIX)? {
        let option = variable[OPTION_PREFIX.len()..].to_ascii_lowercase();
        let well_formed = option.starts_with(|c: char| c.is_ascii_lowercase())
            && option.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !well_formed {
            return Err(Error::Conflict(format!(
                "{variable} names no server option: after {OPTION_PREFIX} come letters, digits and _"
            )));
        }
        if sets_own(&option) {
            return Err(Error::Conflict(format!("{variable} sets an option that the image sets itself: leave it out")));
        }
        if value.is_empty() {
            return Err(Error::Empty { name: variable });
        }
        if value.contains(char::is_control) {
            return Err(Error::Conflict(format!("{variable} holds a control character: give one line of text")));
        }
        if value.len() + value.matches(['\\', '"']).count() > MAX_VALUE {
            return Err(Error::Conflict(format!("{variable} is longer than the {MAX_VALUE} bytes that mysqld reads")));
        }
        found.push((variable, option, value));
    }
    Ok(found)
}

/// Whether a command-line option of mysqld is one that the image sets itself.
pub fn is_own_option(argument: &str) -> bool {
    match argument.strip_prefix("--") {
        Some(option) => sets_own(&option.split('=').next().unwrap_or_default().replace('-', "_")),
        // The short forms of basedir and datadir.
        None => argument.starts_with("-b") || argument.starts_with("-h"),
    }
}

/// mysqld takes an option's beginning for the option, and knows `loose_` for those that it may not have.
fn sets_own(option: &str) -> bool {
    let option = option.strip_prefix("loose_").unwrap_or(option);
    !option.is_empty() && OWN_OPTIONS.iter().any(|own| own.starts_with(option))
}

fn password(value: &str) -> Option<String> {
    (value.len() <= MAX_PASSWORD && !value.contains('\0')).then(|| value.to_owned())
}

fn host_pattern(value: &str) -> Option<String> {
    let well_formed =
        value.len() <= MAX_HOST && value.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:%/".contains(&b));
    well_formed.then(|| value.to_owned())
}

fn database(value: &str) -> Option<String> {
    const RESERVED: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];
    let reserved = RESERVED.iter().any(|name| value.eq_ignore_ascii_case(name));
    (!reserved && named(value, MAX_DATABASE)).then(|| value.to_owned())
}

fn user(value: &str) -> Option<String> {
    let reserved = value == "root" || value == HEALTH_USER || value.starts_with("mysql.");
    (!reserved && named(value, MAX_USER)).then(|| value.to_owned())
}

/// MySQL's rules for quoted names: any character of the Basic Multilingual Plane but NUL, no space at the end. Control
/// characters would be allowed too; they are refused because nobody means them.
fn named(value: &str, most: usize) -> bool {
    value.chars().count() <= most
        && !value.ends_with(' ')
        && value.chars().all(|c| !c.is_control() && u32::from(c) <= 0xFFFF)
}

fn dataset(value: &str) -> Option<Dataset> {
    match value {
        "full" => Some(Dataset::Full),
        "small" => Some(Dataset::Small),
        "none" => Some(Dataset::None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::read(&pairs.iter().copied().collect(), false)
    }

    fn refusal(pairs: &[(&str, &str)]) -> String {
        let line = read(pairs).unwrap_err().to_string();
        assert!(!line.contains('\n'), "{line}");
        line
    }

    #[test]
    fn the_usual_variables_are_read() {
        let settings = read(&[
            ("MYSQL_ROOT_PASSWORD", "r'\"`$\\ "),
            ("MYSQL_DATABASE", "shop"),
            ("MYSQL_USER", "app"),
            ("MYSQL_PASSWORD", "päß"),
            ("MYSQL_CONF_MAX_CONNECTIONS", "300"),
        ])
        .unwrap();
        assert_eq!(settings.root_password, RootPassword::Given("r'\"`$\\ ".into()));
        assert_eq!(settings.account, Some(Account { name: "app".into(), password: "päß".into(), retain: false }));
        assert_eq!(settings.dataset_database(), "shop");
        assert_eq!(settings.dataset, Dataset::Full);
        assert_eq!(settings.root_host, None);
        let option = ("MYSQL_CONF_MAX_CONNECTIONS".to_owned(), "max_connections".to_owned(), "300".to_owned());
        assert_eq!(settings.options, [option]);
    }

    #[test]
    fn an_initialised_data_directory_needs_no_root_password() {
        let settings = Settings::read(&Environment::default(), true).unwrap();
        assert_eq!(settings.root_password, RootPassword::Unchanged);
        assert!(refusal(&[]).starts_with("MYSQL_ROOT_PASSWORD (or MYSQL_ROOT_PASSWORD_FILE) is not set: give it"));
    }

    const ROOT: (&str, &str) = ("MYSQL_ROOT_PASSWORD", "r");
    const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[rstest]
    #[case(&[ROOT, ("MYSQL_USER", "app")], "MYSQL_PASSWORD")]
    #[case(&[ROOT, ("MYSQL_PASSWORD", "p")], "MYSQL_USER")]
    #[case(&[ROOT, ("MYSQL_USER", "root"), ("MYSQL_PASSWORD", "p")], "MYSQL_USER")]
    #[case(&[ROOT, ("MYSQL_USER", "mysql.sys"), ("MYSQL_PASSWORD", "p")], "MYSQL_USER")]
    #[case(&[ROOT, ("MYSQL_USER", HEALTH_USER), ("MYSQL_PASSWORD", "p")], "MYSQL_USER")]
    #[case(&[ROOT, ("MYSQL_USER", "a\nb"), ("MYSQL_PASSWORD", "p")], "MYSQL_USER")]
    #[case(&[ROOT, ("MYSQL_USER", LONG), ("MYSQL_PASSWORD", "p")], "MYSQL_USER")]
    #[case(&[ROOT, ("MYSQL_DATABASE", LONG)], "MYSQL_DATABASE")]
    #[case(&[ROOT, ("MYSQL_DATABASE", "MySQL")], "MYSQL_DATABASE")]
    #[case(&[ROOT, ("MYSQL_DATABASE", "a ")], "MYSQL_DATABASE")]
    #[case(&[ROOT, ("MYSQL_DATABASE", "")], "MYSQL_DATABASE")]
    #[case(&[ROOT, ("MYSQL_DATASET", "big")], "MYSQL_DATASET")]
    #[case(&[ROOT, ("MYSQL_ROOT_HOST", "a'b")], "MYSQL_ROOT_HOST")]
    #[case(&[ROOT, ("MYSQL_RANDOM_ROOT_PASSWORD", "yes")], "MYSQL_ROOT_PASSWORD")]
    #[case(&[ROOT, ("MYSQL_RANDOM_ROOT_PASSWORD", "maybe")], "MYSQL_RANDOM_ROOT_PASSWORD")]
    #[case(&[ROOT, ("MYSQL_ROOT_PASSWORD_FILE", "/x")], "MYSQL_ROOT_PASSWORD")]
    #[case(&[("MYSQL_ROOT_PASSWORD_FILE", "/nonexistent/x")], "MYSQL_ROOT_PASSWORD_FILE")]
    #[case(&[("MYSQL_ALLOW_EMPTY_PASSWORD", "1"), ("MYSQL_ONETIME_PASSWORD", "1")], "MYSQL_ONETIME_PASSWORD")]
    #[case(&[ROOT, ("MYSQL_CONF_DATADIR", "/x")], "MYSQL_CONF_DATADIR")]
    #[case(&[ROOT, ("MYSQL_CONF_LOOSE_DATADIR", "/x")], "MYSQL_CONF_LOOSE_DATADIR")]
    #[case(&[ROOT, ("MYSQL_CONF_A B", "1")], "MYSQL_CONF_A B")]
    #[case(&[ROOT, ("MYSQL_CONF_INIT_CONNECT", &"\\".repeat(1951))], "MYSQL_CONF_INIT_CONNECT")]
    #[case(&[ROOT, ("MYSQL_CONF_MAX_CONNECTIONS", "")], "MYSQL_CONF_MAX_CONNECTIONS")]
    #[case(&[ROOT, ("MYSQL_CONF_SQL_MODE", "a\n[mysqld]")], "MYSQL_CONF_SQL_MODE")]
    fn a_wrong_variable_is_named(#[case] pairs: &[(&str, &str)], #[case] name: &str) {
        let line = refusal(pairs);
        assert!(line.starts_with(name), "{line}");
    }

    #[rstest]
    #[case("--datadir=/x", true)]
    #[case("--init-file=/x", true)]
    #[case("--datad=/x", true)]
    #[case("--loose-datadir=/x", true)]
    #[case("-h/x", true)]
    #[case("/x", false)]
    #[case("--help", false)]
    #[case("--max-connections=5", false)]
    fn options_of_the_image_itself_are_known(#[case] argument: &str, #[case] own: bool) {
        assert_eq!(is_own_option(argument), own);
    }

    #[test]
    fn the_documented_table_is_current() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let table = tandem_environment::variable::table(&VARIABLES);
        assert_eq!(tandem_environment::docs::check(page.as_ref(), "mysql", &table), Ok(()));
    }
}
