//! The pages: what each needs to know, and how it shows that.

mod agents;
mod files;
mod frameworks;
mod maintenance;
mod masters;
mod offers;
mod overview;
mod problem;
mod roles;
mod search;
mod task;
mod tasks;
mod why;

pub use agents::{Agent, AgentRow, AgentState, Reserved, agent, agents};
pub use files::{Directory, Entry, File, directory, file};
pub use frameworks::{ExecutorRow, Framework, FrameworkRow, FrameworkState, framework, frameworks};
pub use maintenance::{Machine, Maintenance, OutOfUse, maintenance};
pub use masters::{Master, Masters, masters};
pub use offers::{OfferRow, offers};
pub use overview::{Counts, Overview, overview};
pub use problem::problem;
pub use roles::{Role, RoleRow, role, roles};
pub use search::{Found, search};
pub use task::{Executor, Task, executor, task};
pub use tasks::{Kind, TaskRow, tasks};
pub use why::{Cause, Why};
