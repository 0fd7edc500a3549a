//! Waiting for what the cluster does by itself: with progress, for as long as wanted, and so that it can be interrupted. The
//! cluster goes on whoever waits; nothing is undone by giving up.

use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::CliError;
use crate::output::Progress;

/// The first pause between two looks; each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// For how long the cluster may be out of reach before the wait ends, where no time was given.
const OUTAGE_MAX: Duration = Duration::from_secs(60);

/// What is said while no answer came at all.
const UNANSWERED: &str = "waited for the cluster's first answer, which no server has given";
/// What to do about it.
const UNANSWERED_HINT: &str = "whether the cluster heard of it is unknown: type the command again, with more servers (--server) or \
                               more time";

/// Whether to wait for what was asked for, and how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitArgs {
    /// Only ask for it: the cluster does the rest by itself
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Stop waiting after this time; the cluster goes on [default: wait until it is done]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

impl WaitArgs {
    pub(crate) fn is_wanted(&self) -> bool {
        !self.no_wait
    }
}

/// What a look found.
#[derive(Debug)]
pub(crate) enum Look<T> {
    /// It is as it should be.
    Done(T),
    /// How far it is.
    NotYet(String),
}

/// What is waited for. Its time begins when it is made: before the command's first call.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    /// What is not so when the time is over: `node 3 is not drained`.
    unfinished: String,
    /// What to know and to type when the wait ended too early.
    hint: String,
    began: Instant,
    deadline: Option<Instant>,
}

impl Wait {
    /// A wait as the user wants it.
    pub(crate) fn new(args: &WaitArgs, unfinished: String, hint: String) -> Self {
        Self::within(args.timeout, unfinished, hint)
    }

    /// A wait for so long at most.
    pub(crate) fn within(timeout: Option<Duration>, unfinished: String, hint: String) -> Self {
        let began = Instant::now();
        Self { unfinished, hint, began, deadline: timeout.map(|timeout| began + timeout) }
    }

    /// What the cluster answers to a call, within the time of the whole command.
    ///
    /// # Errors
    /// The time is over, the user had enough of it, or the call failed.
    pub(crate) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        let mut interrupts = signal(SignalKind::interrupt()).map_err(CliError::Start)?;
        tokio::select! {
            answered = call => answered,
            () = self.until_deadline() => Err(self.not_in_time(UNANSWERED.to_owned(), UNANSWERED_HINT)),
            _ = interrupts.recv() => Err(self.interrupted()),
        }
    }

    /// Looks again and again until it is done. A node that goes away meanwhile is no reason to end: another one is asked.
    ///
    /// # Errors
    /// The time is over, the user had enough of it, or the look found what does not pass.
    pub(crate) async fn until<T>(
        &self,
        mut look: impl AsyncFnMut() -> Result<Look<T>, CliError>,
    ) -> Result<T, CliError> {
        let mut interrupts = signal(SignalKind::interrupt()).map_err(CliError::Start)?;
        let mut progress = Progress::start();
        let (mut pause, mut answered) = (PAUSE_MIN, Instant::now());
        let mut state = UNANSWERED.to_owned();
        loop {
            let looked = tokio::select! {
                looked = look() => looked,
                () = self.until_deadline() => return Err(self.not_in_time(state, &self.hint)),
                _ = interrupts.recv() => return Err(self.interrupted()),
            };
            state = match looked {
                Ok(Look::Done(done)) => return Ok(done),
                Ok(Look::NotYet(state)) => {
                    answered = Instant::now();
                    state
                }
                Err(error) if error.is_passing() => {
                    if self.deadline.is_none() && answered.elapsed() >= OUTAGE_MAX {
                        return Err(error);
                    }
                    error.to_string()
                }
                Err(error) => return Err(error),
            };
            progress.show(&state);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.until_deadline() => return Err(self.not_in_time(state, &self.hint)),
                _ = interrupts.recv() => return Err(self.interrupted()),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn until_deadline(&self) {
        match self.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    fn not_in_time(&self, state: String, hint: &str) -> CliError {
        let (unfinished, hint) = (self.unfinished.clone(), hint.to_owned());
        CliError::NotInTime { unfinished, waited: self.began.elapsed(), state, hint }
    }

    fn interrupted(&self) -> CliError {
        CliError::Interrupted { unfinished: self.unfinished.clone(), hint: self.hint.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_client::ClientError;

    fn wait(timeout: Option<Duration>) -> Wait {
        Wait::within(timeout, "it is not done".to_owned(), "go on".to_owned())
    }

    fn out_of_reach() -> CliError {
        ClientError::Connection { server: "a:1".to_owned(), reason: "refused".to_owned() }.into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_away_for_a_moment_does_not_end_the_wait() {
        let mut looks = 0;
        let done = wait(None)
            .until(async || {
                looks += 1;
                match looks {
                    1 => Ok(Look::NotYet("half".to_owned())),
                    2..10 => Err(out_of_reach()),
                    _ => Ok(Look::Done(looks)),
                }
            })
            .await;
        assert_eq!(done.expect("it is done"), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_its_time_is_over_and_says_how_far_it_was() {
        let look = async || Ok(Look::<()>::NotYet("2 replicas left".to_owned()));
        let error = wait(Some(Duration::from_secs(90))).until(look).await.expect_err("never done");
        assert_eq!(error.to_string(), "it is not done after 1m 30s: 2 replicas left");
        assert_eq!((error.exit_code(), error.hint()), (1, Some("go on".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_answers_nothing_ends_the_command_in_its_time_with_what_was_waited_for() {
        let wait = wait(Some(Duration::from_secs(2)));
        let error = wait.answer(std::future::pending::<Result<(), _>>()).await.expect_err("no answer");
        let expected =
            "it is not done after 2s: waited for the cluster's first answer, which no server has given";
        assert_eq!(error.to_string(), expected);
        let mut looks = 0;
        let look = async || {
            looks += 1;
            if looks == 1 { Ok(Look::<()>::NotYet("half".to_owned())) } else { std::future::pending().await }
        };
        let error = self::wait(Some(Duration::from_secs(2))).until(look).await.expect_err("no second answer");
        assert_eq!(error.to_string(), "it is not done after 2s: half");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_stays_out_of_reach_ends_a_wait_without_a_time() {
        let error =
            wait(None).until(async || Err::<Look<()>, _>(out_of_reach())).await.expect_err("nobody there");
        assert!(matches!(error, CliError::Client(_)), "{error}");
    }
}
