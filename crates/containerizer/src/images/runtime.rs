//! How an image wants to be run, and what the framework says to that: the isolator `docker/runtime` (spec/agent.md 6.3).

use super::manifest::ImageConfig;
use std::collections::BTreeMap;
use wire::v1;

/// The command that runs: what the framework gives wins, an image's entrypoint and command fill what it leaves open.
///
/// # Errors
/// With a text for the framework, when there is nothing to run.
pub(crate) fn merge_command(
    command: &v1::CommandInfo,
    image: &ImageConfig,
) -> Result<v1::CommandInfo, String> {
    let mut merged = command.clone();
    if command.shell() {
        return match command.value {
            Some(_) => Ok(merged),
            None => Err("Shell specified but no command value provided".to_owned()),
        };
    }
    if command.value.is_some() {
        return Ok(merged);
    }
    // What comes before arguments, and the arguments by default.
    let (fixed, default) = match (image.entrypoint.as_slice(), image.cmd.as_slice()) {
        ([], []) => return Err("No executable is found".to_owned()),
        ([], cmd) => cmd.split_at(1),
        (entrypoint, cmd) => (entrypoint, cmd),
    };
    let arguments = if command.arguments.is_empty() { default } else { &command.arguments };
    merged.value = Some(fixed[0].clone());
    merged.arguments = [fixed, arguments].concat();
    Ok(merged)
}

/// Adds an image's variables to the environment of a container: those of the framework win, and so do the agent's own
/// (`MESOS_…`, `LIBPROCESS_…`); others that the agent would hand on, such as its PATH, give way.
pub(crate) fn merge_environment(
    environment: &mut BTreeMap<String, String>,
    command: &v1::CommandInfo,
    image: &ImageConfig,
) {
    let given = command.environment.iter().flat_map(|e| &e.variables);
    let given: std::collections::BTreeSet<&str> = given.map(|v| v.name.as_str()).collect();
    for (name, value) in image.env.iter().filter_map(|variable| variable.split_once('=')) {
        let of_agent = name.starts_with("MESOS_") || name.starts_with("LIBPROCESS_");
        let keep = given.contains(name) || of_agent && environment.contains_key(name);
        if !keep && !name.is_empty() {
            environment.insert(name.to_owned(), value.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(shell: bool, value: Option<&str>, arguments: &[&str]) -> v1::CommandInfo {
        v1::CommandInfo {
            shell: Some(shell),
            value: value.map(str::to_owned),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            ..Default::default()
        }
    }

    fn image(entrypoint: &[&str], cmd: &[&str]) -> ImageConfig {
        let own = |list: &[&str]| list.iter().map(|a| (*a).to_owned()).collect();
        ImageConfig { entrypoint: own(entrypoint), cmd: own(cmd), ..Default::default() }
    }

    /// Every row of the peer's table, for images without, with one, with the other and with both.
    #[test]
    fn the_command_is_merged_by_the_table() {
        let images = [
            image(&[], &[]),
            image(&[], &["c", "d"]),
            image(&["e", "f"], &[]),
            image(&["e", "f"], &["c", "d"]),
        ];
        #[track_caller]
        fn check(images: &[ImageConfig], command: &v1::CommandInfo, expected: [&str; 4]) {
            let merge = |image| match merge_command(command, image) {
                Ok(merged) => format!("{}: {}", merged.value(), merged.arguments.join(" ")),
                Err(text) => text,
            };
            let found: Vec<String> = images.iter().map(merge).collect();
            assert_eq!(found, expected);
        }
        let none = "No executable is found";
        check(&images, &command(false, None, &[]), [none, "c: c d", "e: e f", "e: e f c d"]);
        check(&images, &command(false, None, &["x"]), [none, "c: c x", "e: e f x", "e: e f x"]);
        check(&images, &command(false, Some("v"), &[]), ["v: "; 4]);
        check(&images, &command(false, Some("v"), &["v", "x"]), ["v: v x"; 4]);
        let error = "Shell specified but no command value provided";
        check(&images, &command(true, None, &[]), [error; 4]);
        check(&images, &command(true, None, &["x"]), [error; 4]);
        check(&images, &command(true, Some("v"), &[]), ["v: "; 4]);
        check(&images, &command(true, Some("v"), &["x"]), ["v: x"; 4]);
    }

    #[test]
    fn the_framework_s_variables_win() {
        let mut given = command(true, Some("v"), &[]);
        let variable = |name: &str| v1::environment::Variable {
            name: name.to_owned(),
            value: Some("framework".to_owned()),
            ..Default::default()
        };
        given.environment = Some(v1::Environment { variables: vec![variable("A")] });
        let names = ["A", "PATH", "MESOS_SANDBOX"];
        let mut environment: BTreeMap<String, String> =
            names.iter().map(|name| ((*name).to_owned(), "agent".to_owned())).collect();
        environment.insert("A".to_owned(), "framework".to_owned());
        let env = ["A=i", "B=x=y", "PATH=i", "MESOS_SANDBOX=i", "MESOS_OWN=i", "malformed", "=i"];
        let config = ImageConfig {
            env: env.iter().map(|v| (*v).to_owned()).collect(),
            ..Default::default()
        };
        merge_environment(&mut environment, &given, &config);
        let found: Vec<String> = environment.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(found, ["A=framework", "B=x=y", "MESOS_OWN=i", "MESOS_SANDBOX=agent", "PATH=i"]);
    }
}
