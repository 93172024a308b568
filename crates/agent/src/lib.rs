//! proffer-agent
