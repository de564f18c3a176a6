//! The data threads.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::*;

fn two() -> DataThreads {
    DataThreads::start(NonZeroUsize::new(2).unwrap()).unwrap()
}

#[tokio::test]
async fn a_future_that_cannot_move_runs_where_it_was_put() {
    let threads = two();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    for thread in 0..2 {
        let sender = sender.clone();
        threads.spawn_on(thread, move || {
            let here = Rc::new(std::thread::current().name().map(ToOwned::to_owned));
            async move {
                tokio::task::yield_now().await;
                sender.send((thread, here.as_deref().map(ToOwned::to_owned))).unwrap();
            }
        });
    }
    for _ in 0..2 {
        let (thread, name) = receiver.recv().await.unwrap();
        assert_eq!(name, Some(format!("data-{thread}")));
    }
    threads.stop().await;
}

#[tokio::test]
async fn connections_go_to_the_least_loaded_thread() {
    let threads = two();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let until = CancellationToken::new();
    let mut accepting = tokio::task::JoinSet::new();
    {
        let (threads, until) = (threads.clone(), until.clone());
        accepting.spawn(async move {
            let serve = |mut stream: tokio::net::TcpStream, _| async move {
                let name = std::thread::current().name().unwrap_or_default().to_owned();
                let _ = stream.write_all(name.as_bytes()).await;
                // The connection lives until the client hangs up.
                let _ = stream.read_u8().await;
            };
            threads.accept(listener, until, serve).await;
        });
    }
    let mut clients = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..4 {
        let mut client = tokio::net::TcpStream::connect(at).await.unwrap();
        let mut name = [0; 6];
        client.read_exact(&mut name).await.unwrap();
        names.insert(String::from_utf8(name.to_vec()).unwrap());
        clients.push(client);
    }
    assert_eq!(names.len(), 2);
    assert_eq!((threads.load(0), threads.load(1)), (2, 2));
    until.cancel();
    accepting.join_next().await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(at).await.is_err());
    threads.stop().await;
}
