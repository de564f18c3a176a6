//! The channel protocols of exec and attach: how a message says which stream it belongs to. Pure.

use api::Status;
use axum::extract::ws::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use crate::gateway::{ExecEnd, TerminalSize};

pub(super) const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// One way of speaking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    /// Text with base64 instead of bytes.
    base64: bool,
    /// The error channel carries a Status, and says so too when all went well.
    status: bool,
    /// Single channels can be closed.
    close: bool,
}

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Input(Bytes),
    InputEnds,
    Resize(TerminalSize),
    Nothing,
}

impl Protocol {
    pub const NAMES: [&'static str; 5] = [
        "v5.channel.k8s.io",
        "v4.channel.k8s.io",
        "v4.base64.channel.k8s.io",
        "channel.k8s.io",
        "base64.channel.k8s.io",
    ];

    /// By its name; without one it is the oldest.
    pub fn of(name: Option<&str>) -> Self {
        let name = name.unwrap_or_default();
        Self {
            base64: name.contains("base64"),
            status: name.starts_with("v4") || name.starts_with("v5"),
            close: name.starts_with("v5"),
        }
    }

    /// A message of one channel.
    pub fn framed(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            let mut text = String::from(char::from(b'0' + channel));
            STANDARD.encode_string(data, &mut text);
            return Message::Text(text.into());
        }
        let mut message = BytesMut::with_capacity(data.len() + 1);
        message.put_u8(channel);
        message.put_slice(data);
        Message::Binary(message.freeze())
    }

    /// What a message of the client means.
    pub fn read(self, message: Message) -> Said {
        let (channel, data) = match message {
            Message::Text(text) if self.base64 => {
                let Some((channel, rest)) = text.as_str().split_at_checked(1) else { return Said::Nothing };
                let Ok(data) = STANDARD.decode(rest) else { return Said::Nothing };
                (channel.as_bytes()[0].wrapping_sub(b'0'), Bytes::from(data))
            }
            Message::Text(text) => split(Bytes::from(text.as_str().as_bytes().to_vec())),
            Message::Binary(data) => split(data),
            _ => return Said::Nothing,
        };
        match channel {
            STDIN if !data.is_empty() => Said::Input(data),
            RESIZE => size(&data).map_or(Said::Nothing, Said::Resize),
            CLOSE if self.close && data.first() == Some(&STDIN) => Said::InputEnds,
            _ => Said::Nothing,
        }
    }

    /// What the error channel says at the end, if it says anything.
    pub fn verdict(self, end: &Result<ExecEnd, Status>) -> Option<String> {
        let status = match end {
            Ok(ExecEnd::Exited(0)) => json!({ "metadata": {}, "status": "Success" }),
            Ok(ExecEnd::Exited(code)) => json!({
                "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
                "message": format!("command terminated with non-zero exit code: exit status {code}"),
                "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
            }),
            Ok(ExecEnd::Failed(why)) => failure(&Status::internal(why.clone())),
            Err(status) if status.code == 500 => failure(status),
            Err(status) => failure(&Status::internal(format!("unable to upgrade connection: {}", status.message))),
        };
        if self.status {
            return Some(status.to_string());
        }
        let success = status["status"] == "Success";
        (!success).then(|| status["message"].as_str().unwrap_or_default().to_owned())
    }
}

fn failure(status: &Status) -> Value {
    let words = &status.message;
    let message = words.strip_prefix("Internal error occurred: ").unwrap_or(words);
    json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": format!("Internal error occurred: {message}"),
        "details": { "causes": [{ "message": message }] },
    })
}

fn split(mut data: Bytes) -> (u8, Bytes) {
    if data.is_empty() {
        return (CLOSE, data);
    }
    let channel = data.split_to(1)[0];
    (channel, data)
}

fn size(data: &[u8]) -> Option<TerminalSize> {
    terminal_size(&serde_json::from_slice(data).ok()?)
}

/// A size as clients write it: `{"Width":80,"Height":24}`.
pub(super) fn terminal_size(size: &Value) -> Option<TerminalSize> {
    let number = |name: &str| {
        let value = size.get(name).or_else(|| size.get(name.to_ascii_lowercase()))?;
        u16::try_from(value.as_u64()?).ok()
    };
    Some(TerminalSize { width: number("Width")?, height: number("Height")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_their_channel() {
        let [v5, v4, base64] =
            ["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"].map(|name| Protocol::of(Some(name)));
        let binary = |bytes: &'static [u8]| Message::Binary(Bytes::from_static(bytes));
        let size = Said::Resize(TerminalSize { width: 80, height: 24 });
        for (protocol, message, wanted) in [
            (v4, binary(b"\0hi"), Said::Input(Bytes::from_static(b"hi"))),
            (v4, binary(b"\x01hi"), Said::Nothing),
            (v4, binary(b""), Said::Nothing),
            (v4, binary(b"\xff\0"), Said::Nothing),
            (v5, binary(b"\xff\0"), Said::InputEnds),
            (v4, binary(b"\x04{\"Width\":80,\"Height\":24}"), size),
            (v4, binary(b"\x04{"), Said::Nothing),
            (base64, Message::Text("0aGk=".into()), Said::Input(Bytes::from_static(b"hi"))),
            (base64, Message::Text("0?".into()), Said::Nothing),
            (base64, Message::Text("".into()), Said::Nothing),
        ] {
            assert_eq!(protocol.read(message), wanted);
        }
        assert_eq!(base64.framed(STDOUT, b"hi"), Message::Text("1aGk=".into()));
        assert_eq!(v5.framed(STDERR, b"hi"), binary(b"\x02hi"));
    }

    #[test]
    fn the_end_is_told_as_each_protocol_tells_it() {
        let (new, old) = (Protocol::of(Some("v4.channel.k8s.io")), Protocol::of(None));
        let told = |protocol: Protocol, end| protocol.verdict(&end).unwrap_or_default();
        assert_eq!(told(new, Ok(ExecEnd::Exited(0))), r#"{"metadata":{},"status":"Success"}"#);
        assert_eq!(told(old, Ok(ExecEnd::Exited(0))), "");
        let failed: Value = serde_json::from_str(&told(new, Ok(ExecEnd::Exited(3)))).unwrap();
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"][0], json!({ "reason": "ExitCode", "message": "3" }));
        let refused = Err(Status::bad_request("no such program"));
        assert_eq!(told(old, refused), "Internal error occurred: unable to upgrade connection: no such program");
    }
}
