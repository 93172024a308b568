//! proffer-http
