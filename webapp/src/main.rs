//! The command line: `webapp serve`, `webapp check`, `webapp migrate` and `webapp openapi`. All configuration comes
//! from the environment.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tandem_environment::Environment;
use tandem_webapp::config::Config;
use tandem_webapp::migrations::{self, Outcome, Recompute};
use tandem_webapp::openapi;
use tandem_webapp::server;

/// How long `webapp migrate` waits for another process that migrates the same database: longer than that takes on a
/// slow machine.
const MIGRATE_PATIENCE: Duration = Duration::from_secs(600);
/// Threads for name look-ups, the only blocking work. The default of 512 would let a resolver that hangs cost memory.
const BLOCKING_THREADS: usize = 4;

/// The employees data set as pages and as JSON.
#[derive(Parser)]
#[command(name = "webapp", version, after_help = "All configuration comes from environment variables.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve pages until SIGTERM
    Serve,
    /// Check the variables, and do nothing else
    Check,
    /// Add the indexes and summary tables that the pages need to the database
    Migrate {
        /// Compute the summary tables again, after rows were changed
        #[arg(long)]
        recompute: bool,
    },
    /// Print the description of the API, an OpenAPI document
    Openapi,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("webapp: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let config = || Config::read(&Environment::from_process());
    // One thread: pages are cheap next to the queries that they wait for, and each further thread costs memory.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let result = match command {
        Command::Serve => {
            let config = config()?;
            tandem_environment::log::start(config.log_level, config.log_format);
            runtime.block_on(server::serve(config)).map_err(Into::into)
        }
        Command::Migrate { recompute } => {
            let recompute = if recompute { Recompute::All } else { Recompute::Outdated };
            runtime.block_on(migrate(&config()?, recompute))
        }
        Command::Check => runtime.block_on(server::check(&config()?)).map_err(Into::into),
        Command::Openapi => {
            print!("{}", openapi::text());
            Ok(())
        }
    };
    // A name look-up that hangs must not keep the process.
    runtime.shutdown_background();
    result
}

async fn migrate(config: &Config, recompute: Recompute) -> anyhow::Result<()> {
    for step in migrations::run(&config.database, MIGRATE_PATIENCE, recompute).await? {
        let what = match step.outcome {
            Outcome::Created(took) => format!("created in {:.1} s", took.as_secs_f64()),
            Outcome::Recomputed(took) => format!("computed again in {:.1} s", took.as_secs_f64()),
            Outcome::Elsewhere => "computed again meanwhile, by another process".to_owned(),
            Outcome::Found => "was there, recorded".to_owned(),
            Outcome::Recorded => "applied before".to_owned(),
        };
        println!("migration {}: {}: {what}", step.version, step.object);
    }
    Ok(())
}
