//! The real program as a user, an operator and a client see it.

mod agents;
mod checks;
mod clients;
mod commands;
mod container_info;
mod containers;
mod disk;
mod docker;
mod fetching;
mod garbage;
mod hostile;
mod images;
mod isolation;
mod lending;
mod local;
mod operator;
mod overlap;
mod recovery;
mod shares;
mod sharing;
mod strict;
mod supervisors;
mod torture;
mod volumes;
mod what_if;
mod whitelist;
