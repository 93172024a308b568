//! proffer-testkit
