//! Stores of a Redis server, which is reached as the container itself would reach it: through its own sockets, so that names of
//! the cluster work and leaving it needs the same leave.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Uri;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, Value};
use tokio::sync::Mutex;

use super::{Change, Fault, KEYS_AT_ONCE, Keys, Outcome, Store};
use crate::bulk::Group;
use crate::capabilities::sockets::Sockets;
use crate::container::Container;

const PORT: u16 = 6379;
/// A server that takes longer to be reached is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// A server that takes longer to answer is not there any more.
const ANSWER: Duration = Duration::from_secs(10);
/// Compares and swaps in one step: with one value the key has to be absent, with two it has to hold the second.
const SWAP: &str = "local found = redis.call('GET', KEYS[1]) \
     if #ARGV == 1 and found or #ARGV == 2 and found ~= ARGV[2] then return 0 end \
     redis.call('SET', KEYS[1], ARGV[1]) return 1";

/// One database of a server.
pub(super) struct Redis {
    host: String,
    port: u16,
    login: RedisConnectionInfo,
    sockets: Option<Arc<dyn Sockets>>,
    group: Arc<Group>,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Redis {
    pub fn new(container: &Container, url: &str, user: &str, password: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        if uri.scheme_str() != Some("redis") {
            return Err(format!("{url}: only redis:// is spoken, without TLS"));
        }
        let host = uri.host().ok_or_else(|| format!("{url}: there is no host"))?;
        let number = uri.path().trim_matches('/');
        let number = if number.is_empty() { Ok(0) } else { number.parse::<i64>() };
        let number = number.map_err(|_| format!("{url}: the path of a Redis URL is the number of a database"))?;
        let mut login = RedisConnectionInfo::default().set_db(number).set_skip_set_lib_name();
        if !user.is_empty() {
            login = login.set_username(user);
        }
        if !password.is_empty() {
            login = login.set_password(password);
        }
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(PORT),
            login,
            sockets: container.spec.sockets.clone(),
            group: Arc::clone(&container.group),
            connection: Mutex::default(),
        })
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Fault> {
        let Some(sockets) = &self.sockets else { return Err(Fault::other("this container has no network")) };
        let address = match self.host.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => {
                let found = sockets.lookup(self.host.clone()).await.map_err(Fault::other)?;
                *found.first().ok_or_else(|| Fault::Other(format!("{} has no address", self.host)))?
            }
        };
        let stream = sockets.connect(SocketAddr::new(address, self.port)).await.map_err(Fault::other)?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER));
        let opened = MultiplexedConnection::new_with_config(&self.login, stream, config).await;
        let (connection, driver) = opened.map_err(Fault::other)?;
        self.group.spawn(driver).detach();
        Ok(connection)
    }

    /// A connection that works, as far as anybody knows.
    async fn connection(&self) -> Result<MultiplexedConnection, Fault> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = &*connection {
            return Ok(open.clone());
        }
        let opened = tokio::time::timeout(CONNECT, self.connect()).await;
        let opened = opened.map_err(|_| Fault::Other(format!("{}:{} cannot be reached", self.host, self.port)))??;
        Ok(connection.insert(opened).clone())
    }

    async fn ask(&self, command: &Cmd) -> Result<Value, Fault> {
        let mut connection = self.connection().await?;
        let answer = connection.send_packed_command(command).await.and_then(Value::extract_error);
        self.judge(answer).await
    }

    async fn ask_all(&self, commands: &redis::Pipeline, count: usize) -> Result<Vec<Value>, Fault> {
        let mut connection = self.connection().await?;
        // A transaction answers once, with the answers to its commands.
        let answers = connection.send_packed_commands(commands, count + 1, 1).await;
        let answers = self.judge(answers).await?;
        match answers.into_iter().next() {
            Some(Value::Array(answers)) => Ok(answers),
            _ => Err(Fault::other("the server did not carry out the transaction")),
        }
    }

    /// A connection that failed is given up; the next call makes another.
    async fn judge<T>(&self, answer: Result<T, RedisError>) -> Result<T, Fault> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                if error.is_unrecoverable_error() || error.is_timeout() || error.is_connection_dropped() {
                    drop(self.connection.lock().await.take());
                }
                Err(Fault::other(error))
            }
        }
    }
}

fn number(value: &Value) -> Result<i64, Fault> {
    redis::from_redis_value_ref(value).map_err(Fault::other)
}

fn outcome(change: &Change, value: &Value) -> Result<Outcome, Fault> {
    Ok(match change {
        Change::Set(..) | Change::Delete(_) => Outcome::Done,
        Change::Increment(..) => Outcome::Number(number(value)?),
        Change::Swap { .. } if number(value)? == 1 => Outcome::Done,
        Change::Swap { .. } => Outcome::Stale,
    })
}

fn command(change: &Change) -> Cmd {
    let mut command = Cmd::new();
    match change {
        Change::Set(key, value) => command.arg("SET").arg(key).arg(value.as_slice()),
        Change::Delete(key) => command.arg("DEL").arg(key),
        Change::Increment(key, delta) => command.arg("INCRBY").arg(key).arg(*delta),
        Change::Swap { key, old, new } => {
            let command = command.arg("EVAL").arg(SWAP).arg(1).arg(key).arg(new.as_slice());
            match old {
                Some(old) => command.arg(old.as_slice()),
                None => command,
            }
        }
    };
    command
}

#[async_trait]
impl Store for Redis {
    async fn get(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        command.arg(&keys);
        redis::from_redis_value(self.ask(&command).await?).map_err(Fault::other)
    }

    async fn change(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, Fault> {
        if let [change] = changes.as_slice() {
            return Ok(vec![outcome(change, &self.ask(&command(change)).await?)?]);
        }
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = redis::pipe();
        commands.atomic();
        for change in &changes {
            commands.add_command(command(change));
        }
        let answers = self.ask_all(&commands, changes.len()).await?;
        changes.iter().zip(&answers).map(|(change, answer)| outcome(change, answer)).collect()
    }

    async fn keys(&self, from: u64) -> Result<Keys, Fault> {
        let mut command = redis::cmd("SCAN");
        command.arg(from).arg("COUNT").arg(KEYS_AT_ONCE);
        let (next, keys): (u64, Vec<String>) =
            redis::from_redis_value(self.ask(&command).await?).map_err(Fault::other)?;
        Ok((keys, Some(next).filter(|next| *next != 0)))
    }
}
