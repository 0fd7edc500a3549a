//! A question before something that cannot be taken back. It goes to standard error: standard output is for results.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::error::CliError;

/// Asks on the terminal, unless `yes` answers already. `what` says what will be lost.
///
/// # Errors
/// The answer is no, or there is nobody to ask.
pub(crate) fn confirm(what: &str, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    let answer = ask(what, "Go on? [y/N] ")?;
    match answer.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::Declined),
    }
}

/// The same, with a word that nobody types by accident. `what` has been shown already.
///
/// # Errors
/// As [`confirm`].
pub(crate) fn confirm_by_word(what: &str, word: &str, yes: bool) -> Result<(), CliError> {
    if yes || ask(what, &format!("Type \"{word}\" to go on: "))? == word {
        return Ok(());
    }
    Err(CliError::Declined)
}

fn ask(what: &str, question: &str) -> Result<String, CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::NobodyToAsk { what: what.to_owned() });
    }
    let mut err = io::stderr().lock();
    // When stderr is gone the question is lost, and what is typed is no yes.
    let _ = write!(err, "{what}\n{question}").and_then(|()| err.flush());
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|cause| CliError::Input { name: "the answer".to_owned(), cause })?;
    Ok(answer.trim().to_owned())
}
