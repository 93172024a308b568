//! Names that users give, and the ids that they mean.

use super::{items, text};
use crate::operator_client::{Failure, OperatorClient};
use base::nearest;

/// Something that has an id and a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// Frameworks that are subscribed or may come back.
pub(crate) async fn frameworks(client: &OperatorClient) -> Result<Vec<Known>, Failure> {
    known(client, "/frameworks?tasks=false", "frameworks", "name").await
}

/// Agents that are registered.
pub(crate) async fn agents(client: &OperatorClient) -> Result<Vec<Known>, Failure> {
    known(client, "/slaves", "slaves", "hostname").await
}

/// Agents that are registered, and those that are expected back after a failover of the master.
pub(crate) async fn agents_of_registry(client: &OperatorClient) -> Result<Vec<Known>, Failure> {
    let mut all = agents(client).await?;
    all.extend(known(client, "/slaves", "recovered_slaves", "hostname").await?);
    Ok(all)
}

async fn known(
    client: &OperatorClient,
    path: &str,
    list: &str,
    name: &str,
) -> Result<Vec<Known>, Failure> {
    let answer = client.get(path).await?;
    let one = |v| Known { id: text(v, "id").to_owned(), name: text(v, name).to_owned() };
    Ok(items(&answer[list]).iter().map(one).collect())
}

/// All that a word means: an id, else the end of an id (`S0`, `0003`), else a name, which several may have.
pub(crate) fn meant<'a>(
    what: &str,
    word: &str,
    known: &'a [Known],
) -> Result<Vec<&'a Known>, Failure> {
    let ends = |k: &&Known| k.id.strip_suffix(word).is_some_and(|rest| rest.ends_with('-'));
    let found = |is: &dyn Fn(&&Known) -> bool| known.iter().filter(is).collect::<Vec<_>>();
    for found in [found(&|k| k.id == word), found(&|k| k.name == word), found(&ends)] {
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let names = known.iter().flat_map(|k| [k.name.as_str(), k.id.as_str()]);
    let near = match nearest(word, names) {
        Some(near) => format!("did you mean '{near}'?"),
        None if known.is_empty() => format!("the master knows no {what}"),
        None => format!("`proffer {what}s` lists them"),
    };
    Err(Failure::failed(format!("there is no {what} '{word}'; {near}")))
}

/// The one agent that a word means.
pub(crate) async fn one_agent(client: &OperatorClient, word: &str) -> Result<Known, Failure> {
    one("agent", word, &agents(client).await?)
}

/// The one framework that a word means.
pub(crate) async fn one_framework(client: &OperatorClient, word: &str) -> Result<Known, Failure> {
    one("framework", word, &frameworks(client).await?)
}

/// The one of them that a word means.
pub(crate) fn one(what: &str, word: &str, known: &[Known]) -> Result<Known, Failure> {
    match meant(what, word, known)?.as_slice() {
        [one] => Ok((*one).clone()),
        several => {
            let ids: Vec<&str> = several.iter().map(|k| k.id.as_str()).collect();
            let (count, ids) = (ids.len(), ids.join(", "));
            Err(Failure::usage(format!("'{word}' means {count} {what}s; give one of {ids}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<Known> {
        let one = |id: &str, name: &str| Known { id: id.to_owned(), name: name.to_owned() };
        vec![one("c-1-S0", "h1"), one("c-1-S1", "h2"), one("c-1-S2", "h2")]
    }

    fn ids(word: &str) -> Result<Vec<String>, Failure> {
        let known = known();
        Ok(meant("agent", word, &known)?.into_iter().map(|k| k.id.clone()).collect())
    }

    #[test]
    fn an_id_its_end_or_a_name_finds_what_is_meant() {
        assert_eq!(ids("c-1-S1"), Ok(vec!["c-1-S1".to_owned()]));
        assert_eq!(ids("S0"), Ok(vec!["c-1-S0".to_owned()]));
        assert_eq!(ids("h2"), Ok(vec!["c-1-S1".to_owned(), "c-1-S2".to_owned()]));
    }

    #[test]
    fn what_is_unknown_is_answered_with_the_nearest_name() {
        let failed = |text: &str| Err(Failure::failed(text));
        assert_eq!(ids("c-1-S9"), failed("there is no agent 'c-1-S9'; did you mean 'c-1-S0'?"));
        assert_eq!(
            ids("elsewhere"),
            failed("there is no agent 'elsewhere'; `proffer agents` lists them")
        );
        let none = meant("agent", "x", &[]).expect_err("nothing is known");
        assert_eq!(none, Failure::failed("there is no agent 'x'; the master knows no agent"));
    }
}
