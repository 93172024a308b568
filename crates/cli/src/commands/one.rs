//! Everything about one agent, framework, role or task.

use super::known::{Known, meant, one, one_agent, one_framework};
use super::lists::{attributes, open_tasks, roles_of, state_of_agent, state_of_framework};
use super::{amounts, found, items, number, pretty, text};
use crate::operator_client::{Failure, OperatorClient, escaped};
use crate::text_table::TextTable;
use serde_json::{Value, json};

/// Tasks that are shown with an agent or a framework.
const TASKS_MAX: usize = 20;

/// Lines of a name and what belongs to it; those without are left out.
struct Lines(Vec<(&'static str, String)>);

impl Lines {
    fn add(&mut self, name: &'static str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.push((name, value));
        }
    }

    fn shown(&self) -> String {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        self.0.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
    }
}

/// Seconds since 1970 as a date; empty when it never was.
fn date(seconds: &Value) -> String {
    match seconds.as_f64().filter(|s| *s > 0.0) {
        // A float of this size is exact to some hundred nanoseconds.
        Some(seconds) => super::times::date((seconds * 1e9) as i64),
        None => String::new(),
    }
}

pub(super) async fn agent(
    client: &OperatorClient,
    word: &str,
    wants_json: bool,
) -> Result<String, Failure> {
    let known = one_agent(client, word).await?;
    let answer = client.get(&format!("/slaves?slave_id={}", escaped(&known.id))).await?;
    let agent = items(&answer["slaves"]).first().cloned().unwrap_or_default();
    if wants_json {
        return Ok(pretty(&agent));
    }
    let mut lines = Lines(Vec::new());
    lines.add("id", text(&agent, "id"));
    lines.add("host", text(&agent, "hostname"));
    lines.add("address", text(&agent, "pid").split_once('@').map_or("", |(_, address)| address));
    lines.add("state", state_of_agent(&agent));
    lines.add("version", text(&agent, "version"));
    lines.add("registered", date(&agent["registered_time"]));
    lines.add("registered again", date(&agent["reregistered_time"]));
    lines.add("attributes", attributes(&agent));
    lines.add("total", amounts(&agent["resources"]));
    lines.add("used", amounts(&agent["used_resources"]));
    lines.add("offered", amounts(&agent["offered_resources"]));
    let reserved = agent["reserved_resources"].as_object().into_iter().flatten();
    let reserved = reserved.map(|(role, of)| format!("{role}: {}", amounts(of)));
    lines.add("reserved", reserved.collect::<Vec<_>>().join("; "));
    let tasks = open(client, "agent_id", &known.id).await?;
    Ok(format!("{}{tasks}", lines.shown()))
}

/// The newest open tasks of an agent or a framework.
async fn open(client: &OperatorClient, of: &str, id: &str) -> Result<String, Failure> {
    let query = format!("/tasks?active=true&limit={}&{of}={}", TASKS_MAX + 1, escaped(id));
    let answer = client.get(&query).await?;
    let tasks = items(&answer["tasks"]);
    if tasks.is_empty() {
        return Ok("\nNo task of it runs.\n".to_owned());
    }
    let table = super::tasks::table(&tasks[..tasks.len().min(TASKS_MAX)]);
    let flag = if of == "agent_id" { "--agent" } else { "--framework" };
    let more = match tasks.len() > TASKS_MAX {
        true => format!("… and older ones: proffer tasks {flag} {id}\n"),
        false => String::new(),
    };
    Ok(format!("\n{table}{more}"))
}

pub(super) async fn framework(
    client: &OperatorClient,
    word: &str,
    wants_json: bool,
) -> Result<String, Failure> {
    let (id, is_over) = match one_framework(client, word).await {
        Ok(known) => (known.id, false),
        // Perhaps it is torn down.
        Err(failure) => match completed(client, word).await? {
            Some(id) => (id, true),
            None => return Err(failure),
        },
    };
    let answer =
        client.get(&format!("/frameworks?tasks=false&framework_id={}", escaped(&id))).await?;
    let list = if is_over { "completed_frameworks" } else { "frameworks" };
    let framework = items(&answer[list]).first().cloned().unwrap_or_default();
    if wants_json {
        return Ok(pretty(&framework));
    }
    let mut lines = Lines(Vec::new());
    lines.add("id", text(&framework, "id"));
    lines.add("name", text(&framework, "name"));
    lines.add("state", state_of_framework(&framework, is_over));
    lines.add("user", text(&framework, "user"));
    lines.add("principal", text(&framework, "principal"));
    lines.add("host", text(&framework, "hostname"));
    lines.add("web", text(&framework, "webui_url"));
    lines.add("roles", roles_of(&framework));
    let capabilities = items(&framework["capabilities"]).iter().filter_map(Value::as_str);
    lines.add("capabilities", capabilities.collect::<Vec<_>>().join(", "));
    lines.add("checkpoint", framework["checkpoint"].to_string());
    lines.add("failover timeout", format!("{} s", number(&framework["failover_timeout"])));
    lines.add("registered", date(&framework["registered_time"]));
    lines.add("registered again", date(&framework["reregistered_time"]));
    lines.add("gone", date(&framework["unregistered_time"]));
    lines.add("used", amounts(&framework["used_resources"]));
    lines.add("offered", amounts(&framework["offered_resources"]));
    lines.add("offers", items(&framework["offers"]).len().to_string());
    let ended = ["TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR"];
    let ended = ended.iter().filter_map(|state| {
        let count = framework[*state].as_u64().filter(|n| *n > 0)?;
        Some(format!("{count} {}", state.trim_start_matches("TASK_").to_lowercase()))
    });
    let ended: Vec<String> = ended.collect();
    let ended = if ended.is_empty() { String::new() } else { format!("; {}", ended.join(", ")) };
    lines.add("tasks", format!("{} open{ended}", open_tasks(&framework)));
    let tasks = if is_over { String::new() } else { open(client, "framework_id", &id).await? };
    Ok(format!("{}{tasks}", lines.shown()))
}

/// The framework that is torn down and meant by a word.
async fn completed(client: &OperatorClient, word: &str) -> Result<Option<String>, Failure> {
    let answer = client.get("/frameworks?tasks=false").await?;
    let known = |f| Known { id: text(f, "id").to_owned(), name: text(f, "name").to_owned() };
    let known: Vec<Known> = items(&answer["completed_frameworks"]).iter().map(known).collect();
    match meant("framework", word, &known) {
        Ok(_) => one("framework", word, &known).map(|known| Some(known.id)),
        Err(_) => Ok(None),
    }
}

pub(super) async fn role(
    client: &OperatorClient,
    word: &str,
    wants_json: bool,
) -> Result<String, Failure> {
    let answer = client.get("/roles").await?;
    let roles = items(&answer["roles"]);
    let known = roles.iter().map(|r| Known { id: text(r, "name").to_owned(), name: String::new() });
    let name = one("role", word, &known.collect::<Vec<_>>())?.id;
    let role = roles.iter().find(|r| text(r, "name") == name).cloned().unwrap_or_default();
    if wants_json {
        return Ok(pretty(&role));
    }
    let mut lines = Lines(Vec::new());
    lines.add("role", name.as_str());
    lines.add("weight", number(&role["weight"]));
    lines.add("guarantee", amounts(&role["quota"]["guarantee"]));
    lines.add("limit", amounts(&role["quota"]["limit"]));
    lines.add("counts for quota", amounts(&role["quota"]["consumed"]));
    lines.add("used", amounts(&role["allocated"]));
    lines.add("offered", amounts(&role["offered"]));
    lines.add("reserved", amounts(&role["reserved"]));
    lines.add("lent to others", amounts(&role["lent"]));
    let answer = client.get("/frameworks?tasks=false").await?;
    let ids = items(&role["frameworks"]);
    let mut table = TextTable::new(["FRAMEWORK", "NAME", "STATE", "TASKS", "USED", "OFFERED"]);
    for framework in items(&answer["frameworks"]).iter().filter(|f| ids.contains(&f["id"])) {
        table.row([
            text(framework, "id").to_owned(),
            text(framework, "name").to_owned(),
            state_of_framework(framework, false).to_owned(),
            open_tasks(framework).to_string(),
            amounts(&framework["used_resources"]),
            amounts(&framework["offered_resources"]),
        ]);
    }
    let none = "\nNo framework is subscribed to it.\n".to_owned();
    let frameworks = if table.is_empty() { none } else { format!("\n{table}") };
    Ok(format!("{}{frameworks}", lines.shown()))
}

pub(super) async fn task(client: &OperatorClient, task: &Value) -> Result<String, Failure> {
    let statuses = items(&task["statuses"]);
    let last = statuses.last().cloned().unwrap_or(json!({}));
    let mut lines = Lines(Vec::new());
    lines.add("id", text(task, "id"));
    lines.add("name", text(task, "name"));
    lines.add("state", text(task, "state"));
    lines.add("message", text(&last, "message"));
    lines.add("reason", text(&last, "reason"));
    lines.add("healthy", last["healthy"].as_bool().map(|is| is.to_string()).unwrap_or_default());
    lines.add("role", text(task, "role"));
    lines.add("resources", amounts(&task["resources"]));
    lines.add("limits", amounts(&task["limits"]));
    let framework = text(task, "framework_id");
    lines.add("framework", framework);
    lines.add("executor", text(task, "executor_id"));
    let agent = text(task, "slave_id");
    let address = found::address(client, agent).await?;
    let where_ = address.map(|a| format!(" ({a})")).unwrap_or_default();
    lines.add("agent", format!("{agent}{where_}"));
    let container = &last["container_status"]["container_id"]["value"];
    lines.add("container", container.as_str().unwrap_or_default());
    lines.add("user", text(task, "user"));
    let labels = items(&task["labels"]).iter();
    let labels = labels.map(|l| format!("{}={}", text(l, "key"), text(l, "value")));
    lines.add("labels", labels.collect::<Vec<_>>().join(", "));
    let mut table = TextTable::new(["TIME", "STATE", "MESSAGE"]);
    for status in statuses {
        table.row([
            date(&status["timestamp"]),
            text(status, "state").to_owned(),
            text(status, "message").to_owned(),
        ]);
    }
    let history = if table.is_empty() { String::new() } else { format!("\n{table}") };
    Ok(format!("{}{history}", lines.shown()))
}
