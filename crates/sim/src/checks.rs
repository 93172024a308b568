//! Checks of simulated tasks.

use crate::plan::Plan;
use base::Rng;
use std::time::Duration;
use wire::v1;

/// A check that succeeds mostly: by a command, or over the network.
pub(crate) fn health_check(rng: &mut Rng) -> v1::HealthCheck {
    let interval = 1 + rng.below(5);
    let check = v1::HealthCheck {
        delay_seconds: Some(rng.below(3) as f64),
        interval_seconds: Some(interval as f64),
        timeout_seconds: Some(1.0),
        grace_period_seconds: Some(rng.below(5) as f64),
        consecutive_failures: Some(1 + rng.below(3) as u32),
        ..Default::default()
    };
    if rng.chance(1, 2) {
        let tcp = v1::health_check::TcpCheckInfo { port: 80, ..Default::default() };
        let kind = Some(v1::health_check::Type::Tcp as i32);
        return v1::HealthCheck { r#type: kind, tcp: Some(tcp), ..check };
    }
    let runs = Duration::from_millis(rng.below(1200));
    let code = i32::from(rng.chance(1, 4));
    let plan = Plan { runs, code, stubborn: false, fetches: Duration::ZERO, fetchable: true };
    let command = v1::CommandInfo { value: Some(plan.command()), ..Default::default() };
    let kind = Some(v1::health_check::Type::Command as i32);
    v1::HealthCheck { r#type: kind, command: Some(command), ..check }
}
