//! Kubernetes' static token file: one line each, `token,user,uid` and, optionally, `"group1,group2"`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use api::UserInfo;
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{Authenticator, Credentials, Rejected};

/// Why a token file cannot be used.
#[derive(Debug, Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("cannot read the token file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line is not understood.
    #[error("{name}:{line}: {detail}; a line is token,user,uid or token,user,uid,\"group1,group2\"")]
    Line {
        /// The file.
        name: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        detail: &'static str,
    },
}

/// Tokens that were read once. They are kept as digests, so that looking one up takes the same time for every wrong guess
/// and a dump of the memory holds no token.
#[derive(Clone, Debug, Default)]
pub struct StaticTokens {
    users: HashMap<[u8; 32], UserInfo>,
}

impl StaticTokens {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or a line is not understood.
    pub fn load(path: &Path) -> Result<Self, TokenFileError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TokenFileError::Io { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads the text of a file that messages call `name`.
    ///
    /// # Errors
    /// When a line is not understood.
    pub fn parse(text: &str, name: &str) -> Result<Self, TokenFileError> {
        let mut users = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let wrong = |detail| TokenFileError::Line { name: name.to_owned(), line: at + 1, detail };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields = fields(line).ok_or_else(|| wrong("a quote is not closed"))?;
            let [token, user, uid, rest @ ..] = fields.as_slice() else {
                return Err(wrong("there are fewer than three fields"));
            };
            if token.is_empty() || user.is_empty() {
                return Err(wrong("the token or the user is empty"));
            }
            let groups = rest.first().map(String::as_str).unwrap_or_default();
            let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
            let mut info = UserInfo::new(user.clone(), groups);
            info.uid.clone_from(uid);
            if users.insert(digest(token), info).is_some() {
                return Err(wrong("the token stands in an earlier line too"));
            }
        }
        Ok(Self { users })
    }
}

#[async_trait]
impl Authenticator for StaticTokens {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<UserInfo>, Rejected> {
        Ok(credentials.bearer.as_deref().and_then(|token| self.users.get(&digest(token))).cloned())
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The fields of one CSV line; a doubled quote inside quotes stands for a quote.
fn fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field).trim().to_owned()),
            other => field.push(other),
        }
    }
    fields.push(field.trim().to_owned());
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_kubernetes_reads_them() {
        let text = "# people\nsecret,jane,7,\"dev,ops\"\n\nplain , bob, 8\n";
        let tokens = StaticTokens::parse(text, "tokens.csv").unwrap();
        let jane = &tokens.users[&digest("secret")];
        assert_eq!((jane.name.as_str(), jane.uid.as_str()), ("jane", "7"));
        assert_eq!(jane.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(tokens.users[&digest("plain")].groups, ["system:authenticated"]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, wanted) in [
            ("a,b,1\nx,y", "tokens.csv:2: there are fewer than three fields"),
            ("a,b,1,\"g", "tokens.csv:1: a quote is not closed"),
            (",b,1", "tokens.csv:1: the token or the user is empty"),
            ("a,b,1\na,c,2", "tokens.csv:2: the token stands in an earlier line too"),
        ] {
            let message = StaticTokens::parse(text, "tokens.csv").unwrap_err().to_string();
            assert!(message.starts_with(wanted), "{message}");
        }
    }
}
