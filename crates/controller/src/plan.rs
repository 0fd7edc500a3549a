//! Planners: what would be good moves, as functions of an image and a seed. They change nothing,
//! know no time, and bind nobody: the state machine checks each move again when it is asked for. A
//! plan may be larger than one command; it can be made in parts, or planned again after each part.
//!
//! Only nodes that serve are given replicas by a plan. Racks come first: a move never puts more
//! replicas of a partition on one rack when there is another node to take.

mod balance;
mod drain;
mod load;
mod voters;

pub use balance::plan_balance;
pub use drain::{DrainPlan, Stuck, plan_drain};
pub use voters::plan_metadata_voters;
