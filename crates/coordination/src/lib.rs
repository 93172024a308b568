//! proffer-coordination
