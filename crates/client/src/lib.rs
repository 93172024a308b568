//! proffer-client
