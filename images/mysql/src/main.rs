//! `tandem-mysql`: the MySQL image's one program of its own. Each subcommand is a step of the container's life.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tandem_environment::Environment;
use tandem_mysql::dataset::{Manifest, Thousands};
use tandem_mysql::entrypoint::{self, Task};
use tandem_mysql::server::Login;
use tandem_mysql::settings::{RootPassword, Settings};
use tandem_mysql::{Error, group, health, pack, random, record, sample, verify};

#[derive(Parser)]
#[command(name = "tandem-mysql", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Start the container: mysqld with these options, or another program.
    Entrypoint {
        /// Nothing, options of mysqld, `mysqld` and options, or a program to run instead.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Exit with 0 when the server answers.
    Health,
    /// Before a member of a group stops: where it is the primary, let another member take over.
    HandOver,
    /// Print which data set the running server holds.
    Dataset,
    /// Compare the loaded data set's row counts and checksums with its manifest.
    Verify,
    /// Generate a data set of the employees schema.
    Sample {
        /// How many employees; the other tables follow.
        #[arg(long, default_value_t = 300_024)]
        employees: u32,
        /// The same seed gives the same data.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The folder to write; it is replaced when the data set is complete.
        folder: PathBuf,
    },
    /// Check the files of a data set and copy what the image needs of them.
    Pack {
        /// The data set's folder.
        source: PathBuf,
        /// The folder to write; it is replaced.
        target: PathBuf,
    },
    /// Make the data directories that first starts begin with, when the image is built.
    Snapshot {
        /// The folder to write them into.
        target: PathBuf,
    },
    /// Write a random password into each of these files that does not exist.
    Password {
        /// The files.
        files: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    tandem_environment::panic::abort_on_panic();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tandem-mysql: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Subcommands) -> Result<(), Error> {
    match command {
        Subcommands::Entrypoint { command } => match Task::of(command) {
            Task::Run(command) => {
                let (program, arguments) = command.split_first().map_or(("true", &[][..]), |(p, a)| (p.as_str(), a));
                Err(entrypoint::replace(std::process::Command::new(program).args(arguments)))
            }
            Task::Serve(arguments) => {
                tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_target(false).init();
                entrypoint::hold_signals();
                entrypoint::become_mysql()?;
                block_on(entrypoint::serve(&Environment::from_process(), arguments)).map(|never| match never {})
            }
        },
        Subcommands::Health => block_on(health::check(entrypoint::HEALTH_PASSWORD.as_ref())),
        Subcommands::HandOver => block_on(async {
            if let Some(heir) = group::hand_over(entrypoint::HEALTH_PASSWORD.as_ref()).await? {
                println!("the server {heir} has taken over");
            }
            Ok(())
        }),
        Subcommands::Dataset => block_on(async {
            let (_, _, manifest) = loaded(&Environment::from_process()).await?;
            println!("{}", manifest.description);
            Ok(())
        }),
        Subcommands::Verify => block_on(check_data(&Environment::from_process())),
        Subcommands::Sample { employees, seed, folder } => {
            let manifest = sample::write(&folder, &sample::Options { employees, seed })
                .map_err(|e| Error::Program { program: "generating the sample".to_owned(), how: e.to_string() })?;
            println!("{}: {}", folder.display(), manifest.description);
            Ok(())
        }
        Subcommands::Pack { source, target } => {
            println!("{}", pack::pack(&source, &target)?.description);
            Ok(())
        }
        Subcommands::Snapshot { target } => block_on(entrypoint::make_snapshots(&target)),
        Subcommands::Password { files } => files.iter().try_for_each(|file| random::password_file(file)),
    }
}

/// One thread is enough for a process that mostly waits for mysqld; conversions run on threads of their own.
fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().on_thread_start(entrypoint::hold_signals).build();
    let runtime = runtime.map_err(|e| Error::io("the runtime", e))?;
    let done = runtime.block_on(work);
    // A thread that still waits for the other end of a pipe must not keep the process alive.
    runtime.shutdown_background();
    done
}

/// A running server's login for the application's user (or root), its database, and the data set that it holds.
async fn loaded(environment: &Environment) -> Result<(Login, String, Manifest), Error> {
    let settings = Settings::read(environment, true)?;
    let database = settings.dataset_database().to_owned();
    let (user, password) = match (settings.account, settings.root_password) {
        // Without MYSQL_DATABASE the account has no rights anywhere.
        (Some(account), _) if settings.database.is_some() => (account.name, account.password),
        (_, RootPassword::Given(password)) => ("root".to_owned(), password),
        _ => ("root".to_owned(), String::new()),
    };
    let login = Login::new(health::SOCKET, &user, &password);
    let mut connection = login.connect().await.map_err(Error::sql("connecting to the server"))?;
    match record::read(&mut connection, &database).await? {
        Some(manifest) => Ok((login, database, manifest)),
        None => Err(Error::NoDataset(database)),
    }
}

/// The data check of a running server.
async fn check_data(environment: &Environment) -> Result<(), Error> {
    let (login, database, manifest) = loaded(environment).await?;
    let connect = || async { login.connect().await.map_err(Error::sql("connecting to the server")) };
    verify::all(vec![connect().await?, connect().await?], &database, &manifest).await?;
    for table in &manifest.tables {
        println!("{}: {} rows, checksum {}", table.name, Thousands(table.rows), table.md5);
    }
    println!("data set complete: {}", manifest.description);
    Ok(())
}
