//! A command of WASI 0.3: each argument is a step.
//!
//! `say:TEXT`, `shout:TEXT` (standard error), `env:NAME`, `read:PATH`, `echo` (standard input), `sleep:MS`, `until-stopped`,
//! `spin`, `grow`, `exit:CODE`, `fail`.

use wasip3::cli::{environment, exit, stderr, stdin, stdout};
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::filesystem::preopens;
use wasip3::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use wasip3::wit_stream;

mod own {
    wit_bindgen::generate!({
        path: ["../../wit/deps/io.wit", "../../wit/lifecycle.wit"],
        inline: "
            package coracle:steps3;
            world steps3 { import coracle:lifecycle/stop-async@0.1.0; }
        ",
        generate_all,
    });
}

struct Steps;
wasip3::cli::command::export!(Steps);

impl wasip3::exports::cli::run::Guest for Steps {
    async fn run() -> Result<(), ()> {
        for step in environment::get_arguments().into_iter().skip(1) {
            let (action, argument) = step.split_once(':').unwrap_or((&step, ""));
            take(action, argument).await?;
        }
        Ok(())
    }
}

async fn take(action: &str, argument: &str) -> Result<(), ()> {
    match action {
        "say" => say(format!("{argument}\n").into_bytes()).await,
        "shout" => {
            let (mut writer, text) = wit_stream::new();
            let written = stderr::write_via_stream(text);
            writer.write_all(format!("{argument}\n").into_bytes()).await;
            drop(writer);
            let _ = written.await;
        }
        "env" => {
            let found = environment::get_environment().into_iter().find(|(name, _)| name == argument);
            say(format!("{}\n", found.map(|(_, value)| value).unwrap_or_default()).into_bytes()).await;
        }
        "read" => say(read(argument).await?).await,
        "echo" => {
            let (input, _end) = stdin::read_via_stream();
            say(input.collect().await).await;
        }
        "sleep" => wait_for(argument.parse::<u64>().unwrap_or_default() * 1_000_000).await,
        "until-stopped" => own::coracle::lifecycle::stop_async::wait().await,
        "spin" => loop {
            std::hint::black_box(argument);
        },
        "grow" => {
            let mut kept: Vec<Vec<u8>> = Vec::new();
            loop {
                kept.push(vec![1; 1 << 20]);
                std::hint::black_box(&kept);
            }
        }
        "exit" => exit::exit_with_code(argument.parse().unwrap_or_default()),
        _ => return Err(()),
    }
    Ok(())
}

async fn say(bytes: Vec<u8>) {
    let (mut writer, text) = wit_stream::new();
    let written = stdout::write_via_stream(text);
    writer.write_all(bytes).await;
    drop(writer);
    let _ = written.await;
}

async fn read(path: &str) -> Result<Vec<u8>, ()> {
    for (folder, mount) in preopens::get_directories() {
        let Some(inside) = path.strip_prefix(&mount) else { continue };
        let inside = inside.trim_start_matches('/').to_owned();
        let opened = folder.open_at(PathFlags::empty(), inside, OpenFlags::empty(), DescriptorFlags::READ).await;
        let (bytes, _end) = opened.map_err(drop)?.read_via_stream(0);
        return Ok(bytes.collect().await);
    }
    Err(())
}
