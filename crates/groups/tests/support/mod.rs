//! What the tests of groups share: topics, a coordinator with a replica beside it, and the language of scenarios.

pub(crate) mod cluster;
pub(crate) mod render;
pub(crate) mod script;
pub(crate) mod topics;
