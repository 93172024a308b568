//! Talking with the agent.

use std::io::{BufRead as _, Read as _, Write as _};
use std::sync::mpsc::{self, Receiver};
use wire::internal::FetchRequest;

/// Longest request.
const REQUEST_MAX: u32 = 64 << 20;

/// What the agent says of an item.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Take this file of the cache.
    Get(String),
    /// Find out how large it is.
    Measure,
    /// Download it to this file of the cache.
    Put(String),
    /// Go past the cache.
    Direct(String),
}

/// The agent, of whom the request has been read.
pub(crate) struct Dialogue(());

impl Dialogue {
    /// Reads the request.
    pub(crate) fn open() -> Result<(FetchRequest, Self), String> {
        let mut input = std::io::stdin().lock();
        let mut length = [0; 4];
        input.read_exact(&mut length).map_err(|e| format!("no request on standard input: {e}"))?;
        let length = u32::from_le_bytes(length);
        if length > REQUEST_MAX {
            return Err(format!("a request of {length} bytes"));
        }
        let mut bytes = vec![0; length as usize];
        input
            .read_exact(&mut bytes)
            .map_err(|e| format!("half a request on standard input: {e}"))?;
        let request = wire::protobuf::from_slice(&bytes)
            .map_err(|e| format!("the request is broken: {e}"))?;
        Ok((request, Self(())))
    }

    /// From now on the end of standard input is the end of this process and its children.
    pub(crate) fn listen(self) -> Agent {
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if let Some(answer) = parse(&line) {
                    let _ = sender.send(answer);
                }
            }
            end_group();
        });
        Agent { answers }
    }
}

/// Ends this process and all that it started.
pub(crate) fn end_group() -> ! {
    let _ = rustix::process::kill_current_process_group(rustix::process::Signal::KILL);
    std::process::exit(1)
}

fn parse(line: &str) -> Option<Answer> {
    Some(match line.split_once(' ').unwrap_or((line, "")) {
        ("get", file) => Answer::Get(file.to_owned()),
        ("measure", _) => Answer::Measure,
        ("put", file) => Answer::Put(file.to_owned()),
        ("direct", why) => Answer::Direct(why.to_owned()),
        _ => return None,
    })
}

/// The agent, who answers.
#[derive(Debug)]
pub(crate) struct Agent {
    answers: Receiver<Answer>,
}

impl Agent {
    /// Says something.
    pub(crate) fn tell(&self, line: &str) -> Result<(), String> {
        let mut out = std::io::stdout().lock();
        out.write_all(format!("{line}\n").as_bytes())
            .and_then(|()| out.flush())
            .map_err(|e| format!("the agent does not listen: {e}"))
    }

    /// Says something and waits for the answer.
    pub(crate) fn ask(&self, line: &str) -> Result<Answer, String> {
        self.tell(line)?;
        self.answers.recv().map_err(|_| "the agent does not answer".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_one_word_and_the_rest() {
        assert_eq!(parse("get c1-a b"), Some(Answer::Get("c1-a b".to_owned())));
        assert_eq!(parse("measure"), Some(Answer::Measure));
        assert_eq!(parse("put c2-x"), Some(Answer::Put("c2-x".to_owned())));
        assert_eq!(parse("direct no space"), Some(Answer::Direct("no space".to_owned())));
        assert_eq!(parse("whatever"), None);
    }
}
