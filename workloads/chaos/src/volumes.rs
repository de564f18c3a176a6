//! What a bad neighbour does with files: `/volume/escape?dir=D` tries every way out of a volume, `/volume/swap?dir=D` and
//! `/volume/chase?dir=D` race each other for one (a directory that becomes a link while it is opened), `/volume/fill?dir=D&mib=N`
//! writes until it is refused. The well-behaved: `/volume/read?path=P`, `/volume/write?path=P&text=T`, `/volume/list?path=P`,
//! `/volume/link?path=P&to=T`, `/volume/remove?path=P`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

/// What lies beside the volume, for those who get out to find.
const BAIT: &str = "bait";
const UP: &str = "../../../../../../../../..";

pub fn answer(action: &str, query: &str) -> String {
    let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let of = |name: &str| query.get(name).copied().unwrap_or_default();
    let number = |name: &str| of(name).parse().unwrap_or(1u64);
    let told = |result: std::io::Result<String>| result.unwrap_or_else(|error| format!("error: {error}\n"));
    match action {
        "escape" => escape(of("dir")),
        "swap" => swap(of("dir"), Duration::from_millis(number("ms"))),
        "chase" => chase(of("dir"), Duration::from_millis(number("ms"))),
        "fill" => fill(of("dir"), number("mib")),
        "read" => told(std::fs::read_to_string(of("path"))),
        "write" => told(std::fs::write(of("path"), of("text")).map(|()| "written\n".to_owned())),
        "list" => told(list(of("path"))),
        "link" => link(of("path"), of("to")),
        "remove" => told(std::fs::remove_file(of("path")).map(|()| "removed\n".to_owned())),
        other => format!("error: no action {other}\n"),
    }
}

fn list(path: &str) -> std::io::Result<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.join("\n") + "\n")
}

fn fill(dir: &str, mib: u64) -> String {
    let block = vec![7u8; 1 << 20];
    let path = format!("{dir}/filler");
    let mut file = match std::fs::File::create(&path) {
        Ok(file) => file,
        Err(error) => return format!("error: {error}\n"),
    };
    for written in 0..mib {
        if let Err(error) = file.write_all(&block) {
            return format!("refused after {written} MiB: {error}\n");
        }
    }
    format!("wrote {mib} MiB\n")
}

/// The handle of a volume: no library between us and the host.
fn volume(dir: &str) -> Option<Descriptor> {
    get_directories().into_iter().find(|(_, path)| path.trim_end_matches('/') == dir).map(|(handle, _)| handle)
}

fn link(path: &str, to: &str) -> String {
    let Some((dir, name)) = path.rsplit_once('/') else { return "error: no path\n".to_owned() };
    let Some(volume) = volume(dir) else { return "error: no volume\n".to_owned() };
    match volume.symlink_at(to, name) {
        Ok(()) => "linked\n".to_owned(),
        Err(error) => format!("error: {error}\n"),
    }
}

fn open(volume: &Descriptor, path: &str, how: OpenFlags, flags: DescriptorFlags) -> Result<Descriptor, ErrorCode> {
    volume.open_at(PathFlags::SYMLINK_FOLLOW, path, how, flags)
}

fn read(volume: &Descriptor, path: &str) -> Result<Vec<u8>, ErrorCode> {
    let file = open(volume, path, OpenFlags::empty(), DescriptorFlags::READ)?;
    file.read(64, 0).map(|(bytes, _)| bytes)
}

/// Every way out that there is. Each line says what was tried and what came of it; one that worked says ESCAPED.
fn escape(dir: &str) -> String {
    let Some(volume) = volume(dir) else { return "error: no volume\n".to_owned() };
    let mut told = String::new();
    let mut tell = |what: &str, result: Result<String, ErrorCode>| {
        let _ = match result {
            Ok(how) => writeln!(told, "{what}: ESCAPED {how}"),
            Err(error) => writeln!(told, "{what}: {error}"),
        };
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let _ = volume.create_directory_at("d");
    for path in [
        format!("../{BAIT}"),
        format!("d/../../{BAIT}"),
        format!("./.././{BAIT}"),
        format!("d/../d/.././../{BAIT}"),
        "/etc/passwd".to_owned(),
        "//etc/passwd".to_owned(),
        format!("{UP}/etc/passwd"),
        format!("..\\{BAIT}"),
        "C:\\Windows\\win.ini".to_owned(),
        "..".to_owned(),
    ] {
        tell(&format!("read {path}"), read(&volume, &path).map(text));
    }
    for (name, to) in [
        ("abs", "/etc"),
        ("up", UP),
        ("beside", ".."),
        ("bait-link", "../bait"),
        ("deep", "d/../../bait"),
    ] {
        let _ = volume.unlink_file_at(name);
        let made = volume.symlink_at(to, name);
        let _ = volume.unlink_file_at("chain");
        let _ = volume.symlink_at(name, "chain");
        for path in [name.to_owned(), format!("{name}/passwd"), format!("{name}/etc/passwd"), format!("{name}/{BAIT}"), format!("chain/{BAIT}")] {
            tell(&format!("read {path} through a link to {to} ({made:?})"), read(&volume, &path).map(text));
        }
        let path = format!("{name}/etc");
        tell(&format!("stat {path}"), volume.stat_at(PathFlags::SYMLINK_FOLLOW, &path).map(|_| "saw it".to_owned()));
        let path = format!("{name}/made");
        tell(&format!("mkdir {path}"), volume.create_directory_at(&path).map(|()| "made".to_owned()));
        let made = open(&volume, &path, OpenFlags::CREATE, DescriptorFlags::WRITE);
        tell(&format!("create {path}"), made.map(|_| "created".to_owned()));
        let path = format!("{name}/{BAIT}");
        tell(&format!("hard link of {path}"), volume.link_at(PathFlags::SYMLINK_FOLLOW, &path, &volume, "stolen").map(|()| "linked".to_owned()));
        tell(&format!("hard link of {path} itself"), volume.link_at(PathFlags::empty(), &path, &volume, "stolen").map(|()| "linked".to_owned()));
        tell(&format!("rename {path}"), volume.rename_at(&path, &volume, "stolen").map(|()| "renamed".to_owned()));
        tell(&format!("unlink {path}"), volume.unlink_file_at(&path).map(|()| "removed".to_owned()));
    }
    tell("rename out", volume.rename_at("d", &volume, "../d").map(|()| "renamed".to_owned()));
    tell("hard link in", volume.link_at(PathFlags::empty(), "../bait", &volume, "stolen").map(|()| "linked".to_owned()));
    tell("mkdir ..", volume.create_directory_at("../made").map(|()| "made".to_owned()));
    tell("rmdir ..", volume.remove_directory_at("..").map(|()| "removed".to_owned()));
    let parent = open(&volume, "..", OpenFlags::DIRECTORY, DescriptorFlags::READ);
    tell("open ..", parent.map(|_| "opened".to_owned()));
    told
}

/// Makes `race` a directory and a link out of the volume in turns.
fn swap(dir: &str, time: Duration) -> String {
    let Some(volume) = volume(dir) else { return "error: no volume\n".to_owned() };
    let (began, mut turns) = (Instant::now(), 0u64);
    let _ = volume.create_directory_at("inner");
    let _ = volume.symlink_at("..", "outer");
    while began.elapsed() < time {
        let _ = volume.rename_at("inner", &volume, "race");
        let _ = volume.rename_at("race", &volume, "inner");
        let _ = volume.rename_at("outer", &volume, "race");
        let _ = volume.rename_at("race", &volume, "outer");
        turns += 1;
    }
    format!("{turns} turns\n")
}

/// Opens what is beyond `race` for as long as somebody swaps it.
fn chase(dir: &str, time: Duration) -> String {
    let Some(volume) = volume(dir) else { return "error: no volume\n".to_owned() };
    let (began, mut tries) = (Instant::now(), 0u64);
    while began.elapsed() < time {
        for path in ["race/bait", "race/../bait", "race/inner/../../bait"] {
            if let Ok(bytes) = read(&volume, path) {
                return format!("ESCAPED by {path}: {}\n", String::from_utf8_lossy(&bytes));
            }
            tries += 1;
        }
    }
    format!("held {tries} times\n")
}
