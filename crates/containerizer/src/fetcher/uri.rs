//! What a URI means: where it comes from and what it is called (spec/agent.md 5).

use wire::internal::FetchItem;
use wire::internal::fetch_item::Source;
use wire::v1;

/// What is to be fetched for a command, in order.
///
/// # Errors
/// When a URI or an output file is malformed.
pub(super) fn items(
    command: &v1::CommandInfo,
    frameworks_home: Option<&str>,
) -> Result<Vec<FetchItem>, String> {
    command.uris.iter().map(|uri| item(uri, frameworks_home)).collect()
}

fn item(uri: &v1::command_info::Uri, frameworks_home: Option<&str>) -> Result<FetchItem, String> {
    let name = name(&uri.value)?.to_owned();
    let output = match &uri.output_file {
        Some(output) => checked_output(output)?,
        None => name.clone(),
    };
    let source = match output.as_str() {
        "" => Source::Fault(
            "the URI ends with '/', so that the file has no name: give it an 'output_file'"
                .to_owned(),
        ),
        _ => source(uri.value.trim_start(), frameworks_home),
    };
    Ok(FetchItem {
        uri: uri.value.clone(),
        name,
        output,
        executable: uri.executable(),
        extract: uri.extract(),
        cache: uri.cache(),
        source: Some(source),
    })
}

/// The last part. As with the peer a query belongs to it.
fn name(uri: &str) -> Result<&str, String> {
    if uri.contains(['\\', '\'', '\0']) {
        return Err("Illegal characters in URI".to_owned());
    }
    match uri.split_once("://") {
        Some((scheme, rest)) if scheme.len() > 1 => {
            let (_, path) = rest.split_once('/').unwrap_or_default();
            if path.is_empty() {
                return Err(format!("Malformed URI (missing path): {uri}"));
            }
            Ok(path.rsplit('/').next().unwrap_or_default())
        }
        _ => Ok(uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default()),
    }
}

fn checked_output(output: &str) -> Result<String, String> {
    use std::path::{Component, Path};
    if output.is_empty() {
        return Err("URI output file path is empty".to_owned());
    }
    let mut components = Path::new(output).components();
    let inside = components.all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    let named = Path::new(output).file_name().is_some()
        && !output.ends_with('/')
        && !output.ends_with("/.");
    if !inside || !named || output.contains('\0') {
        return Err("URI output file must be within the sandbox directory".to_owned());
    }
    Ok(output.to_owned())
}

fn source(uri: &str, frameworks_home: Option<&str>) -> Source {
    let file =
        uri.strip_prefix("file://").map(|path| path.strip_prefix("localhost").unwrap_or(path));
    if let Some(path) = file {
        return if path.starts_with('/') {
            Source::Path(path.to_owned())
        } else {
            Source::Fault("File URI only supports absolute paths".to_owned())
        };
    }
    if ["http://", "https://", "ftp://", "ftps://"].iter().any(|scheme| uri.starts_with(scheme)) {
        return Source::Url(uri.to_owned());
    }
    if uri.contains("://") {
        return Source::Hadoop(uri.to_owned());
    }
    if uri.starts_with('/') {
        return Source::Path(uri.to_owned());
    }
    match frameworks_home.filter(|home| !home.is_empty()) {
        Some(home) => Source::Path(format!("{}/{uri}", home.trim_end_matches('/'))),
        None => Source::Fault(
            "A relative path was passed for the resource but the Mesos framework home was not specified. \
             Please either provide this config option (--frameworks_home) or avoid using a relative path"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(value: &str) -> v1::command_info::Uri {
        v1::command_info::Uri { value: value.to_owned(), ..Default::default() }
    }

    fn of(value: &str) -> (String, Source) {
        let item = item(&uri(value), Some("/home/f/")).expect("an item");
        (item.output, item.source.expect("a source"))
    }

    #[test]
    fn sources_are_told_by_their_scheme() {
        let path = |path: &str| Source::Path(path.to_owned());
        assert_eq!(of("/a/b"), ("b".to_owned(), path("/a/b")));
        assert_eq!(of("  /a/b"), ("b".to_owned(), path("/a/b")));
        assert_eq!(of("a/b"), ("b".to_owned(), path("/home/f/a/b")));
        assert_eq!(of("file:///a/b"), ("b".to_owned(), path("/a/b")));
        assert_eq!(of("file://localhost/a/b"), ("b".to_owned(), path("/a/b")));
        for url in ["http://h/a", "https://h/a", "ftp://h/a", "ftps://h/a"] {
            assert_eq!(of(url), ("a".to_owned(), Source::Url(url.to_owned())));
        }
        for url in ["hdfs://h/a", "s3a://b/a", "maprfs:///a"] {
            assert_eq!(of(url), ("a".to_owned(), Source::Hadoop(url.to_owned())));
        }
        assert_eq!(of("http://h/d/f?x=1&y").0, "f?x=1&y");
        assert!(matches!(of("http://h/d/").1, Source::Fault(text) if text.contains("output_file")));
        assert!(
            matches!(of("file://a/b").1, Source::Fault(text) if text.contains("absolute paths"))
        );
        let relative = item(&uri("a/b"), None).expect("an item").source;
        assert!(
            matches!(relative, Some(Source::Fault(text)) if text.starts_with("A relative path was passed"))
        );
    }

    #[test]
    fn malformed_uris_are_refused_with_the_peers_words() {
        for (value, why) in [
            ("lala://nopath", "Malformed URI (missing path): lala://nopath"),
            ("http://h/", "Malformed URI (missing path): http://h/"),
            ("http://h/a\\b", "Illegal characters in URI"),
            ("http://h/a'b", "Illegal characters in URI"),
        ] {
            assert_eq!(item(&uri(value), None), Err(why.to_owned()));
        }
    }

    #[test]
    fn output_files_stay_in_the_sandbox() {
        let with = |output: &str| {
            let uri = v1::command_info::Uri { output_file: Some(output.to_owned()), ..uri("/a/b") };
            item(&uri, None).map(|item| item.output)
        };
        for fine in ["c", "d/c", "./d/c", "d/./c.tgz"] {
            assert_eq!(with(fine), Ok(fine.to_owned()));
        }
        let outside = Err("URI output file must be within the sandbox directory".to_owned());
        for bad in ["/c", "../c", "d/../../c", "d/..", ".", "d/", "d/."] {
            assert_eq!(with(bad), outside, "{bad}");
        }
        assert_eq!(with(""), Err("URI output file path is empty".to_owned()));
    }
}
