//! The command line: operators set an installation up, controllers' engineers use the API from a terminal.

mod bench;
mod client;
mod clocks;
mod connector;
mod deadline;
mod demo;
mod fleet;
mod hold;
mod instructed;
mod operator;
mod report;
mod routes;
pub(crate) mod sandbox;
mod user;

use crate::app::{self, App, Role};
use crate::config::{Config, Environment};
use crate::link::Invited;
use crate::rules::RulesInUse;
use crate::telemetry;
use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Redress: find, hand over, correct or delete what is held about one person, on time, and prove it.
#[derive(Debug, Parser)]
#[command(name = "redress", version, about, propagate_version = true)]
pub struct Cli {
    /// A configuration file; the environment overrides it (config/default.toml documents every key).
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up sample systems, fulfil sixty requests in them, and show the board.
    Demo(demo::Demo),
    /// Serve simulated vendors with made-up people on this machine, and a controller's file that connects them.
    Sandbox(sandbox::Sandbox),
    /// Measure this installation on this machine, from outside, with the ceiling beside each figure.
    Bench(Box<bench::Bench>),
    /// Run the service.
    Serve {
        /// What this process does.
        #[arg(long, value_enum, default_value = "all")]
        role: Role,
    },
    /// Bring the database's schema up to date.
    Migrate,
    /// Say what is wrong with this installation.
    Doctor,
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Controllers: our customers.
    #[command(subcommand)]
    Controller(operator::ControllerCommand),
    /// API keys.
    #[command(subcommand)]
    Key(operator::KeyCommand),
    /// People who look at the board.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Provision controllers and their connected systems from TOML files; running it again changes nothing.
    Apply(operator::Apply),
    /// Connectors and connected systems.
    #[command(subcommand)]
    Connector(connector::ConnectorCommand),
    /// Routes: whom notices are told.
    #[command(subcommand)]
    Notify(routes::NotifyCommand),
    /// Check a certificate, a package or an audit export offline.
    Verify(operator::Verify),
    /// Reports on deadlines, on the CCPA's metrics, and the record of processing.
    #[command(subcommand)]
    Report(report::ReportCommand),
    /// Submit a request.
    Submit(Box<client::Submit>),
    /// Show a request with its steps.
    Show(client::Show),
    /// List requests.
    List(client::List),
    /// Let a request that waits for approval go on.
    Approve(client::Act),
    /// Take a request back.
    Withdraw(client::Act),
    /// Try again what needed attention.
    Retry(client::Act),
    /// Refuse a request, with a reason code.
    Reject(client::Reject),
    /// Stop a request's clock and its work while something is awaited; without a request, begin nothing new for a system, a
    /// controller or the whole installation.
    Pause(fleet::Pause),
    /// Let a paused request go on; without a request, a system, a controller or the whole installation.
    Resume(fleet::Resume),
    /// Pause, and wait until nothing is under way.
    Drain(fleet::Drain),
    /// Every controller and system of this installation: what is paused, what is left alone because it fails.
    Systems(fleet::Systems),
    /// Record that the person was told of an extension, with the reasons.
    Extend(clocks::Extend),
    /// Record that receipt was acknowledged to the person.
    Acknowledge(clocks::Acknowledge),
    /// Legal holds: what may not be erased or changed until somebody releases it.
    #[command(subcommand)]
    Hold(hold::HoldCommand),
    /// Compute the dates of a request and say why.
    Deadline(Box<deadline::Deadline>),
    /// Compute the dates of open requests again, by the rules of today; every change is logged.
    Recompute(clocks::Recompute),
    /// Fetch the package of an access request.
    Package(client::Fetch),
    /// Fetch the certificate of a request.
    Certificate(client::Fetch),
    /// Write the controller's audit log to standard output, for `redress verify`.
    Audit(client::Connection),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether the configuration is valid.
    Check,
}

/// Output for programs.
#[derive(Debug, Args)]
pub(crate) struct Json {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs a command to its end on a runtime of its own.
///
/// # Errors
/// As [`run`].
pub fn run_blocking(cli: Cli) -> Result<()> {
    // One TLS implementation for the whole process; a second call could only come from ourselves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
    let run: futures::future::LocalBoxFuture<'static, Result<()>> = Box::pin(run(cli));
    let ended = runtime.block_on(run);
    // What still blocks a thread, such as the look-up of a name, is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Runs a command. The exit code is 0 for done and 1 for refused or failed; clap answers 2 for wrong usage.
///
/// # Errors
/// What went wrong, in one line.
pub async fn run(cli: Cli) -> Result<()> {
    let environment = Environment::of_process();
    let file = cli.config.clone().or_else(|| environment.get("REDRESS_CONFIG").map(PathBuf::from));
    let quiet = || -> Result<Config> { Ok(Config::load_here(file.as_deref(), &environment)?) };
    let settings = || -> Result<Config> {
        let config = quiet()?;
        telemetry::init(&config.log);
        Ok(config)
    };
    match cli.command {
        // The demonstration logs to a file of its own.
        Command::Demo(demo) => Box::pin(demo.run(quiet()?)).await,
        Command::Sandbox(sandbox) => sandbox.run().await,
        Command::Bench(bench) => bench.run(&environment).await,
        Command::Serve { role } => serve(settings()?, role).await,
        Command::Migrate => operator::migrate(settings()?).await,
        Command::Doctor => operator::doctor(settings()?).await,
        Command::Config(ConfigCommand::Check) => {
            let config = settings()?;
            RulesInUse::load(&config)?;
            app::know_manifests(&config)?;
            println!("the configuration is valid");
            Ok(())
        }
        Command::Controller(command) => command.run(settings()?).await,
        Command::Key(command) => command.run(settings()?).await,
        Command::User(command) => command.run(settings()?).await,
        Command::Apply(apply) => apply.run(settings()?, &environment).await,
        Command::Connector(command) => command.run(settings, quiet, &environment).await,
        Command::Notify(command) => command.run(settings()?).await,
        Command::Verify(verify) => verify.run(),
        Command::Report(command) => command.run(settings()?).await,
        Command::Submit(submit) => submit.run(&environment).await,
        Command::Show(show) => show.run(&environment).await,
        Command::List(list) => list.run(&environment).await,
        Command::Approve(act) => act.run(&environment, "approve").await,
        Command::Withdraw(act) => act.run(&environment, "withdraw").await,
        Command::Retry(act) => act.run(&environment, "retry").await,
        Command::Reject(reject) => reject.run(&environment).await,
        Command::Pause(pause) => pause.run(&environment, settings).await,
        Command::Resume(resume) => resume.run(&environment, settings).await,
        Command::Drain(drain) => drain.run(settings()?).await,
        Command::Systems(systems) => systems.run(settings()?).await,
        Command::Extend(extend) => extend.run(&environment).await,
        Command::Acknowledge(acknowledge) => acknowledge.run(&environment).await,
        Command::Hold(command) => command.run(&environment).await,
        Command::Deadline(deadline) => deadline.run(quiet),
        Command::Recompute(recompute) => recompute.run(settings()?).await,
        Command::Package(fetch) => fetch.run(&environment, "package").await,
        Command::Certificate(fetch) => fetch.run(&environment, "certificate").await,
        Command::Audit(connection) => client::audit(&connection, &environment).await,
    }
}

async fn serve(config: Config, role: Role) -> Result<()> {
    let listener = app::listen(config.http.listen).await?;
    let address = listener.local_addr().context("the address listened on")?;
    let app = App::open(config).await?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let grace = Duration::from_secs(app.config().worker.shutdown_grace_seconds);
    tokio::spawn(end_by(stop.clone(), grace + LAST_MOMENTS));
    tracing::info!(%address, ?role, database = ?app.store().dialect(), "Redress is ready on http://{address}");
    if role != Role::Worker && app.is_of_one_machine() {
        say_how_to_sign_in(&app).await?;
    }
    app.serve(role, listener, stop).await?;
    tracing::info!("Redress has stopped");
    Ok(())
}

/// Says where the board is, and lets whoever started it sign in. Standard output and not the log, which others may keep.
async fn say_how_to_sign_in(app: &App) -> Result<()> {
    let url = app.config().public_url();
    let link = Invited::first_administrator().link(app.store(), &url).await?;
    println!("The board: {url}/");
    println!("Sign in once, within fifteen minutes: {link}");
    Ok(())
}

/// Beyond the grace of what runs: for handing back what is left, and closing.
const LAST_MOMENTS: Duration = Duration::from_secs(5);
/// The exit code of a process that could not end in time.
const EXIT_UNENDED: i32 = 74;

/// Ends the process when its time is over, whatever still hangs: a database that is away, a runtime that stands still.
async fn end_by(stop: CancellationToken, time: Duration) {
    stop.cancelled().await;
    let thread = std::thread::Builder::new().name("end".into()).spawn(move || {
        std::thread::sleep(time);
        tracing::error!("not everything could be ended in time; what is left is taken over when its leases run out");
        std::process::exit(EXIT_UNENDED);
    });
    if let Err(error) = thread {
        tracing::error!(%error, "there is no thread that would end this process");
    }
}

/// Cancels at the first SIGTERM or SIGINT; a second one ends the process at once, leaving its work to the leases.
pub(crate) async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return;
    };
    let mut wait = async || {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    };
    wait().await;
    tracing::info!("stopping: nothing new is begun, what runs may end");
    stop.cancel();
    wait().await;
    std::process::exit(130);
}
