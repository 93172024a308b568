//! From a wait status to a task's state and message (spec/agent.md 3.1).

use wire::v1::TaskState;

/// State of a task whose main process ended with this raw wait status, and what is said about it; `what` has ended.
pub(crate) fn of_exit(what: &str, status: i32, killed: bool) -> (TaskState, String) {
    let ended = |state| if killed { TaskState::TaskKilled } else { state };
    let signal = status & 0x7F;
    if signal == 0 {
        let code = (status >> 8) & 0xFF;
        let state = if code == 0 { TaskState::TaskFinished } else { TaskState::TaskFailed };
        return (ended(state), format!("{what} exited with status {code}"));
    }
    let core = if status & 0x80 == 0 { "" } else { " (core dumped)" };
    (
        ended(TaskState::TaskFailed),
        format!("{what} terminated with signal {}{core}", signal_text(signal)),
    )
}

/// The C library's words for a signal.
fn signal_text(signal: i32) -> String {
    let text = match signal {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        5 => "Trace/breakpoint trap",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        10 => "User defined signal 1",
        11 => "Segmentation fault",
        12 => "User defined signal 2",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        16 => "Stack fault",
        17 => "Child exited",
        18 => "Continued",
        19 => "Stopped (signal)",
        20 => "Stopped",
        21 => "Stopped (tty input)",
        22 => "Stopped (tty output)",
        23 => "Urgent I/O condition",
        24 => "CPU time limit exceeded",
        25 => "File size limit exceeded",
        26 => "Virtual timer expired",
        27 => "Profiling timer expired",
        28 => "Window changed",
        29 => "I/O possible",
        30 => "Power failure",
        31 => "Bad system call",
        n if (34..=64).contains(&n) => return format!("Real-time signal {}", n - 34),
        n => return format!("Unknown signal {n}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: i32, killed: bool, state: TaskState, message: &str) {
        assert_eq!(of_exit("Command", status, killed), (state, message.to_owned()));
    }

    #[test]
    fn exits_become_states_and_messages() {
        check(0, false, TaskState::TaskFinished, "Command exited with status 0");
        check(3 << 8, false, TaskState::TaskFailed, "Command exited with status 3");
        check(9, false, TaskState::TaskFailed, "Command terminated with signal Killed");
        check(
            11 | 0x80,
            false,
            TaskState::TaskFailed,
            "Command terminated with signal Segmentation fault (core dumped)",
        );
        check(15, true, TaskState::TaskKilled, "Command terminated with signal Terminated");
        check(0, true, TaskState::TaskKilled, "Command exited with status 0");
    }
}
