//! What the operator says to MySQL: it asks each member of a group how it and the group stand, and tells it to form,
//! join or leave the group. In: an address and a password; out: a [`View`], or why there is none. Every conversation
//! has a time limit.
//!
//! Statements go as plain text, since most of these cannot be prepared. What is put into them is the operator's own:
//! names that it made, and a password of hexadecimal digits.

use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row, raw_sql};
use tokio::task::{JoinError, JoinSet};

use crate::controller::references::hex;
use crate::group::gtid::{GtidSet, Invalid};
use crate::group::{Ordinal, Seen, State, View};

/// The operator's account on each member, and that by which members talk to each other.
pub const ACCOUNT: &str = "tandem-operator";

/// MySQL's port.
pub const PORT: u16 = 3306;

/// Where members keep aside what they are about to lose: a folder of their volume that MySQL itself takes no notice of.
pub const ASIDE: &str = "/var/lib/mysql-aside";

/// How long a member may take to say how it stands, on a connection that there is.
const GLANCE: Duration = Duration::from_millis(1500);

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);

/// How long root may take to make the operator's account, which is written to the disk.
const MAKE: Duration = Duration::from_secs(15);

/// How long the statements may take that change something, but for copying all data.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a member may take to add up its files.
const SUM: Duration = Duration::from_secs(10);

/// How long copying all data may take.
const COPY: Duration = Duration::from_secs(4 * 3600);

/// A member that applies transactions this much later than they were committed is too far behind to be read from, in
/// microseconds.
const LAG: i64 = 10_000_000;

/// Server errors: a wrong password; a server that writes no binary log; a server that has ended to begin anew with what
/// it copied.
const ACCESS_DENIED: u16 = 1045;
const NO_BINARY_LOG: u16 = 1381;
const RESTARTS: u16 = 3707;

/// Why a member did not do as it was told, or did not say how it stands.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection or a statement failed.
    #[error("{0}")]
    Sql(#[from] sqlx::Error),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Late(Duration),
    /// It names its transactions in a way that nobody understands.
    #[error("{0}")]
    Gtids(#[from] Invalid),
    /// The system gives no random bytes.
    #[error("{0}")]
    Random(getrandom::Error),
    /// The conversation was ended from within.
    #[error("{0}")]
    Ended(#[from] JoinError),
    /// It was told to form a group, and is in one by now.
    #[error("it is in a group that works")]
    Serves,
}

impl Error {
    /// Whether the server is known to be away, not only slow.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Io(_)))
    }

    fn code(&self) -> u16 {
        let Self::Sql(error) = self else { return 0 };
        let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
        error.map_or(0, MySqlDatabaseError::number)
    }

    /// Whether the account or its password is unknown to the server.
    pub fn is_access_denied(&self) -> bool {
        self.code() == ACCESS_DENIED
    }
}

/// How the members of one stack are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The Pods' names without their numbers: `NAME-mysql`.
    pub set: String,
    /// What follows a Pod's name in its host name, without a dot at its begin.
    pub domain: String,
    /// The group's UUID, as it was formed first.
    pub group: String,
}

/// How many characters all UUIDs of one group share; the last 12 tell them apart.
const FAMILY: usize = 24;

impl Names {
    /// A member's Pod.
    pub fn pod(&self, member: Ordinal) -> String {
        format!("{}-{member}", self.set)
    }

    /// A member's host name.
    pub fn host(&self, member: Ordinal) -> String {
        format!("{}.{}", self.pod(member), self.domain)
    }

    /// A member's server ID: a number that no other member has, and not 0.
    pub fn server_id(&self, member: Ordinal) -> u32 {
        format!("1{member}").parse().unwrap_or(u32::MAX)
    }

    /// The member of a Pod's name.
    pub fn member(&self, pod: &str) -> Option<Ordinal> {
        let member = pod.strip_prefix(&self.set)?.strip_prefix('-')?.parse().ok()?;
        // Not `-01`.
        (self.pod(member) == pod).then_some(member)
    }

    /// Whether a UUID in lower case is the group's: the first one, or another one.
    fn is_group(&self, uuid: &str) -> bool {
        self.group.get(..FAMILY).is_some_and(|family| uuid.starts_with(family))
    }

    /// Another UUID of the group, which it never had before.
    fn another_uuid(&self) -> Result<String, Error> {
        let mut last = [0; 6];
        getrandom::fill(&mut last).map_err(Error::Random)?;
        Ok(format!("{}{}", self.group.get(..FAMILY).unwrap_or_default(), hex(&last)))
    }

    fn member_of_host(&self, host: &str) -> Option<Ordinal> {
        self.member(host.split('.').next()?)
    }
}

/// Whether a UUID in lower case may be a stack's group's: `names::group_uuid` makes them of version 8, which no server
/// gives to itself.
fn is_any_group(uuid: &str) -> bool {
    uuid.get(14..15) == Some("8") && uuid.get(19..20) == Some("8")
}

/// The passwords of root and of the operator's account.
#[derive(Clone, PartialEq, Eq)]
pub struct Passwords {
    /// Of root, as a server takes it that was started last.
    pub root: String,
    /// Of the operator's account, in hexadecimal digits.
    pub operator: String,
}

/// What a server says of itself, more than what is decided upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What is decided upon.
    pub view: View,
    /// The server's own UUID.
    pub uuid: String,
    /// How far it is behind the primary in applying, in whole seconds.
    pub lag: u64,
    /// The transactions that it has applied.
    pub applied: GtidSet,
    /// Whether it was started with what a group needs: one that runs alone can become its first member as it is.
    pub capable: bool,
}

/// One member, and the connection by which it is asked again and again.
pub struct Server {
    address: String,
    connection: Option<MySqlConnection>,
    /// The question that it is about to answer, one at most. It goes on when nobody waits for it any more: a busy
    /// member would never get to the end of one that is begun anew each time.
    conversation: JoinSet<Result<(MySqlConnection, Statement), Error>>,
}

impl Server {
    /// A server at this address, not connected yet.
    pub fn at(address: &str) -> Self {
        Self { address: address.to_owned(), connection: None, conversation: JoinSet::new() }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks it how it stands, or waits on for the answer to an earlier question. A server that does not know the
    /// operator's account gets it first.
    ///
    /// # Errors
    /// It does not answer in time, or not as expected; the next question goes through a new connection.
    pub async fn ask(&mut self, names: &Names, passwords: &Passwords) -> Result<Statement, Error> {
        // What it said while nobody waited is of another time, the connection is of use.
        if let Some(Ok(Ok((connection, _)))) = self.conversation.try_join_next() {
            self.connection = Some(connection);
        }
        if self.conversation.is_empty() {
            // Whatever ends this takes the connection along.
            let known = self.connection.take();
            let (address, names, passwords) = (self.address.clone(), names.clone(), passwords.clone());
            self.conversation.spawn(async move {
                let mut connection = match known {
                    Some(connection) => connection,
                    None => log_in(&address, &passwords).await?,
                };
                let statement = limited(GLANCE, look(&mut connection, &names)).await?;
                Ok((connection, statement))
            });
        }
        let said = self.conversation.join_next().await.unwrap_or(Ok(Err(Error::Late(GLANCE))));
        let (connection, statement) = said??;
        self.connection = Some(connection);
        Ok(statement)
    }
}

async fn limited<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::Late(limit)))
}

async fn connect(address: &str, user: &str, password: &str) -> Result<MySqlConnection, Error> {
    // Encrypted, with whatever certificate: each server makes its own.
    let options = MySqlConnectOptions::new()
        .host(address)
        .port(PORT)
        .username(user)
        .password(password)
        .ssl_mode(MySqlSslMode::Required)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .disable_statement_logging();
    limited(CONNECT, async { Ok(MySqlConnection::connect_with(&options).await?) }).await
}

/// A connection as the operator's account, which root makes where it is missing or has another password.
async fn log_in(address: &str, passwords: &Passwords) -> Result<MySqlConnection, Error> {
    match connect(address, ACCOUNT, &passwords.operator).await {
        Err(error) if error.is_access_denied() => {
            let mut root = connect(address, "root", &passwords.root).await?;
            limited(MAKE, make_account(&mut root, &passwords.operator)).await?;
            root.close().await?;
            connect(address, ACCOUNT, &passwords.operator).await
        }
        connected => connected,
    }
}

/// The rights of the operator's account: to watch and lead a group, to copy a member, and nobody's rows. PROCESS and
/// REPLICATION CLIENT are for the sizes of files; the statements of others, which PROCESS shows too, are in
/// `performance_schema` anyway.
const RIGHTS: [&str; 2] = [
    "REPLICATION SLAVE, REPLICATION CLIENT, PROCESS, CREATE USER, BACKUP_ADMIN, CLONE_ADMIN, CONNECTION_ADMIN, \
     GROUP_REPLICATION_ADMIN, GROUP_REPLICATION_STREAM, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN ON *.*",
    "SELECT ON performance_schema.*",
];

/// On this server alone: another one may have it already, or get it with the data. Its password comes last: until then
/// nobody can log in, and whoever is cut off in the middle begins anew the next time.
async fn make_account(root: &mut MySqlConnection, password: &str) -> Result<(), Error> {
    let read_only: i64 = one(root, "SELECT @@GLOBAL.super_read_only").await?.try_get_unchecked(0)?;
    run(root, "SET SESSION sql_log_bin = OFF; SET GLOBAL super_read_only = OFF").await?;
    let made = async {
        run(root, &format!("CREATE USER IF NOT EXISTS '{ACCOUNT}'@'%' IDENTIFIED BY RANDOM PASSWORD")).await?;
        for rights in RIGHTS {
            run(root, &format!("GRANT {rights} TO '{ACCOUNT}'@'%'")).await?;
        }
        run(root, &format!("ALTER USER '{ACCOUNT}'@'%' IDENTIFIED BY '{password}'")).await
    }
    .await;
    if read_only == 1 {
        run(root, "SET GLOBAL super_read_only = ON").await?;
    }
    made
}

async fn run(connection: &mut MySqlConnection, sql: &str) -> Result<(), Error> {
    connection.execute(raw_sql(AssertSqlSafe(sql))).await?;
    Ok(())
}

async fn one(connection: &mut MySqlConnection, sql: &'static str) -> Result<MySqlRow, Error> {
    Ok(connection.fetch_one(raw_sql(sql)).await?)
}

const MEMBERS: &str = "SELECT MEMBER_ID, MEMBER_HOST, MEMBER_STATE, MEMBER_ROLE \
    FROM performance_schema.replication_group_members WHERE MEMBER_ID <> ''";

/// The operator's account is marked so on a member that is being filled.
const FILLS: &str = "{\"fills\": true}";

/// What it has, received and not yet applied transactions included; how late it applies, in microseconds; what it has
/// applied; what of a group's needs cannot be changed while it runs; its group's UUID; and whether a copy was cut off.
const ITSELF: &str = "SELECT @@server_uuid, \
    GTID_SUBTRACT(CONCAT(@@GLOBAL.gtid_executed, ',', COALESCE((SELECT received_transaction_set \
        FROM performance_schema.replication_connection_status WHERE channel_name = 'group_replication_applier'), '')), ''), \
    COALESCE((SELECT MAX(TIMESTAMPDIFF(MICROSECOND, APPLYING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP, NOW(6))) \
        FROM performance_schema.replication_applier_status_by_worker \
        WHERE channel_name = 'group_replication_applier' AND APPLYING_TRANSACTION <> ''), 0), \
    @@GLOBAL.gtid_executed, \
    @@GLOBAL.server_id, COALESCE(@@GLOBAL.report_host, ''), @@GLOBAL.gtid_mode = 'ON' AND @@GLOBAL.log_bin AND (\
        SELECT COUNT(*) FROM information_schema.PLUGINS \
        WHERE PLUGIN_NAME IN ('group_replication', 'clone') AND PLUGIN_STATUS = 'ACTIVE') = 2, \
    COALESCE((SELECT VARIABLE_VALUE FROM performance_schema.global_variables \
        WHERE VARIABLE_NAME = 'group_replication_group_name'), ''), \
    COALESCE((SELECT ATTRIBUTE ->> '$.fills' = 'true' FROM information_schema.USER_ATTRIBUTES \
        WHERE CONCAT(USER, '@', HOST) = CURRENT_USER()), 0)";

async fn look(connection: &mut MySqlConnection, names: &Names) -> Result<Statement, Error> {
    let itself = one(connection, ITSELF).await?;
    let uuid: String = itself.try_get_unchecked(0)?;
    let gtids: GtidSet = itself.try_get_unchecked::<String, _>(1)?.parse()?;
    let lag: i64 = itself.try_get_unchecked(2)?;
    let applied: GtidSet = itself.try_get_unchecked::<String, _>(3)?.parse()?;
    let (id, host): (u32, String) = (itself.try_get_unchecked(4)?, itself.try_get_unchecked(5)?);
    let named = |member| host == names.host(member) && id == names.server_id(member);
    let capable = names.member_of_host(&host).is_some_and(named) && itself.try_get_unchecked::<i64, _>(6)? == 1;
    let (mut state, mut sees) = (State::Offline, Vec::new());
    for row in connection.fetch_all(raw_sql(MEMBERS)).await? {
        let (id, host): (String, String) = (row.try_get_unchecked(0)?, row.try_get_unchecked(1)?);
        let of_row = state_of(&row.try_get_unchecked::<String, _>(2)?);
        if id == uuid {
            state = of_row;
        }
        let primary = row.try_get_unchecked::<String, _>(3)? == "PRIMARY";
        sees.push(Seen { member: names.member_of_host(&host), state: of_row, primary });
    }
    if !state.votes() {
        sees.clear();
    }
    let group: String = itself.try_get_unchecked(7)?;
    let is_cut_off: i64 = itself.try_get_unchecked(8)?;
    let joined = gtids.has_any_from(|uuid| names.is_group(uuid)) && is_cut_off == 0;
    let foreign = gtids.has_any_from(|uuid| is_any_group(uuid) && !names.is_group(uuid));
    let view = View { state, group, sees, gtids, joined, foreign, lags: lag > LAG };
    Ok(Statement { view, uuid, lag: u64::try_from(lag / 1_000_000).unwrap_or_default(), applied, capable })
}

fn state_of(word: &str) -> State {
    match word {
        "ONLINE" => State::Online,
        "RECOVERING" => State::Recovering,
        "UNREACHABLE" => State::Unreachable,
        "ERROR" => State::Error,
        _ => State::Offline,
    }
}

/// What files take, in bytes: tables, undo and temporary tablespaces, the redo log, and what was written to relay logs,
/// of which a member keeps the last one, of up to 1 GiB.
const FILES: &str = "SELECT CAST( \
    (SELECT COALESCE(SUM(ALLOCATED_SIZE), 0) FROM information_schema.INNODB_TABLESPACES) \
    + (SELECT COALESCE(SUM(SIZE), 0) FROM information_schema.INNODB_SESSION_TEMP_TABLESPACES) \
    + (SELECT COALESCE(SUM(SUM_NUMBER_OF_BYTES_WRITE), 0) FROM performance_schema.file_summary_by_instance \
        WHERE EVENT_NAME = 'wait/io/file/sql/relaylog') \
    + @@GLOBAL.innodb_redo_log_capacity AS UNSIGNED)";

/// Whether an earlier look at the binary logs still hangs: while a server waits for room on its volume, nobody gets to
/// see them, and every further look would hold one more of its connections.
const HANGS: &str = "SELECT COUNT(*) FROM performance_schema.processlist \
    WHERE USER = SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AND INFO LIKE 'SHOW BINARY LOGS%'";

/// What no statement shows, in bytes: the system tablespace (12 MiB) and the doublewrite files (16 MiB).
const UNSEEN: u64 = 28 << 20;

/// How many bytes of its volume a server uses that runs alone, and knows no account of the operator's: it is asked as
/// root.
///
/// # Errors
/// It does not say.
pub async fn used(address: &str, password: &str) -> Result<u64, Error> {
    limited(SUM, async { sum(connect(address, "root", password).await?).await }).await
}

async fn sum(mut connection: MySqlConnection) -> Result<u64, Error> {
    if one(&mut connection, HANGS).await?.try_get_unchecked::<i64, _>(0)? > 0 {
        return Err(Error::Late(SUM));
    }
    let mut used = UNSEEN + one(&mut connection, FILES).await?.try_get_unchecked::<u64, _>(0)?;
    let logs = connection.fetch_all(raw_sql("SHOW BINARY LOGS")).await.map_err(Error::from);
    let logs = match logs {
        Err(error) if error.code() == NO_BINARY_LOG => Vec::new(),
        logs => logs?,
    };
    for log in logs {
        used += log.try_get_unchecked::<u64, _>(1)?;
    }
    connection.close().await?;
    Ok(used)
}

/// Whether a server takes writes as soon as it runs: never; always, and from now on; as its settings say. The first
/// waits for statements that write, and everybody who wants to write waits for it: it gives up soon.
const READ_ONLY: &str = "SET SESSION lock_wait_timeout = 2; SET PERSIST super_read_only = ON";
const WRITABLE: &str = "RESET PERSIST IF EXISTS super_read_only; SET GLOBAL read_only = OFF, offline_mode = OFF";
const AS_SET: &str = "RESET PERSIST IF EXISTS super_read_only";

/// From now on, and whenever the server starts again, its group is the one of this UUID.
async fn be_of(connection: &mut MySqlConnection, group: &str) -> Result<(), Error> {
    run(connection, &format!("SET PERSIST group_replication_group_name = '{group}'")).await
}

/// A member that is told something. Each of these opens a connection of its own, so that the member can be asked how it
/// stands meanwhile.
pub struct Order {
    /// Where the member is.
    pub address: String,
    /// How the members are called.
    pub names: Names,
    /// How to log in.
    pub passwords: Passwords,
    /// Whether it was started as a server that runs alone, and takes writes as soon as it runs.
    pub alone: bool,
}

impl Order {
    async fn log_in(&self) -> Result<MySqlConnection, Error> {
        log_in(&self.address, &self.passwords).await
    }

    /// Forms the group, under this UUID where one is given: it is the first member, and the only one for now. One that
    /// serves alone refuses writes for a fraction of a second.
    ///
    /// # Errors
    /// It cannot, and serves alone as before where it did.
    pub async fn bootstrap(&self, uuid: Option<&str>, serves: bool) -> Result<(), Error> {
        let formed = limited(PATIENCE, async {
            let mut connection = self.log_in().await?;
            self.refuse_where(&mut connection, |view| view.state.votes()).await?;
            self.prepare(&mut connection, &[]).await?;
            if let Some(uuid) = uuid {
                be_of(&mut connection, uuid).await?;
            }
            self.form(&mut connection).await
        })
        .await;
        if serves && formed.as_ref().is_err_and(|error| !matches!(error, Error::Serves)) {
            // On a new connection: the other one may hang.
            limited(PATIENCE, async { run(&mut self.log_in().await?, WRITABLE).await }).await?;
        }
        formed
    }

    /// Forms the group anew, whatever others have: under another UUID, so that nobody mistakes one of their later
    /// transactions for one of this group's.
    ///
    /// # Errors
    /// It cannot.
    pub async fn reform(&self) -> Result<(), Error> {
        let group = self.names.another_uuid()?;
        limited(PATIENCE, async {
            let mut connection = self.log_in().await?;
            self.refuse_where(&mut connection, View::has_quorum).await?;
            self.prepare(&mut connection, &[]).await?;
            be_of(&mut connection, &group).await?;
            self.form(&mut connection).await
        })
        .await
    }

    /// What was judged a moment ago may not hold any more: another operator may have been at work.
    async fn refuse_where(
        &self,
        connection: &mut MySqlConnection,
        serves: impl FnOnce(&View) -> bool,
    ) -> Result<(), Error> {
        let said = look(connection, &self.names).await?;
        if serves(&said.view) { Err(Error::Serves) } else { Ok(()) }
    }

    async fn form(&self, connection: &mut MySqlConnection) -> Result<(), Error> {
        run(connection, "SET GLOBAL group_replication_bootstrap_group = ON").await?;
        let started = run(connection, "START GROUP_REPLICATION").await;
        // In any case: a server that forms a group whenever it starts would form a second one.
        run(connection, "SET GLOBAL group_replication_bootstrap_group = OFF").await?;
        started?;
        run(connection, "SET GLOBAL offline_mode = OFF").await
    }

    /// Writes the group's first transaction: who has it was in the group. Of a copy that was cut off, nothing is told
    /// any more: what there is counts now.
    ///
    /// # Errors
    /// It is not the primary, or not yet: a server takes writes a moment after it was elected.
    pub async fn mark(&self) -> Result<(), Error> {
        let sql = format!("ALTER USER '{ACCOUNT}'@'%' ATTRIBUTE '{{\"group\": \"formed\", \"fills\": null}}'");
        limited(PATIENCE, async { run(&mut self.log_in().await?, &sql).await }).await
    }

    /// Joins the group of this UUID, through `seeds`.
    ///
    /// # Errors
    /// It cannot.
    pub async fn join(&self, group: &str, seeds: &[Ordinal]) -> Result<(), Error> {
        limited(PATIENCE, async {
            let mut connection = self.log_in().await?;
            self.prepare(&mut connection, seeds).await?;
            be_of(&mut connection, group).await?;
            run(&mut connection, "START GROUP_REPLICATION").await?;
            run(&mut connection, "SET GLOBAL offline_mode = OFF").await
        })
        .await
    }

    /// Out of whatever group or failed attempt it is in, with what it needs to join another.
    async fn prepare(&self, connection: &mut MySqlConnection, seeds: &[Ordinal]) -> Result<(), Error> {
        run(connection, "STOP GROUP_REPLICATION").await?;
        // An attempt to form a group that was cut off leaves it on: whoever joins would form a second one.
        run(connection, "SET GLOBAL group_replication_bootstrap_group = OFF").await?;
        // What is persisted wins over the settings of a server that runs alone: the next time it starts, the group may
        // have another primary.
        run(connection, if self.alone { READ_ONLY } else { AS_SET }).await?;
        let seeds: Vec<_> = seeds.iter().map(|&seed| format!("{}:{PORT}", self.names.host(seed))).collect();
        run(connection, &format!("SET GLOBAL group_replication_group_seeds = '{}'", seeds.join(","))).await?;
        let source = format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_USER = '{ACCOUNT}', SOURCE_PASSWORD = '{}' \
             FOR CHANNEL 'group_replication_recovery'",
            self.passwords.operator
        );
        run(connection, &source).await
    }

    /// Leaves the group, after which nobody writes to it.
    ///
    /// # Errors
    /// It cannot.
    pub async fn leave(&self) -> Result<(), Error> {
        limited(PATIENCE, async { run(&mut self.log_in().await?, "STOP GROUP_REPLICATION").await }).await
    }

    /// Keeps a copy of all its data, in a new folder of this name below [`ASIDE`].
    ///
    /// # Errors
    /// It cannot: for example, its volume has no room for a second copy, which MySQL looks at before it begins.
    pub async fn keep_aside(&self, folder: &str) -> Result<(), Error> {
        let copy = format!("CLONE LOCAL DATA DIRECTORY = '{ASIDE}/{folder}'");
        limited(COPY, async { run(&mut self.log_in().await?, &copy).await }).await
    }

    /// Replaces all its data by that of `donor`, who is in the group of this UUID. The server ends afterwards, and
    /// starts anew.
    ///
    /// # Errors
    /// It cannot.
    pub async fn copy(&self, group: &str, donor: Ordinal) -> Result<(), Error> {
        let (host, password) = (self.names.host(donor), &self.passwords.operator);
        let copy = format!("CLONE INSTANCE FROM '{ACCOUNT}'@'{host}':{PORT} IDENTIFIED BY '{password}' REQUIRE SSL");
        limited(COPY, async {
            let mut connection = self.log_in().await?;
            run(&mut connection, "STOP GROUP_REPLICATION").await?;
            be_of(&mut connection, group).await?;
            run(&mut connection, "SET GLOBAL super_read_only = OFF").await?;
            // The copy has not this mark. One that is cut off begins with taking away what there was, and leaves it.
            run(&mut connection, "SET SESSION sql_log_bin = OFF").await?;
            run(&mut connection, &format!("ALTER USER '{ACCOUNT}'@'%' ATTRIBUTE '{FILLS}'")).await?;
            run(&mut connection, &format!("SET GLOBAL clone_valid_donor_list = '{host}:{PORT}'")).await?;
            match run(&mut connection, &copy).await {
                // Its end is what it was asked for; some say goodbye and some do not.
                Err(error) if error.code() == RESTARTS || error.is_away() => Ok(()),
                done => done,
            }
        })
        .await
    }

    /// How many bytes of its volume it uses. Beside `du`, on three members of 220 to 840 MiB, this was too little by
    /// 0.2 to 2 MiB. It leaves out what was kept aside, and relay logs that were written before the server's last
    /// start.
    ///
    /// # Errors
    /// It does not say.
    pub async fn used(&self) -> Result<u64, Error> {
        limited(SUM, async { sum(self.log_in().await?).await }).await
    }

    /// Makes the member of that server's UUID the primary; running transactions have 10 s to end.
    ///
    /// # Errors
    /// The group does not.
    pub async fn make_primary(&self, uuid: &str) -> Result<(), Error> {
        let sql = format!("SELECT group_replication_set_as_primary('{uuid}', 10)");
        limited(PATIENCE, async { run(&mut self.log_in().await?, &sql).await }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("shop-mysql-0.shop-mysql-nodes.default.svc.cluster.local", Some(0))]
    #[case("shop-mysql-4", Some(4))]
    #[case("shop-mysql-x.shop-mysql-nodes", None)]
    #[case("shop-mysql-01", None)]
    #[case("shop2-mysql-0.shop-mysql-nodes", None)]
    #[case("", None)]
    fn members_are_known_by_their_host_names(#[case] host: &str, #[case] member: Option<Ordinal>) {
        let names = Names { set: "shop-mysql".to_owned(), domain: "shop-mysql-nodes".to_owned(), group: String::new() };
        assert_eq!(names.member_of_host(host), member);
        assert_eq!(names.host(2), "shop-mysql-2.shop-mysql-nodes");
    }

    #[test]
    fn a_group_that_is_formed_anew_has_another_uuid_and_stays_the_same_stacks() {
        let group = "3f8a1c05-9b2e-8d41-8a77-0123456789ab".to_owned();
        let names = Names { set: "shop-mysql".to_owned(), domain: String::new(), group: group.clone() };
        let (one, other) = (names.another_uuid().unwrap(), names.another_uuid().unwrap());
        assert!(one != other && one != group && one.len() == group.len(), "{one} {other}");
        assert!(
            names.is_group(&group) && names.is_group(&one) && !names.is_group("3f8a1c05-9b2e-8d41-8a78-0123456789ab")
        );
        assert!(is_any_group(&one) && is_any_group("3f8a1c05-9b2e-8d41-8a78-0123456789ab"));
        assert!(!is_any_group("3e11fa47-71ca-11e1-9e33-c80aa9429562"), "a server's own");
        assert!(format!("{one}:1").parse::<GtidSet>().unwrap().has_any_from(|uuid| names.is_group(uuid)));
    }

    #[tokio::test]
    async fn a_slow_member_is_not_asked_anew_by_whoever_has_not_waited_for_it() {
        // A server that takes connections and says nothing.
        let address = "127.77.33.6";
        let listener = tokio::net::TcpListener::bind((address, PORT)).await.unwrap();
        let names = Names { set: "shop-mysql".to_owned(), domain: "shop-mysql-nodes".to_owned(), group: String::new() };
        let passwords = Passwords { root: "a".to_owned(), operator: "b".to_owned() };
        let mut server = Server::at(address);
        let impatient = async |server: &mut Server| {
            tokio::time::timeout(Duration::from_millis(20), server.ask(&names, &passwords)).await.is_err()
        };
        assert!(impatient(&mut server).await && impatient(&mut server).await);
        let (first, _) = listener.accept().await.unwrap();
        assert!(impatient(&mut server).await);
        assert!(tokio::time::timeout(Duration::from_millis(20), listener.accept()).await.is_err(), "asked twice");
        drop((first, listener));
        assert!(server.ask(&names, &passwords).await.is_err(), "it is gone");
    }
}
