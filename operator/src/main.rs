//! The command line: `run`, and the two generated files `crd` and `reference`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use futures_util::future::OptionFuture;
use kube::CustomResourceExt;
use tandem_environment::Environment;
use tandem_operator::admin::Admin;
use tandem_operator::client::Clients;
use tandem_operator::config::Config;
use tandem_operator::controller;
use tandem_operator::crd::WebStack;
use tandem_operator::leader::Election;
use tandem_operator::reference;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Keeps MySQL and a web tier on Kubernetes as WebStack resources say.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reconcile until told to stop; the environment configures it (docs/configuration.md)
    Run,
    /// Print the custom resource's definition as YAML
    Crd,
    /// Print the custom resource's reference as Markdown
    Reference,
}

fn main() -> ExitCode {
    tandem_environment::panic::abort_on_panic();
    let done = match Arguments::parse().command {
        Command::Run => run(),
        Command::Crd => reference::yaml(&WebStack::crd()).map(|text| print!("{text}")),
        Command::Reference => {
            print!("{}", reference::markdown(&WebStack::crd()));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tandem-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let config = Config::read(&Environment::from_process())?;
    tandem_environment::log::start(config.log_level, config.log_format);
    // The process's one provider of cryptography, before anything asks for it.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a provider of cryptography was installed twice");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(operate(config))
}

async fn operate(config: Config) -> anyhow::Result<()> {
    let mut stop = stop_signal().context("signals")?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("LISTEN is {}", config.listen))?;
    let admin = Admin::default();
    tokio::spawn(admin.clone().serve(listener));
    let kubernetes = kube::Config::infer().await.context("finding the cluster")?;
    let clients = Clients::new(kubernetes).context("a client of the cluster")?;
    let version = clients.patient.apiserver_version().await.context("asking the API server")?;
    admin.ready.store(true, Ordering::Relaxed);
    tracing::info!(kubernetes = version.git_version, namespace = config.watch_namespace, "started");

    let namespace = config.namespace(&clients.prompt);
    // Whoever has lost the Lease goes on as one who waits.
    while !*stop.borrow() {
        let candidate = || Election::stand(clients.prompt.clone(), &namespace, &config.pod_name);
        let mut election = config.leader_election.then(candidate);
        if let Some(election) = &mut election {
            tracing::info!(namespace, "waiting to become the leader");
            tokio::select! {
                () = election.won() => {}
                _ = stop.changed() => {}
            }
        }
        if !*stop.borrow() {
            tracing::info!("reconciling");
            let lost = OptionFuture::from(election.as_ref().map(Election::lost));
            let mut stop = stop.clone();
            let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
            tokio::select! {
                () = controller::run(clients.clone(), &config, Arc::clone(&admin.metrics), stopped) => {}
                Some(()) = lost => tracing::warn!("not the leader any more: what has begun is dropped"),
            }
        }
        if let Some(election) = election.filter(|_| *stop.borrow()) {
            election.resign().await;
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Becomes true on SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
        // Kept, so that receivers see the value and no end.
        sender.closed().await;
    });
    Ok(receiver)
}
