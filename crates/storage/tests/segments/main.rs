//! The segments of a partition, on the simulated and on the real disk: what is appended is read back,
//! through rolls, crashes, damage and full disks. Every random scenario prints its seed.

mod append_and_read;
mod concurrency;
mod crash;
mod damage;
mod interleaving;
mod kafka;
mod repair;
mod retention;
mod run_table;
mod space;
mod support;
mod time;
