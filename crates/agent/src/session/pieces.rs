//! Pieces of what goes into a container and comes out of it.

use std::time::Duration;
use wire::v1;
use wire::v1::agent::process_io::{Control, Data, control, data};
use wire::v1::agent::{ProcessIo, process_io};

pub(crate) fn data(kind: data::Type, bytes: &[u8]) -> ProcessIo {
    ProcessIo {
        r#type: Some(process_io::Type::Data as i32),
        data: Some(Data { r#type: Some(kind as i32), data: Some(bytes.to_vec()) }),
        control: None,
    }
}

/// A sign of life, and when to expect the next one.
pub(crate) fn heartbeat(interval: Duration) -> ProcessIo {
    let nanoseconds = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX);
    ProcessIo {
        r#type: Some(process_io::Type::Control as i32),
        data: None,
        control: Some(Control {
            r#type: Some(control::Type::Heartbeat as i32),
            heartbeat: Some(control::Heartbeat {
                interval: Some(v1::DurationInfo { nanoseconds }),
            }),
            tty_info: None,
        }),
    }
}

/// What a client puts in.
#[derive(Debug, PartialEq)]
pub(crate) enum Typed {
    /// Bytes; none of them: the end, unless a terminal takes them.
    Bytes(Vec<u8>),
    /// The size of the client's terminal.
    Size(v1::tty_info::WindowSize),
    /// It is there.
    Heartbeat,
}

/// What a piece means, or what is wrong with it.
pub(crate) fn typed(piece: ProcessIo) -> Result<Typed, String> {
    let expect = |name: &str| format!("Expecting '{name}' to be present");
    match piece.r#type() {
        process_io::Type::Data => {
            let data = piece.data.ok_or_else(|| expect("process_io.data"))?;
            if data.r#type() != data::Type::Stdin {
                return Err("Expecting 'process_io.data.type' to be STDIN".to_owned());
            }
            data.data.map(Typed::Bytes).ok_or_else(|| expect("process_io.data.data"))
        }
        process_io::Type::Control => {
            let control = piece.control.ok_or_else(|| expect("process_io.control"))?;
            match control.r#type() {
                control::Type::TtyInfo => {
                    let tty =
                        control.tty_info.ok_or_else(|| expect("process_io.control.tty_info"))?;
                    let size = tty.window_size.map(Typed::Size);
                    size.ok_or_else(|| expect("process_io.control.tty_info.window_size"))
                }
                control::Type::Heartbeat if control.heartbeat.is_none() => {
                    Err(expect("process_io.control.heartbeat"))
                }
                control::Type::Heartbeat => Ok(Typed::Heartbeat),
                control::Type::Unknown => Err("'process_io.control.type' is unknown".to_owned()),
            }
        }
        process_io::Type::Unknown => Err("'process_io.type' is unknown".to_owned()),
    }
}
