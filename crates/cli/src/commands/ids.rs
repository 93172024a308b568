//! `proffer ids`: names for shells that complete words; see [`super::completion`].

use super::{items, text};
use crate::operator_client::{Failure, OperatorClient, escaped};
use clap::{Arg, ArgMatches, Command};
use serde_json::Value;

/// More are of no use to who completes a word.
const MAX: usize = 200;

pub(crate) fn command() -> Command {
    Command::new("ids").about("Names that begin so, for shells").hide(true).args([
        Arg::new("kind").required(true).value_parser(["tasks", "agents", "frameworks", "roles"]),
        Arg::new("beginning").default_value("").hide_default_value(true),
    ])
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let given = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let (kind, beginning) = (given("kind"), given("beginning"));
    let (path, names): (_, &[&str]) = match kind {
        "tasks" => {
            let path = format!("/tasks?limit={MAX}&match={}", escaped(beginning));
            (path, &["id", "name"])
        }
        "agents" => ("/slaves".to_owned(), &["id", "hostname"]),
        "frameworks" => ("/frameworks?tasks=false".to_owned(), &["id", "name"]),
        _ => ("/roles".to_owned(), &["name"]),
    };
    let answer = client.get(&path).await?;
    let list = if kind == "agents" { "slaves" } else { kind };
    let of =
        |item: &Value| names.iter().map(|name| text(item, name).to_owned()).collect::<Vec<_>>();
    let mut words: Vec<String> = items(&answer[list]).iter().flat_map(of).collect();
    words.retain(|word| is_plain(word) && word.starts_with(beginning));
    words.sort();
    words.dedup();
    Ok(words.into_iter().take(MAX).map(|word| format!("{word}\n")).collect())
}

/// Whether a shell takes a name as it is: one that is completed may be carried out.
fn is_plain(word: &str) -> bool {
    let is = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+,".contains(&byte);
    !word.is_empty() && !word.starts_with('-') && word.bytes().all(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_shell_would_carry_out_are_no_words() {
        for word in ["web-1", "a.b/c:d", "7f-S3"] {
            assert!(is_plain(word), "{word}");
        }
        for word in ["", "-x", "$(ls)", "a b", "`x`", "a;b", "ü", "a\\n", "~", "*"] {
            assert!(!is_plain(word), "{word}");
        }
    }
}
