//! The settings of `serve`. One table says what there is; a file, the environment and flags say what holds.
//!
//! ```text
//! default ◀ file ◀ environment ◀ flag        each goes before what is left of it
//!    └───────┴──────────┴─────────┴──▶ Sources ──▶ Effective ──▶ ServeConfig
//! ```
//!
//! It never starts anything, and never stops at the first problem. Whatever the sources hold, it does not panic.

mod effective;
mod environment;
pub(crate) mod example;
mod file;
mod flags;
mod problem;
mod serve_config;
mod setting;
mod sources;
mod table;
mod value;

pub(crate) use effective::{Effective, EffectiveRow};
pub(crate) use flags::Flags;
pub(crate) use problem::{Origin, Problem};
pub(crate) use serve_config::{LogFormat, ServeConfig};
