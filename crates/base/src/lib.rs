//! Ground of every Proffer crate: virtual time, timers, seeded randomness, ids and small containers.
//!
//! Nothing here touches the outside: no clock, no environment, no threads. Shells and the simulator
//! make [`Now`] values; cores only receive them.
#![forbid(unsafe_code)]

pub mod bytes;
pub mod duration;
mod held;
mod histogram;
mod ids;
mod nearest;
mod rng;
mod time;
mod timers;
mod timings;

pub use held::Held;
pub use histogram::Histogram;
pub use ids::{Token, WriteId};
pub use nearest::nearest;
pub use rng::Rng;
pub use time::{Now, Time, WallTime};
pub use timers::Timers;
pub use timings::Timings;
