//! Tasks, executors and groups: rules in the order of spec/master.md 1.6.

use super::command::{check_check, check_command, check_container, check_health_check};
use super::ids;
use crate::accept::Offered;
use crate::master::Master;
use crate::state::{Agent, Framework};
use resources::{Milli, Resources, Value, to_milli};
use std::collections::BTreeSet;
use wire::v1;

/// A task that may run.
#[derive(Debug)]
pub(crate) struct ValidTask {
    pub(crate) resources: Resources,
    /// Resources of its executor, if that is not there yet.
    pub(crate) new_executor: Option<Resources>,
}

/// A group that may run.
#[derive(Debug)]
pub(crate) struct ValidGroup {
    pub(crate) tasks: Vec<Resources>,
    pub(crate) new_executor: Option<Resources>,
}

const EXECUTOR_CPUS_MIN: Milli = 10;
const EXECUTOR_MEM_MIN: Milli = 32_000;

/// Checks a task of LAUNCH.
pub(crate) fn check(
    master: &Master,
    framework: &Framework,
    offered: &Offered,
    task: &v1::TaskInfo,
) -> Result<ValidTask, String> {
    let resources = common(master, framework, offered, task)?;
    if task.command.is_some() == task.executor.is_some() {
        return Err(
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"
                .to_owned(),
        );
    }
    let mut new_executor = None;
    let mut total = resources.clone();
    if let Some(executor) = &task.executor {
        if executor.r#type.is_some() && executor.r#type() != v1::executor_info::Type::Custom {
            return Err("'ExecutorInfo.type' must be 'CUSTOM'".to_owned());
        }
        if executor.command.is_none() {
            return Err("'ExecutorInfo.command' must be set".to_owned());
        }
        let of_executor = check_executor(framework, offered, executor)?;
        check_together(&resources, &of_executor)?;
        if !framework.executors.contains_key(&(offered.agent, executor.executor_id.value.clone())) {
            total += &of_executor;
            new_executor = Some(of_executor);
        }
    }
    // Several tasks may use the one copy of a shared volume that is offered.
    let offers_shared = total.shared().iter().all(|e| offered.left.iter().any(|o| o == e));
    if !offered.left.contains(&total.nonshared()) || !offers_shared {
        return Err(format!(
            "Total resources {total} required by task and its executor is more than available {}",
            offered.left
        ));
    }
    Ok(ValidTask { resources, new_executor })
}

/// Checks LAUNCH_GROUP: all or nothing.
pub(crate) fn check_group(
    master: &Master,
    framework: &Framework,
    offered: &Offered,
    executor: &v1::ExecutorInfo,
    tasks: &[v1::TaskInfo],
) -> Result<ValidGroup, String> {
    let mut all = Vec::new();
    let mut total = Resources::new();
    let mut seen = BTreeSet::new();
    for task in tasks {
        let id = &task.task_id.value;
        let within = |text: String| format!("Task '{id}' is invalid: {text}");
        let resources = common(master, framework, offered, task).map_err(within)?;
        if !seen.insert(id) {
            return Err(within(format!("Task has duplicate ID: {id}")));
        }
        if task.container.as_ref().is_some_and(|c| c.r#type() == v1::container_info::Type::Docker) {
            return Err(within("Docker ContainerInfo is not supported on the task".to_owned()));
        }
        if task.executor.as_ref() != Some(executor)
            && task.executor.as_ref().map(|e| &e.executor_id) != Some(&executor.executor_id)
        {
            return Err(within(
                "The `ExecutorInfo` of task does not match that of the task group".to_owned(),
            ));
        }
        total += &resources;
        all.push(resources);
    }
    if tasks.is_empty() {
        return Err("Task group must contain at least one task".to_owned());
    }
    if executor.framework_id.is_none() {
        return Err("'ExecutorInfo.framework_id' must be set".to_owned());
    }
    match (executor.r#type, executor.r#type()) {
        (None, _) => return Err("'ExecutorInfo.type' must be set".to_owned()),
        (_, v1::executor_info::Type::Unknown) => return Err("Unknown executor type".to_owned()),
        (_, v1::executor_info::Type::Default) => {
            if executor.command.is_some() {
                return Err(
                    "'ExecutorInfo.command' must not be set for 'DEFAULT' executor".to_owned()
                );
            }
            if let Some(container) = &executor.container {
                if container.r#type() != v1::container_info::Type::Mesos {
                    return Err(
                        "'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor"
                            .to_owned(),
                    );
                }
                if container.mesos.as_ref().is_some_and(|m| m.image.is_some()) {
                    return Err("'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor".to_owned());
                }
            }
        }
        (_, v1::executor_info::Type::Custom) => {
            if executor.command.is_none() {
                return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".to_owned());
            }
        }
    }
    if executor.container.as_ref().is_some_and(|c| c.r#type() == v1::container_info::Type::Docker) {
        return Err("Docker ContainerInfo is not supported on the executor".to_owned());
    }
    let of_executor = check_executor(framework, offered, executor)?;
    let id = &executor.executor_id.value;
    let (cpus, mem) = (of_executor.scalar("cpus"), of_executor.scalar("mem"));
    if cpus < EXECUTOR_CPUS_MIN {
        return Err(format!(
            "Executor '{id}' uses less CPUs ({}) than the minimum required (0.01)",
            Value::Scalar(cpus)
        ));
    }
    if mem < EXECUTOR_MEM_MIN {
        return Err(format!(
            "Executor '{id}' uses less memory ({}MB) than the minimum required (32MB)",
            Value::Scalar(mem)
        ));
    }
    if of_executor.scalar("disk") <= 0 {
        return Err(format!("Executor '{id}' uses no disk"));
    }
    check_together(&total, &of_executor)?;
    let known = framework.executors.contains_key(&(offered.agent, id.clone()));
    if !known {
        total += &of_executor;
    }
    if !offered.left.contains(&total) {
        return Err(format!(
            "Total resources {total} required by task group and its executor are more than available {}",
            offered.left
        ));
    }
    Ok(ValidGroup { tasks: all, new_executor: (!known).then_some(of_executor) })
}

/// Rules 1 to 11: those for every task.
fn common(
    master: &Master,
    framework: &Framework,
    offered: &Offered,
    task: &v1::TaskInfo,
) -> Result<Resources, String> {
    let id = &task.task_id.value;
    ids::check(id)?;
    if framework.tasks.contains_key(id) {
        return Err(format!("Task has duplicate ID: {id}"));
    }
    if framework.unreachable_tasks.iter().any(|t| t.id() == id) {
        return Err(format!("Task reuses the ID of an unreachable task: {id}"));
    }
    if task.agent_id.value != offered.agent_id {
        return Err(format!(
            "Task uses invalid agent {} while agent {} is expected",
            task.agent_id.value, offered.agent_id
        ));
    }
    let negative =
        |duration: Option<&v1::DurationInfo>| duration.is_some_and(|d| d.nanoseconds < 0);
    if negative(task.kill_policy.as_ref().and_then(|k| k.grace_period.as_ref())) {
        return Err("Task's 'kill_policy.grace_period' must be non-negative".to_owned());
    }
    if negative(task.max_completion_time.as_ref()) {
        return Err("Task's `max_completion_time` must be non-negative".to_owned());
    }
    if let Some(check) = &task.check {
        check_check(check).map_err(|e| format!("Task uses invalid check: {e}"))?;
    }
    if let Some(check) = &task.health_check {
        check_health_check(check).map_err(|e| format!("Task uses invalid health check: {e}"))?;
    }
    let resources = check_resources("Task", "task", &task.resources)?;
    if task.resources.is_empty() {
        return Err("Task uses no resources".to_owned());
    }
    if let Some(command) = &task.command {
        check_command(command).map_err(|e| format!("Task's `CommandInfo` is invalid: {e}"))?;
    }
    if let Some(container) = &task.container {
        check_container(container)
            .map_err(|e| format!("Task's `ContainerInfo` is invalid: {e}"))?;
    }
    let agent = master.agent(offered.agent);
    check_limits(agent, task, &resources)?;
    Ok(resources)
}

fn check_resources(owner: &str, what: &str, list: &[v1::Resource]) -> Result<Resources, String> {
    let resources =
        super::resources::read(list).map_err(|e| format!("{owner} uses invalid resources: {e}"))?;
    super::resources::check_unique_persistence(resources.iter())
        .map_err(|e| format!("{owner} uses duplicate persistence ID: {e}"))?;
    let roles = resources.allocation_roles();
    if roles.contains(&None) {
        return Err(format!("Invalid {what} resources: The resources are not allocated to a role"));
    }
    if roles.len() > 1 {
        return Err(format!(
            "Invalid {what} resources: The resources have multiple allocation roles"
        ));
    }
    for name in resources.names() {
        let of_name = resources.filter(|e| e.identity.name == name);
        if !of_name.revocable().is_empty() && !of_name.nonrevocable().is_empty() {
            return Err(format!(
                "{owner} mixes revocable and non-revocable resources: Cannot use both revocable and non-revocable '{name}' at the same time"
            ));
        }
    }
    Ok(resources)
}

fn check_limits(
    agent: Option<&Agent>,
    task: &v1::TaskInfo,
    resources: &Resources,
) -> Result<(), String> {
    if task.limits.is_empty() {
        return Ok(());
    }
    // What is wrong for any agent is said first: a framework can mend it.
    for (name, limit) in &task.limits {
        if name != "cpus" && name != "mem" {
            return Err("Only cpus and mem may be included in a task's resource limits".to_owned());
        }
        let request = resources.scalar(name);
        if request == 0 {
            return Err(format!(
                "When a {name} limit is specified, a {name} request must also be specified"
            ));
        }
        if limit.value.is_nan() || (limit.value.is_finite() && to_milli(limit.value) < request) {
            let shown = if name == "cpus" { "cpu" } else { "memory" };
            return Err(format!(
                "The {shown} limit must be greater than or equal to the {shown} request"
            ));
        }
    }
    let capable = |a: &Agent| {
        a.capabilities
            .iter()
            .any(|c| c.r#type() == v1::agent_info::capability::Type::TaskResourceLimits)
    };
    if agent.is_some_and(capable) {
        return Ok(());
    }
    Err("Agent is not capable of handling task resource limits".to_owned())
}

/// An executor, whether or not it runs already.
fn check_executor(
    framework: &Framework,
    offered: &Offered,
    executor: &v1::ExecutorInfo,
) -> Result<Resources, String> {
    let id = executor.framework_id.as_ref().map_or("", |id| id.value.as_str());
    if id != framework.id {
        return Err(format!(
            "ExecutorInfo has an invalid FrameworkID (Actual: {id} vs Expected: {})",
            framework.id
        ));
    }
    ids::check(&executor.executor_id.value)
        .map_err(|e| format!("'ExecutorInfo.executor_id' is invalid: {e}"))?;
    if executor.shutdown_grace_period.is_some_and(|d| d.nanoseconds < 0) {
        return Err("ExecutorInfo's 'shutdown_grace_period' must be non-negative".to_owned());
    }
    if let Some(command) = &executor.command {
        check_command(command).map_err(|e| format!("Executor's `CommandInfo` is invalid: {e}"))?;
    }
    if let Some(container) = &executor.container {
        check_container(container)
            .map_err(|e| format!("Executor's `ContainerInfo` is invalid: {e}"))?;
    }
    let resources = check_resources("Executor", "executor", &executor.resources)?;
    if let Some(known) =
        framework.executors.get(&(offered.agent, executor.executor_id.value.clone()))
    {
        let same = v1::ExecutorInfo { resources: Vec::new(), ..known.info.clone() }
            == v1::ExecutorInfo { resources: Vec::new(), ..executor.clone() };
        if !same || known.resources != resources {
            return Err(format!(
                "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\nExisting ExecutorInfo:\n{}\nTask's ExecutorInfo:\n{}",
                wire::json::to_string(&known.info),
                wire::json::to_string(executor)
            ));
        }
    }
    Ok(resources)
}

/// Rules for a task and its executor together.
fn check_together(task: &Resources, executor: &Resources) -> Result<(), String> {
    for a in task.iter() {
        for b in executor.iter().filter(|b| a.same_identity(b)) {
            let mut rest = a.value.clone();
            rest.subtract(&b.value);
            let overlap = !matches!(a.value, Value::Scalar(_)) && rest != a.value;
            if overlap {
                return Err(format!(
                    "There are overlapping resources in the task resources {task} and executor resources {executor}"
                ));
            }
        }
    }
    Ok(())
}
