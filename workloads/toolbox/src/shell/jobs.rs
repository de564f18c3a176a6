//! What runs in the background.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use wstd::runtime::Task;

thread_local! {
    /// Numbers that look like process ids. The shell that the container began with is 1.
    static NEXT: Cell<u32> = const { Cell::new(2) };
}

const KILLED: i32 = 143;

#[derive(Default)]
struct Fate {
    code: Cell<Option<i32>>,
    wakers: RefCell<Vec<Waker>>,
}

impl Fate {
    fn decide(&self, code: i32) {
        if self.code.get().is_none() {
            self.code.set(Some(code));
        }
        for waker in self.wakers.take() {
            waker.wake();
        }
    }
}

struct Job {
    pid: u32,
    text: String,
    fate: Rc<Fate>,
    task: RefCell<Option<Task<()>>>,
}

/// The jobs of one shell.
#[derive(Clone, Default)]
pub struct Jobs {
    jobs: Vec<Rc<Job>>,
    /// `$!`
    last: Option<u32>,
}

impl Jobs {
    /// Those of a subshell: none, though it knows the last of the shell around it.
    pub fn below(&self) -> Self {
        Self { jobs: Vec::new(), last: self.last }
    }

    pub fn start(&mut self, text: String, work: impl Future<Output = i32> + 'static) -> u32 {
        let pid = NEXT.with(|next| next.replace(next.get() + 1));
        let fate = Rc::<Fate>::default();
        let task = wstd::runtime::spawn({
            let fate = Rc::clone(&fate);
            async move { fate.decide(work.await) }
        });
        self.jobs.retain(|job| job.fate.code.get().is_none());
        self.jobs.push(Rc::new(Job { pid, text, fate, task: RefCell::new(Some(task)) }));
        self.last = Some(pid);
        pid
    }

    pub fn last(&self) -> Option<u32> {
        self.last
    }

    fn find(&self, which: &str) -> Option<&Rc<Job>> {
        if let Some(number) = which.strip_prefix('%') {
            return match number {
                "" | "%" | "+" => self.jobs.last(),
                number => self.jobs.get(number.parse::<usize>().ok()?.checked_sub(1)?),
            };
        }
        let pid: u32 = which.parse().ok()?;
        self.jobs.iter().find(|job| job.pid == pid)
    }

    /// A job's line, as `jobs` prints it.
    pub fn lines(&self) -> Vec<String> {
        let line = |(number, job): (usize, &Rc<Job>)| {
            let state = match job.fate.code.get() {
                None => "Running".to_owned(),
                Some(0) => "Done".to_owned(),
                Some(code) => format!("Done({code})"),
            };
            format!("[{}]  {state:<24}{}", number + 1, job.text)
        };
        self.jobs.iter().enumerate().map(line).collect()
    }

    /// What to wait for: the code of one job, or the end of all.
    pub fn wait(&self, which: Option<&str>) -> Option<impl Future<Output = i32> + 'static> {
        let (jobs, one) = match which {
            Some(which) => (vec![Rc::clone(self.find(which)?)], true),
            None => (self.jobs.clone(), false),
        };
        Some(async move {
            let mut code = 0;
            for job in jobs {
                code = ended(&job.fate).await;
            }
            if one { code } else { 0 }
        })
    }

    /// Ends a job. `false` when there is no such.
    pub fn kill(&self, which: &str, really: bool) -> bool {
        let Some(job) = self.find(which) else { return false };
        if really {
            drop(job.task.borrow_mut().take());
            job.fate.decide(KILLED);
        }
        true
    }

    /// Leaves what runs to itself.
    pub fn let_go(&mut self) {
        for job in self.jobs.drain(..) {
            if let Some(task) = job.task.borrow_mut().take() {
                task.detach();
            }
        }
    }
}

async fn ended(fate: &Fate) -> i32 {
    poll_fn(|context| match fate.code.get() {
        Some(code) => Poll::Ready(code),
        None => {
            fate.wakers.borrow_mut().push(context.waker().clone());
            Poll::Pending
        }
    })
    .await
}
