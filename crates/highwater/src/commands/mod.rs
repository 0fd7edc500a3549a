//! The commands, one module each. A command that talks to a node gets a client and runs on the
//! runtime; one that works offline runs as it is.

pub(crate) mod cluster;
mod confirm;
pub(crate) mod consume;
pub(crate) mod dev;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod inspect;
pub(crate) mod node;
mod node_process;
pub(crate) mod partition;
pub(crate) mod produce;
pub(crate) mod reassign;
pub(crate) mod recover;
pub(crate) mod serve;
pub(crate) mod topic;
pub(crate) mod tour;
mod waiting;

use highwater_client::Client;

use crate::cli::{Cli, Command, GlobalArgs, OutputFormat};
use crate::error::CliError;
use crate::logging;

/// Runs the command that was typed.
pub(crate) fn run(cli: Cli) -> Result<(), CliError> {
    let Cli { global, command } = cli;
    if global.output == OutputFormat::Json {
        has_json(&command)?;
    }
    if let Some(level) = command.log_level() {
        logging::start(level);
    }
    match command {
        Command::Serve(args) => serve(&args, global.output),
        Command::Health(args) => health::run(&args),
        Command::Inspect(args) => inspect::run(&args, global.output),
        Command::Recover(args) => block_on(async { recover::run(&args, global.output).await }),
        Command::Dev(args) => match args.fault() {
            Some(fault) => fault.run(),
            None => block_on(dev::run(args)),
        },
        Command::Tour => block_on(tour::run()),
        Command::Topic(command) => {
            block_on(async { topic::run(command, &connect(&global)?, global.output).await })
        }
        Command::Cluster(command) => {
            block_on(async { cluster::run(command, &connect(&global)?, &global.server, global.output).await })
        }
        Command::Node(command) => {
            block_on(async { node::run(command, &connect(&global)?, global.output).await })
        }
        Command::Partition(command) => {
            block_on(async { partition::run(command, &connect(&global)?, global.output).await })
        }
        Command::Reassign(command) => {
            block_on(async { reassign::run(command, &connect(&global)?, global.output).await })
        }
        Command::Group(command) => {
            block_on(async { group::run(command, &connect(&global)?, global.output).await })
        }
        Command::Produce(args) => {
            block_on(async { produce::run(args, &connect(&global)?, global.output).await })
        }
        Command::Consume(args) => block_on(async { consume::run(args, &connect(&global)?).await }),
    }
}

/// Whether a command can show its results as JSON. To print something else without a word would break a script late.
fn has_json(command: &Command) -> Result<(), CliError> {
    let (command, instead) = match command {
        Command::Topic(_)
        | Command::Cluster(_)
        | Command::Node(_)
        | Command::Partition(_)
        | Command::Reassign(_)
        | Command::Group(_)
        | Command::Inspect(_)
        | Command::Recover(_) => return Ok(()),
        Command::Serve(args) if args.check => return Ok(()),
        Command::Serve(_) => ("serve", Some("`--check` has one, and `--log-format json` logs as JSON")),
        Command::Dev(_) => ("dev", None),
        Command::Tour => ("tour", None),
        Command::Health(_) => ("health", None),
        Command::Produce(args) if args.print_acks => return Ok(()),
        Command::Produce(_) => {
            ("produce", Some("`--format json` reads records as JSON, `--print-acks` has one"))
        }
        Command::Consume(_) => ("consume", Some("`--format json` prints records as JSON")),
    };
    Err(CliError::NoJson { command, instead })
}

/// Runs a node with the settings that hold, or answers what was asked about them.
fn serve(args: &serve::ServeArgs, format: OutputFormat) -> Result<(), CliError> {
    if let Some(answered) = args.answer(format) {
        return answered;
    }
    let effective = args.resolve()?;
    logging::start_configured(&effective.config);
    block_on(serve::run(effective, args.stop_when()))
}

fn connect(global: &GlobalArgs) -> Result<Client, CliError> {
    Ok(Client::connect(&global.server)?)
}

/// Runs a command on a runtime of its own. What still waits for input when the command is done is left behind.
fn block_on(command: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Start)?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}
