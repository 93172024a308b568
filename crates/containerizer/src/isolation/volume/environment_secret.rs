//! `environment_secret`: variables of a command that are secrets. Always on.

use super::secret;
use crate::ContainerSpec;
use crate::isolation::{Isolator, Preparation};
use wire::v1;
use wire::v1::environment::variable::Type;

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct EnvironmentSecret;

impl Isolator for EnvironmentSecret {
    fn name(&self) -> &'static str {
        "environment_secret"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        preparation.environment.extend(secret_variables(&spec.command)?);
        Ok(())
    }
}

/// Names and values of a command's variables that are secrets.
pub(crate) fn secret_variables(command: &v1::CommandInfo) -> Result<Vec<(String, String)>, String> {
    let variables = command.environment.iter().flat_map(|e| &e.variables);
    let secrets = variables.filter(|v| v.r#type() == Type::Secret).map(|variable| {
        let fault = |e: &str| format!("variable '{}': {e}", variable.name);
        let source = variable.secret.as_ref().ok_or_else(|| fault("'secret' is not set"))?;
        let content = secret(source).map_err(|e| fault(&e))?;
        let text = std::str::from_utf8(content).map_err(|_| fault("the secret is not text"))?;
        if text.contains('\0') {
            return Err(fault("the secret contains a zero byte"));
        }
        Ok((variable.name.clone(), text.to_owned()))
    });
    secrets.collect()
}
