//! What `#[inferlet::main]` calls.

use crate::Result;
use std::any::Any;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Runs a future to its end. Nothing of this crate leaves one pending: waits for the engine block.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

fn read<T: serde::de::DeserializeOwned + 'static>(input: String) -> Result<T> {
    let mut text = Some(input);
    // A String is the input itself, whatever it holds.
    if let Some(slot) = (&mut text as &mut dyn Any).downcast_mut::<Option<T>>() {
        return Ok(slot.take().unwrap());
    }
    serde_json::from_str(text.as_deref().unwrap_or(""))
        .map_err(|error| format!("Failed to parse JSON input: {error}"))
}

fn write<T: serde::Serialize + 'static>(value: T) -> Result<String> {
    let mut value = Some(value);
    if let Some(text) = (&mut value as &mut dyn Any).downcast_mut::<Option<String>>() {
        return Ok(text.take().unwrap());
    }
    serde_json::to_string(&value).map_err(|error| format!("Failed to serialize output: {error}"))
}

pub fn call<I, O, F, Fut>(input: String, main: F) -> Result<String>
where
    I: serde::de::DeserializeOwned + 'static,
    O: serde::Serialize + 'static,
    F: FnOnce(I) -> Fut,
    Fut: Future<Output = Result<O>>,
{
    write(block_on(main(read(input)?))?)
}
