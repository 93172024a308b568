//! Flags of oversubscription: short forms, and the names of the peer's modules with their `--modules` parameters.

use crate::flags::Flags;
use crate::modules::{self, CONTROLLER, ESTIMATOR, Parameters};
use agent_core::{Estimator, LoadThresholds, Oversubscription, as_revocable};
use resources::{Milli, Resources, to_milli};

fn parameter<'a>(modules: &'a Parameters, module: &str, key: &str) -> Option<&'a str> {
    modules.get(module)?.get(key).map(String::as_str)
}

fn fixed(text: &str) -> Result<Estimator, String> {
    let resources = Resources::parse(text, "*").map_err(|e| e.to_string())?;
    Ok(Estimator::Fixed(as_revocable(&resources)?))
}

fn estimator(flags: &Flags, modules: &Parameters) -> Result<Estimator, String> {
    let flag = "--resource_estimator";
    match flags.text("resource_estimator") {
        None => Ok(Estimator::None),
        Some("load") => Ok(Estimator::Load),
        Some(ESTIMATOR) => {
            let text = parameter(modules, ESTIMATOR, "resources").ok_or_else(|| {
                format!("{flag}: module {ESTIMATOR} needs the parameter 'resources' in --modules")
            })?;
            fixed(text).map_err(|e| format!("--modules: 'resources' of {ESTIMATOR}: {e}"))
        }
        Some(text) => match text.strip_prefix("fixed:") {
            Some(rest) => fixed(rest).map_err(|e| format!("{flag}: {e}")),
            None => Err(format!(
                "{flag}: expected fixed:cpus:2;mem:512, load or {ESTIMATOR}, got '{text}'"
            )),
        },
    }
}

fn threshold(text: Option<&str>) -> Result<Option<Milli>, String> {
    let Some(text) = text else { return Ok(None) };
    let number: Option<f64> = text.trim().parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0);
    number
        .map(|n| Some(to_milli(n)))
        .ok_or_else(|| format!("expected a load average such as 8 or 0.5, got '{text}'"))
}

fn thresholds(flags: &Flags, modules: &Parameters) -> Result<Option<LoadThresholds>, String> {
    let flag = "--qos_controller";
    let (five, fifteen) = match flags.text("qos_controller") {
        None => return Ok(None),
        Some(CONTROLLER) => (
            parameter(modules, CONTROLLER, "load_threshold_5min"),
            parameter(modules, CONTROLLER, "load_threshold_15min"),
        ),
        Some(text) => {
            let wrong =
                || format!("{flag}: expected load:5min=8,15min=6 or {CONTROLLER}, got '{text}'");
            let (mut five, mut fifteen) = (None, None);
            for part in text.strip_prefix("load:").ok_or_else(wrong)?.split(',') {
                match part.split_once('=') {
                    Some(("5min", value)) => five = Some(value),
                    Some(("15min", value)) => fifteen = Some(value),
                    _ => return Err(wrong()),
                }
            }
            (five, fifteen)
        }
    };
    let read = |text, name: &str| threshold(text).map_err(|e| format!("{flag}: {name}: {e}"));
    let five = read(five, "5 minutes")?;
    let fifteen = read(fifteen, "15 minutes")?;
    if five.is_none() && fifteen.is_none() {
        return Err(format!(
            "{flag}: at least one of load_threshold_5min and load_threshold_15min is needed"
        ));
    }
    Ok(Some(LoadThresholds { five, fifteen }))
}

/// What the agent's flags say.
pub(crate) fn settings(flags: &Flags) -> Result<Oversubscription, String> {
    let modules = modules::read(flags)?;
    Ok(Oversubscription {
        estimator: estimator(flags, &modules)?,
        interval: flags.duration("oversubscribed_resources_interval")?,
        thresholds: thresholds(flags, &modules)?,
        correction_interval: flags.duration("qos_correction_interval_min")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{self, AGENT};

    fn parse(words: &[&str]) -> Result<Oversubscription, String> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        settings(&flags::parse(&AGENT, &words, []).expect("flags"))
    }

    fn fixed(text: &str) -> Estimator {
        let resources = Resources::parse(text, "*").expect("resources");
        Estimator::Fixed(as_revocable(&resources).expect("scalars"))
    }

    #[test]
    fn without_flags_nothing_is_oversubscribed() {
        assert_eq!(parse(&[]), Ok(Oversubscription::default()));
    }

    #[test]
    fn short_forms_say_it_all() {
        let read = parse(&[
            "--resource_estimator=fixed:cpus:2;mem:512",
            "--oversubscribed_resources_interval=1mins",
            "--qos_controller=load:5min=8,15min=0.5",
            "--qos_correction_interval_min=10secs",
        ]);
        let expected = Oversubscription {
            estimator: fixed("cpus:2;mem:512"),
            interval: std::time::Duration::from_secs(60),
            thresholds: Some(LoadThresholds { five: Some(8000), fifteen: Some(500) }),
            correction_interval: std::time::Duration::from_secs(10),
        };
        assert_eq!(read, Ok(expected));
        let load = parse(&["--resource_estimator=load"]).expect("settings");
        assert_eq!(load.estimator, Estimator::Load);
    }

    #[test]
    fn the_peers_modules_say_the_same() {
        let modules = r#"--modules={"libraries":[{"file":"libfixed.so","modules":[
            {"name":"org_apache_mesos_FixedResourceEstimator","parameters":[{"key":"resources","value":"cpus:2"}]}]},
            {"modules":[{"name":"org_apache_mesos_LoadQoSController",
            "parameters":[{"key":"load_threshold_15min","value":"6"}]}]}]}"#;
        let read = parse(&[
            modules,
            "--resource_estimator=org_apache_mesos_FixedResourceEstimator",
            "--qos_controller=org_apache_mesos_LoadQoSController",
        ])
        .expect("settings");
        assert_eq!(read.estimator, fixed("cpus:2"));
        assert_eq!(read.thresholds, Some(LoadThresholds { five: None, fifteen: Some(6000) }));
    }

    #[test]
    fn errors_name_the_flag_and_what_was_expected() {
        let cases: [(&[&str], &str); 9] = [
            (
                &["--resource_estimator=some"],
                "--resource_estimator: expected fixed:cpus:2;mem:512, load or ",
            ),
            (&["--resource_estimator=fixed:ports:[1-2]"], "--resource_estimator: expected scalars"),
            (
                &["--resource_estimator=fixed:cpus(web):1"],
                "--resource_estimator: expected resources without role",
            ),
            (
                &["--resource_estimator=org_apache_mesos_FixedResourceEstimator"],
                "--resource_estimator: module org_apache_mesos_FixedResourceEstimator needs the parameter 'resources'",
            ),
            (
                &["--qos_controller=load:1min=3"],
                "--qos_controller: expected load:5min=8,15min=6 or ",
            ),
            (
                &["--qos_controller=load:5min=-1"],
                "--qos_controller: 5 minutes: expected a load average",
            ),
            (
                &["--qos_controller=org_apache_mesos_LoadQoSController"],
                "--qos_controller: at least one of ",
            ),
            (&["--modules={}}"], "--modules: expected "),
            (
                &[r#"--modules={"libraries":[{"modules":[{"name":"org_x"}]}]}"#],
                "--modules: module 'org_x' is not built in",
            ),
        ];
        for (words, expected) in cases {
            let error = parse(words).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
