//! proffer-sim
