//! What runs, and where its data goes: the same arguments for every program that starts nodes.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::BenchError;

/// See the module.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The nodes' binary [default: `highwater` beside this program]
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Where the data goes, in a directory of its own that is removed afterwards
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

impl Place {
    /// The nodes' binary.
    ///
    /// # Errors
    /// When it is not known where this program is.
    pub fn binary(&self) -> Result<PathBuf, BenchError> {
        match &self.binary {
            Some(binary) => Ok(binary.clone()),
            None => Ok(std::env::current_exe()
                .map_err(BenchError::io("finding this program"))?
                .with_file_name("highwater")),
        }
    }

    /// A directory of its own, removed when it is dropped.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn temporary_directory(&self) -> Result<TempDir, BenchError> {
        tempfile::tempdir_in(&self.directory).map_err(BenchError::io("creating a temporary directory"))
    }
}
