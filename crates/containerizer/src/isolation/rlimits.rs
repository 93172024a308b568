//! `posix/rlimits`: limits of a process, as its framework wants them.

use crate::ContainerSpec;
use crate::isolation::{Isolator, Preparation};
use wire::v1::r_limit_info::r_limit::Type;

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Rlimits;

impl Isolator for Rlimits {
    fn name(&self) -> &'static str {
        "posix/rlimits"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        let info = spec.container.as_ref().and_then(|c| c.rlimit_info.as_ref());
        for limit in info.iter().flat_map(|info| &info.rlimits) {
            let resource = resource(limit.r#type())
                .ok_or("'rlimit_info.rlimits.type' is not known to this agent")?;
            let (soft, hard) = match (limit.soft, limit.hard) {
                (Some(soft), Some(hard)) if soft <= hard => (soft, hard),
                (None, None) => (libc::RLIM_INFINITY, libc::RLIM_INFINITY),
                (Some(soft), Some(hard)) => {
                    return Err(format!(
                        "'rlimit_info.rlimits' of {}: 'soft' {soft} is above 'hard' {hard}",
                        limit.r#type().as_str_name()
                    ));
                }
                _ => {
                    return Err(format!(
                        "'rlimit_info.rlimits' of {}: 'soft' and 'hard' must both be set, or none",
                        limit.r#type().as_str_name()
                    ));
                }
            };
            preparation.setup.privileges.limits.push((resource, soft, hard));
        }
        Ok(())
    }
}

fn resource(kind: Type) -> Option<u32> {
    Some(match kind {
        Type::Unknown => return None,
        Type::RlmtAs => libc::RLIMIT_AS,
        Type::RlmtCore => libc::RLIMIT_CORE,
        Type::RlmtCpu => libc::RLIMIT_CPU,
        Type::RlmtData => libc::RLIMIT_DATA,
        Type::RlmtFsize => libc::RLIMIT_FSIZE,
        Type::RlmtLocks => libc::RLIMIT_LOCKS,
        Type::RlmtMemlock => libc::RLIMIT_MEMLOCK,
        Type::RlmtMsgqueue => libc::RLIMIT_MSGQUEUE,
        Type::RlmtNice => libc::RLIMIT_NICE,
        Type::RlmtNofile => libc::RLIMIT_NOFILE,
        Type::RlmtNproc => libc::RLIMIT_NPROC,
        Type::RlmtRss => libc::RLIMIT_RSS,
        Type::RlmtRtprio => libc::RLIMIT_RTPRIO,
        Type::RlmtRttime => libc::RLIMIT_RTTIME,
        Type::RlmtSigpending => libc::RLIMIT_SIGPENDING,
        Type::RlmtStack => libc::RLIMIT_STACK,
    })
}
