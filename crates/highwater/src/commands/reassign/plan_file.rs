//! A plan in a file, as JSON.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use crate::error::CliError;
use crate::views::Plan;

/// The largest plan that is read: many times what a plan of the most moves takes.
const PLAN_BYTES_MAX: u64 = 64 << 20;

/// Writes a plan. A file of that name is replaced.
pub(super) fn write(plan: &Plan, file: &Path) -> Result<(), CliError> {
    let failed =
        |cause: io::Error| CliError::PlanFile { doing: "write", name: file.display().to_string(), cause };
    let mut json = serde_json::to_vec_pretty(plan).map_err(|error| failed(error.into()))?;
    json.push(b'\n');
    fs::write(file, json).map_err(failed)
}

/// Reads a plan from a file, or from standard input if it is called `-`.
pub(super) fn read(file: &Path) -> Result<Plan, CliError> {
    let (name, input): (_, Box<dyn io::Read>) = if file == Path::new("-") {
        ("standard input".to_owned(), Box::new(io::stdin().lock()))
    } else {
        let name = file.display().to_string();
        match fs::File::open(file) {
            Ok(file) => (name, Box::new(file)),
            Err(cause) => return Err(CliError::PlanFile { doing: "read", name, cause }),
        }
    };
    let mut json = String::new();
    match input.take(PLAN_BYTES_MAX).read_to_string(&mut json) {
        Ok(_) => serde_json::from_str(&json).map_err(|cause| CliError::NoPlan { name, cause }),
        Err(cause) => Err(CliError::PlanFile { doing: "read", name, cause }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_as_it_was_written_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("plan.json");
        let shortest =
            r#"{"moves":[{"topic":"t","partition":0,"replica_node_ids":[2,1],"previous_node_ids":[1,2]}]}"#;
        fs::write(&file, shortest).expect("written");
        let plan = read(&file).expect("a plan");
        write(&plan, &file).expect("written");
        assert_eq!(read(&file).expect("a plan"), plan);
        for text in ["", "[]", "{}", r#"{"moves":[],"move":[]}"#, r#"{"moves":[{"topic":"t"}]}"#] {
            fs::write(&file, text).expect("written");
            let error = read(&file).expect_err(text);
            assert!(matches!(error, CliError::NoPlan { .. }) && error.exit_code() == 1, "{text}: {error}");
        }
        let error = read(&folder.path().join("none")).expect_err("no file");
        assert!(error.to_string().contains("cannot read"), "{error}");
    }
}
