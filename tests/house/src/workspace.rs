//! The members of the workspace and what they depend on, from `cargo metadata`.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::files::root;

/// The workspace's members.
#[derive(Debug, Deserialize)]
pub struct Workspace {
    /// Every member, with its direct dependencies.
    pub packages: Vec<Member>,
}

/// One package of the workspace.
#[derive(Debug, Deserialize)]
pub struct Member {
    /// The package's name.
    pub name: String,
    /// Its `Cargo.toml`.
    pub manifest_path: PathBuf,
    /// What its `Cargo.toml` names.
    pub dependencies: Vec<Dependency>,
}

/// One line of a `Cargo.toml`.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The package's own name, whatever it is renamed to.
    pub name: String,
    /// For what it is needed.
    #[serde(default)]
    pub kind: DependencyKind,
}

/// For what a dependency is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "Option<String>")]
pub enum DependencyKind {
    /// By the crate itself.
    #[default]
    Normal,
    /// By its tests.
    Dev,
    /// By its build script.
    Build,
}

impl TryFrom<Option<String>> for DependencyKind {
    type Error = String;

    fn try_from(kind: Option<String>) -> Result<Self, String> {
        match kind.as_deref() {
            None => Ok(Self::Normal),
            Some("dev") => Ok(Self::Dev),
            Some("build") => Ok(Self::Build),
            Some(other) => Err(format!("cargo names a kind of dependency that is not known here: {other}")),
        }
    }
}

/// Why the workspace could not be read.
#[derive(Debug)]
pub enum WorkspaceError {
    /// Cargo could not be started.
    Cargo(std::io::Error),
    /// Cargo refused; what it printed.
    Refused(String),
    /// Cargo's answer could not be understood.
    Answer(serde_json::Error),
}

impl Workspace {
    /// Asks the cargo that runs the test, offline.
    ///
    /// # Errors
    /// See [`WorkspaceError`].
    pub fn read() -> Result<Self, WorkspaceError> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
            .current_dir(root())
            .output()
            .map_err(WorkspaceError::Cargo)?;
        if !output.status.success() {
            return Err(WorkspaceError::Refused(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(WorkspaceError::Answer)
    }
}

impl Member {
    /// The name as ARCHITECTURE.md writes it: without the project's prefix.
    pub fn short_name(&self) -> &str {
        self.name.strip_prefix("highwater-").unwrap_or(&self.name)
    }
}
