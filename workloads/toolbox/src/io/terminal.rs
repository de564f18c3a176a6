//! Standard input when it is a terminal: the host edits lines; interrupts, ends of input and sizes come in between.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use wstd::io::AsyncInputStream;

/// `^C`
const INTERRUPT: u8 = 3;
/// `^D`
const END: u8 = 4;
const ESCAPE: u8 = 0x1b;

/// A terminal that is read in the background, so that an interrupt is heard while something runs.
#[derive(Default)]
pub struct Terminal {
    typed: RefCell<VecDeque<u8>>,
    /// How many ends of input wait behind what was typed.
    ends: Cell<usize>,
    hung_up: Cell<bool>,
    interrupts: Cell<usize>,
    size: Cell<Option<(u16, u16)>>,
    /// Nobody has asked since it changed.
    resized: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
}

impl Terminal {
    /// Nothing when standard input is none.
    pub fn open() -> Option<Rc<Self>> {
        wasip2::cli::terminal_stdin::get_terminal_stdin()?;
        let terminal = Rc::<Self>::default();
        let heard = Rc::clone(&terminal);
        wstd::runtime::spawn(async move {
            let stream = AsyncInputStream::new(wasip2::cli::stdin::get_stdin());
            let mut piece = vec![0; 4096];
            let mut escape = Vec::new();
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                heard.hear(&piece[..count], &mut escape);
            }
            heard.hung_up.set(true);
            heard.wake();
        })
        .detach();
        Some(terminal)
    }

    fn hear(&self, bytes: &[u8], escape: &mut Vec<u8>) {
        for byte in bytes {
            if !escape.is_empty() {
                escape.push(*byte);
                // `ESC [ 8 ; ROWS ; COLUMNS t` is how the host tells the size.
                if *byte == b't' {
                    self.resized(escape);
                    escape.clear();
                } else if !(byte.is_ascii_digit() || matches!(byte, b'[' | b';')) {
                    self.typed.borrow_mut().extend(escape.drain(..));
                }
                continue;
            }
            match *byte {
                ESCAPE => escape.push(*byte),
                INTERRUPT => {
                    self.typed.borrow_mut().clear();
                    self.interrupts.set(self.interrupts.get() + 1);
                }
                END => self.ends.set(self.ends.get() + 1),
                other => self.typed.borrow_mut().push_back(other),
            }
        }
        self.wake();
    }

    fn resized(&self, escape: &[u8]) {
        let text = String::from_utf8_lossy(escape);
        let numbers: Vec<u16> = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        if let [8, rows, columns] = numbers[..] {
            self.size.set(Some((rows, columns)));
            self.resized.set(true);
        }
    }

    fn wake(&self) {
        for waker in self.wakers.take() {
            waker.wake();
        }
    }

    /// Rows and columns, if the host has told them since the last time that somebody asked.
    pub fn new_size(&self) -> Option<(u16, u16)> {
        self.size.get().filter(|_| self.resized.replace(false))
    }

    /// Rows and columns, as far as they are known.
    pub fn size(&self) -> Option<(u16, u16)> {
        self.size.get()
    }

    pub fn columns(&self) -> Option<usize> {
        self.size.get().map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0)
    }

    pub async fn read(&self, into: &mut [u8]) -> usize {
        poll_fn(|context| {
            let mut typed = self.typed.borrow_mut();
            if typed.is_empty() {
                if self.hung_up.get() {
                    return Poll::Ready(0);
                }
                if self.ends.get() > 0 {
                    self.ends.set(self.ends.get() - 1);
                    return Poll::Ready(0);
                }
                self.wakers.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            let count = typed.len().min(into.len());
            for (slot, byte) in into.iter_mut().zip(typed.drain(..count)) {
                *slot = byte;
            }
            Poll::Ready(count)
        })
        .await
    }

    /// Waits for the next `^C`.
    pub async fn interrupted(&self) {
        poll_fn(|context| {
            if self.interrupts.get() > 0 {
                self.interrupts.set(0);
                return Poll::Ready(());
            }
            self.wakers.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}
