//! What can be typed. Each command's own arguments stand with the command.

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::commands;

/// Highwater, a distributed commit log.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands that talk to no server that is named with --server: it is no part of their help.
const WITHOUT_SERVER: [&str; 6] = ["dev", "serve", "tour", "inspect", "recover", "health"];

/// What was typed. Ends the process when that is no command, or a question about commands.
pub(crate) fn parse() -> Cli {
    let matches = command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The command line with the help that each command has.
fn command() -> clap::Command {
    let mut command = Cli::command();
    // What is global reaches the commands only then.
    command.build();
    WITHOUT_SERVER.into_iter().fold(command, |command, name| command.mut_subcommand(name, hide_server))
}

fn hide_server(command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let command = names
        .into_iter()
        .filter(|name| name != "help")
        .fold(command, |command, name| command.mut_subcommand(name, hide_server));
    // Each in its place: a built command finds its arguments by their places.
    command.mut_args(|arg| if arg.get_id() == "server" { arg.hide(true) } else { arg })
}

/// What every command that talks to a node takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GlobalArgs {
    /// The node to talk to, as host:port; several are separated by commas
    #[arg(
        long,
        global = true,
        env = "HIGHWATER_SERVER",
        default_value = "127.0.0.1:7400",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub(crate) server: Vec<String>,
    /// How results are shown
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Table, value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Aligned columns, for people
    Table,
    /// JSON, for programs
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what the cluster promises: three nodes, real records, a leader killed midway, and an account of it
    Tour,
    /// Run nodes on this machine, for trying things out, and play faults on them
    Dev(commands::dev::DevArgs),
    /// Run a node as a service, from a configuration file, the environment and flags
    Serve(commands::serve::ServeArgs),
    /// Create, list, describe, change and delete topics
    #[command(subcommand)]
    Topic(commands::topic::TopicCommand),
    /// Found a cluster, and show how it is
    #[command(subcommand)]
    Cluster(commands::cluster::ClusterCommand),
    /// List, describe, drain and remove nodes, and put them into maintenance
    #[command(subcommand)]
    Node(commands::node::NodeCommand),
    /// Describe a partition with its replicas, and let another one lead it
    #[command(subcommand)]
    Partition(commands::partition::PartitionCommand),
    /// Move replicas between nodes, by a plan
    #[command(subcommand)]
    Reassign(commands::reassign::ReassignCommand),
    /// Consumer groups: list and describe them, see their lag, set or forget their offsets
    #[command(subcommand)]
    Group(commands::group::GroupCommand),
    /// Send records from files or stdin to a topic
    Produce(commands::produce::ProduceArgs),
    /// Print the records of a topic
    Consume(commands::consume::ConsumeArgs),
    /// Look at the data directory of a stopped node: journal, segments, batches, every checksum
    Inspect(commands::inspect::InspectArgs),
    /// Let a cluster that lost its majority for good go on from one stopped node; `--inspect` shows what that has
    Recover(commands::recover::RecoverArgs),
    /// Ask a node whether it serves: for health checks
    Health(commands::health::HealthArgs),
}

impl Command {
    /// What is logged to stderr unless HIGHWATER_LOG says otherwise; nothing for a command whose settings say that.
    pub(crate) fn log_level(&self) -> Option<&'static str> {
        match self {
            Self::Serve(_) => None,
            // A node is quiet as long as all is well, and says in its own words what is not.
            Self::Dev(_) => Some("warn"),
            // A node is killed on purpose; what comes of it is in the account.
            Self::Tour => Some("error"),
            _ => Some("warn"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_typed_means_what_the_help_says() {
        let typed = |words: &str| {
            let matches =
                command().try_get_matches_from(words.split(' ')).unwrap_or_else(|e| panic!("{words}: {e}"));
            Cli::from_arg_matches(&matches).unwrap_or_else(|error| panic!("{words}: {error}"))
        };
        let recover = typed("highwater recover --data d --inspect --output json");
        assert!(matches!(recover.command, Command::Recover(_)) && recover.global.output == OutputFormat::Json);
        let dev = typed("highwater --output json dev --nodes 3 --data d");
        assert!(matches!(dev.command, Command::Dev(_)) && dev.global.output == OutputFormat::Json);
        assert!(matches!(typed("highwater dev kill 2 --data d").command, Command::Dev(_)));
        assert!(matches!(
            typed("highwater serve --node-id 1 --data-dir d --insecure").command,
            Command::Serve(_)
        ));
        assert!(matches!(typed("highwater inspect d").command, Command::Inspect(_)));
        let list = typed("highwater topic list --server a:1,b:2 --output json");
        assert_eq!((list.global.server.len(), list.global.output), (2, OutputFormat::Json));
    }

    #[test]
    fn help_shows_the_server_of_those_commands_alone_that_talk_to_it() {
        let help = |names: &[&str]| {
            let mut command = names
                .iter()
                .fold(command(), |command, name| command.find_subcommand(name).expect(name).clone());
            command.render_long_help().to_string()
        };
        for names in
            [&["serve"][..], &["dev"], &["dev", "kill"], &["inspect"], &["tour"], &["recover"], &["health"]]
        {
            assert!(!help(names).contains("--server"), "{names:?}");
        }
        for names in [&["topic", "list"][..], &["cluster", "status"], &["produce"], &["consume"]] {
            assert!(help(names).contains("--server"), "{names:?}");
        }
    }
}
