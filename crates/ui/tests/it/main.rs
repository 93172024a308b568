//! Pages as browsers get them: what they say, what they refuse to be tricked into, how long they are.

mod lists;
mod pages;
mod query;
mod routes;
