//! proffer-detector
