//! Many alike actions, carefully at first.

use std::future::Future;

use futures::future::join_all;

/// Runs `act(0..count)` in batches of 1, 2, 4, … at once; a failure ends it after its batch, so that what always fails
/// is tried once and not `count` times. Returns how many succeeded and the first failure.
pub async fn in_doubling_batches<F, E>(count: usize, act: impl Fn(usize) -> F) -> (usize, Option<E>)
where
    F: Future<Output = Result<(), E>>,
{
    let (mut begun, mut succeeded, mut batch) = (0, 0, 1);
    while begun < count {
        let end = count.min(begun + batch);
        let mut failure = None;
        for outcome in join_all((begun..end).map(&act)).await {
            match outcome {
                Ok(()) => succeeded += 1,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if failure.is_some() {
            return (succeeded, failure);
        }
        begun = end;
        batch *= 2;
    }
    (succeeded, None)
}
