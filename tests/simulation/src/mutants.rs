//! Known bugs, the faults that bring each of them out, and how many seeds that takes.

use std::process::ExitCode;

use highwater_types::mutant::Mutant;

use crate::Arguments;
use crate::campaign;
use crate::faults::Kind;

/// Seeds after which a bug counts as not noticed.
const SEEDS_MAX: u64 = 200;

/// The bug of that name, as the command line has it.
pub(crate) fn find(name: &str) -> Option<Mutant> {
    Mutant::ALL.into_iter().find(|mutant| name_of(*mutant) == name)
}

/// `AckBeforeFsync` is `ack-before-fsync`.
pub(crate) fn name_of(mutant: Mutant) -> String {
    let mut name = String::new();
    for letter in format!("{mutant:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// Puts the bug into this process.
///
/// # Errors
/// When the program was built without them.
pub(crate) fn activate(name: &str) -> Result<(), String> {
    let mutant = find(name).ok_or_else(|| {
        let names: Vec<String> = Mutant::ALL.into_iter().map(name_of).collect();
        format!("there is no mutant '{name}'; there are {}", names.join(", "))
    })?;
    switch(mutant)
}

#[cfg(feature = "mutants")]
fn switch(mutant: Mutant) -> Result<(), String> {
    highwater_types::mutant::activate(mutant);
    Ok(())
}

#[cfg(not(feature = "mutants"))]
fn switch(mutant: Mutant) -> Result<(), String> {
    Err(format!("{mutant:?} is not in this program: build it with --features mutants"))
}

/// Faults that give the bug a chance to do harm; none for one that only the model check of consumer groups can notice.
fn faults_for(mutant: Mutant) -> Vec<Kind> {
    match mutant {
        Mutant::AckBeforeFsync | Mutant::FlushReordered => vec![Kind::Blackout, Kind::SlowDisk],
        Mutant::AppliedPastDurable | Mutant::SegmentsUnsynced => {
            vec![Kind::Blackout, Kind::PowerCut, Kind::CutInWrite, Kind::SlowDisk]
        }
        Mutant::AckBeforeMajority => vec![Kind::Isolate, Kind::Kill],
        Mutant::LeaderRestore => vec![Kind::PowerCut, Kind::CutInWrite, Kind::SlowDisk],
        Mutant::LostVote | Mutant::OlderVote => vec![Kind::Kill, Kind::PowerCut, Kind::CutPair, Kind::Isolate],
        Mutant::StaleLeader => vec![Kind::Minority],
        Mutant::PromiseIgnored | Mutant::EarlyLeader => {
            vec![Kind::Isolate, Kind::CutPair, Kind::OneWay, Kind::Kill]
        }
        Mutant::TruncateMidLog => vec![Kind::BitFlip, Kind::Kill, Kind::Blackout],
        Mutant::DedupForgotten => vec![Kind::Restart, Kind::CutPair, Kind::OneWay],
        Mutant::LogStartForgotten | Mutant::PurgePastStart => vec![Kind::Restart, Kind::Kill],
        Mutant::RecycledEarly => vec![Kind::Blackout, Kind::SlowDisk, Kind::Isolate],
        Mutant::IndexOffByOne => vec![Kind::Isolate, Kind::Kill],
        Mutant::GiveBeforeRevoke => vec![Kind::Kill, Kind::SlowLink],
        // What the model check and the scenarios of groups notice.
        Mutant::CommitUnfenced
        | Mutant::OffsetsOfPredecessor
        | Mutant::TimeFromHearing
        | Mutant::StickinessForgotten => Vec::new(),
        Mutant::AnsweredBeforeReplicated => vec![Kind::Isolate, Kind::Kill, Kind::Minority],
        Mutant::InitializeTwice => vec![Kind::EmptyDisk, Kind::Kill, Kind::Isolate],
    }
}

/// Runs seeds with each bug until one notices it, and prints the table.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
pub(crate) fn survey(arguments: &Arguments) -> ExitCode {
    let names: Vec<String> = match &arguments.mutant {
        Some(name) if name != "all" => vec![name.clone()],
        _ => Mutant::ALL.into_iter().filter(|mutant| !faults_for(*mutant).is_empty()).map(name_of).collect(),
    };
    let mut missed = 0;
    for name in names {
        let Some(mutant) = find(&name) else {
            eprintln!("{}", activate(&name).err().unwrap_or_default());
            return ExitCode::from(2);
        };
        let faults = match arguments.faults.is_empty() {
            true => faults_for(mutant),
            false => arguments.faults.clone(),
        };
        let seeds = if arguments.seeds > 1 { arguments.seeds } else { SEEDS_MAX };
        let arguments = Arguments { mutant: Some(name.clone()), faults, seeds, ..arguments.clone() };
        match campaign::until_broken(&arguments) {
            Ok(Some(broken)) => {
                let count = broken.seed - arguments.seed + 1;
                println!("| {name} | {count} | {} |", broken.violation);
            }
            Ok(None) => {
                missed += 1;
                println!("| {name} | not within {seeds} | |");
            }
            Err(error) => {
                eprintln!("a process for a seed cannot be run: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
