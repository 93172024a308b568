//! `proffer local`: a master and agents in one process. Tasks die with it.

use crate::daemon::{agent_config, master_config, stopped};
use crate::flags::{self, AGENT, Flags, MASTER};
use crate::host;
use crate::logging::{self, Logging};
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs until it is stopped.
pub(crate) async fn local(flags: &Flags) -> Result<ExitCode, String> {
    let logging = logging::start(flags, "local")?;
    let (directory, temporary) = match flags.text("work_dir") {
        Some(path) => (PathBuf::from(path), false),
        None => (std::env::temp_dir().join(format!("proffer-local-{:016x}", host::seed()?)), true),
    };
    std::fs::create_dir_all(&directory)
        .map_err(|e| format!("cannot create {}: {e}", directory.display()))?;
    let directory = std::path::absolute(&directory).map_err(|e| e.to_string())?;
    let logging = Logging { file: None, ..logging };
    let result = cluster(flags, &directory, &logging).await;
    if temporary {
        let _ = std::fs::remove_dir_all(&directory);
    }
    result
}

async fn cluster(
    flags: &Flags,
    directory: &std::path::Path,
    logging: &Logging,
) -> Result<ExitCode, String> {
    let (ip, port): (&str, u16) = (flags.text("ip").unwrap_or("127.0.0.1"), flags.number("port")?);
    let words = vec![
        format!("--ip={ip}"),
        format!("--port={port}"),
        format!("--work_dir={}", directory.join("master").display()),
    ];
    let open_files = host::raise_open_files();
    let master_flags = flags::parse(&MASTER, &words, [])?;
    let mut master = master::start(master_config(
        &master_flags,
        &host::address(&master_flags)?,
        logging.clone(),
    )?)
    .await
    .map_err(|e| e.to_string())?;
    let address = master.address;
    let mut agents = Vec::new();
    let count: u16 = flags.number("num_slaves")?;
    for number in 1..=count {
        let agent_port = if port == 0 {
            0
        } else {
            port.checked_add(number).ok_or("--port: too high for the agents")?
        };
        let work_dir = directory.join(format!("agent{number}"));
        let mut words = vec![
            format!("--ip={ip}"),
            format!("--port={agent_port}"),
            format!("--master={address}"),
            format!("--work_dir={}", work_dir.display()),
            format!("--runtime_dir={}", work_dir.join("run").display()),
            format!("--fetcher_cache_dir={}", work_dir.join("fetch").display()),
        ];
        for name in ["resources", "attributes", "containerizers", "docker_socket"] {
            words.extend(flags.text(name).map(|value| format!("--{name}={value}")));
        }
        let agent_flags = flags::parse(&AGENT, &words, [])?;
        let mut config =
            agent_config(&agent_flags, &host::address(&agent_flags)?, logging.clone(), open_files)?;
        config.core.local = true;
        agents.push(agent::start(config).await.map_err(|e| e.to_string())?);
    }
    println!(
        "Proffer runs at http://{address} with {count} agent(s); Ctrl-C stops it and its tasks."
    );
    let master_flag = if port == 5050 { String::new() } else { format!(" --master={address}") };
    println!("Run a first task in another terminal:  proffer run{master_flag} 'echo hello'");
    let ended = tokio::select! {
        ended = master.ended() => Some(ended),
        () = stopped() => None,
    };
    println!("Stopping.");
    for agent in agents {
        agent.stop().await;
    }
    match ended {
        Some(ended) => ended?,
        None => master.stop().await?,
    }
    Ok(ExitCode::SUCCESS)
}
