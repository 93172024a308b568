//! Images: the engine pulls them, with credentials of ours.

use super::engine::{Engine, Fault};
use super::plan::{Plan, image_name};
use crate::images::{Credentials, Reference};
use base64::Engine as _;
use http::HeaderValue;
use serde_json::json;
use std::path::Path;

/// Files of the sandbox that may hold credentials, in the order in which they are looked for.
const FETCHED: [&str; 2] = [".docker/config.json", ".dockercfg"];

/// Sees to it that the engine has the image of a container.
///
/// # Errors
/// With a text for the framework.
pub(super) async fn image(
    engine: &Engine,
    plan: &Plan,
    sandbox: &Path,
    config: &Credentials,
) -> Result<(), String> {
    let name = image_name(&plan.image);
    let fault = |fault: Fault| format!("cannot get the image '{name}': {fault}");
    if !plan.pull_always && engine.has_image(&name).await.map_err(fault)? {
        return Ok(());
    }
    let login = login(&plan.image, sandbox, config)?;
    let version = plan.image.version();
    let repository = match &plan.image.registry {
        Some(registry) => format!("{registry}/{}", plan.image.repository),
        None => plan.image.repository.clone(),
    };
    let platform = plan.beside.platform.as_deref();
    engine.pull((&repository, &version), platform, login).await.map_err(fault)
}

/// Credentials for the image's registry: those that were fetched into the sandbox, else those of `--docker_config`.
fn login(
    image: &Reference,
    sandbox: &Path,
    config: &Credentials,
) -> Result<Option<HeaderValue>, String> {
    let registry = image.registry.as_deref().unwrap_or("docker.io");
    let fetched = FETCHED.iter().find_map(|name| std::fs::read(sandbox.join(name)).ok());
    let fetched = fetched.map(|bytes| Credentials::parse(&bytes)).transpose();
    let fetched = fetched.map_err(|text| format!("the docker config in the sandbox {text}"))?;
    let Some((user, password)) = fetched.as_ref().unwrap_or(config).login(registry) else {
        return Ok(None);
    };
    let login = json!({ "username": user, "password": password, "serveraddress": registry });
    let encoded = base64::engine::general_purpose::URL_SAFE.encode(login.to_string());
    let mut value = HeaderValue::from_str(&encoded).map_err(|e| e.to_string())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_of_the_registry() {
        let config = br#"{"auths": {"h:5000": {"auth": "dTpwOnE="}}}"#;
        let config = Credentials::parse(config).expect("credentials");
        let nowhere = Path::new("/nonexistent");
        let of = |image: &str| {
            let image = Reference::parse(image).expect("a reference");
            let value = login(&image, nowhere, &config).expect("good ones")?;
            let bytes = base64::engine::general_purpose::URL_SAFE.decode(value.as_bytes());
            Some(
                serde_json::from_slice::<serde_json::Value>(&bytes.expect("base64")).expect("JSON"),
            )
        };
        let want = json!({ "username": "u", "password": "p:q", "serveraddress": "h:5000" });
        assert_eq!(of("h:5000/a"), Some(want));
        assert_eq!(of("a"), None);
    }
}
